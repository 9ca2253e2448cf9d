package scheduler

import "github.com/coflux-mesh/coflux/consensus/state"

// Soft is what the leader knows of its agents beyond the state: rebuilt from one reconcile frame per agent, never
// replicated. Step only reads it.
type Soft struct {
	// Sessions by id, only those whose stream to this very leader is open and was reconciled in this term (rules A3).
	Sessions map[string]SoftSession
	// Holds tells whether the agent of one of Sessions still holds an execution, that is, its process may be alive. Nil =
	// none does.
	Holds func(session, execution string) bool
}

// SoftSession is one reachable agent.
type SoftSession struct {
	// Running is the number of bodies that use a slot: given to the session, not known to be gone, not blocked in a
	// wait (rules A1).
	Running int
	// Roots is the number of live processes of root executions, blocked ones included.
	Roots int
	// Serves holds the classes that the session declared, untagged.
	Serves map[state.Class]bool
}

// RootsPerSlot bounds the live root executions of an agent, blocked ones included, to this many per slot. Descendants
// are never bound, so that what is waited for can always run (rules A1).
const RootsPerSlot = 16
