package state

import "iter"

// SessionState is where a session stands. The numbers are for ever.
type SessionState uint8

const (
	// SessionOpen takes work.
	SessionOpen SessionState = iota + 1
	// SessionDraining finishes what it has and takes nothing new.
	SessionDraining
	// SessionLost is fenced: nothing it says changes anything any more, what it held is being abandoned.
	SessionLost
)

// DeclaredTarget is one target that a session can run.
type DeclaredTarget struct {
	Module string     `codec:"m"`
	Name   string     `codec:"n"`
	Type   TargetType `codec:"y"`
}

// Session is one registration of an agent. Its id is the fencing token: an agent gets a new one at each start and
// after each loss.
type Session struct {
	rowCommon
	ID        string `codec:"id"`
	Workspace string `codec:"w"`
	// Node and Boot tell which start of which node it belongs to.
	Node     string           `codec:"n"`
	NodeName string           `codec:"nn"`
	Boot     string           `codec:"b"`
	Slots    int              `codec:"l"`
	Targets  []DeclaredTarget `codec:"t,omitempty"`
	State    SessionState     `codec:"s"`
	OpenedAt int64            `codec:"o"`
	// Reason why it was lost, a sentence.
	Reason string `codec:"r,omitempty"`
	// Provides are the tags that it offers, Accepts those of which work must require one each.
	Provides Tags `codec:"pv,omitempty"`
	Accepts  Tags `codec:"ac,omitempty"`
}

func (*Session) table() Table  { return TableSessions }
func (s *Session) key() string { return s.ID }

// Serves tells whether the session declared the class's target with its type, in its workspace, whatever its tags.
func (s *Session) Serves(c Class) bool {
	if s.Workspace != c.Workspace {
		return false
	}
	for _, t := range s.Targets {
		if t.Module == c.Module && t.Name == c.Target && t.Type == c.Type {
			return true
		}
	}
	return false
}

// Tally counts what a session was given. It is apart from the session's row, which is large and seldom changes.
type Tally struct {
	rowCommon
	Session string `codec:"s"`
	// Executions that were ever given to it.
	Executions int `codec:"n"`
}

func (*Tally) table() Table  { return TableTallies }
func (t *Tally) key() string { return t.Session }

// Tally reads what a session was given, nil for nothing.
func (v *View) Tally(session string) *Tally { return one[*Tally](v, TableTallies, "id", session) }

// Session reads a session, nil when there is none.
func (v *View) Session(id string) *Session { return one[*Session](v, TableSessions, "id", id) }

// Sessions walks all sessions by id.
func (v *View) Sessions() iter.Seq[*Session] { return walk[*Session](v, TableSessions, "id", "", "") }

// SessionsByNode walks the sessions of one node.
func (v *View) SessionsByNode(node string) iter.Seq[*Session] {
	return walk[*Session](v, TableSessions, "node", join(node), "")
}

// SessionsByWorkspace walks the sessions of one workspace.
func (v *View) SessionsByWorkspace(workspace string) iter.Seq[*Session] {
	return walk[*Session](v, TableSessions, "workspace", join(workspace), "")
}
