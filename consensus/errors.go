package consensus

import (
	"errors"
	"fmt"
)

// What callers tell apart. All are tested with errors.Is.
var (
	// ErrNotLeader means that this node does not lead and that the entry was certainly not proposed.
	ErrNotLeader = errors.New("this node is not the leader")
	// ErrUnknown means that the entry may or may not be committed: run Barrier, look, decide again.
	ErrUnknown = errors.New("the outcome of the proposal is unknown")
	// ErrNoQuorum means that no majority of the voters answered in time.
	ErrNoQuorum = errors.New("no majority of the voters answers")
	// ErrStopped means that the host was stopped or has halted.
	ErrStopped = errors.New("the consensus host is stopped")
	// ErrHeldState refuses to create a cluster on a node that has, or once had, the state of one.
	ErrHeldState = errors.New("this node has held the state of a cluster and never creates another one")
)

// DamageError names a file whose content is not what was written into it. The process stops using the data directory. It
// may go on only after Quarantine; where that is refused it should exit with its own status.
type DamageError struct {
	File   string // the damaged file
	Reason string // what is wrong with it
	Err    error  // the cause, if there is one
}

func (e *DamageError) Error() string {
	msg := fmt.Sprintf("%s is damaged: %s", e.File, e.Reason)
	if e.Err != nil {
		msg += fmt.Sprintf(" (%v)", e.Err)
	}
	return msg + "; move the data directory aside and start again with --join to come back as a new replica, or restore a backup if this was the only node"
}

func (e *DamageError) Unwrap() error { return e.Err }

// HaltError is why a node stopped itself: what failed and where. Nothing was skipped; a restart goes on at the same entry.
type HaltError struct {
	What string
	Err  error
}

func (e *HaltError) Error() string {
	return fmt.Sprintf("this node stopped itself: %s: %v; mend the cause and start it again", e.What, e.Err)
}

func (e *HaltError) Unwrap() error { return e.Err }
