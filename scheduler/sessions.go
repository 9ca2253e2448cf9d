package scheduler

import (
	"errors"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// WorkerPrefix begins the node id of an agent that is a process of its own and no node of the mesh. Ids of nodes never begin
// with it.
const WorkerPrefix = "worker-"

// OpenSession registers an agent. A repeat is harmless.
//
// It is also a statement (rules A7a): the agent's node holds its data directory and has killed whatever an earlier boot
// left behind, so earlier sessions of the node are lost at once.
type OpenSession struct {
	// Session is the id, chosen by the agent: fresh and unguessable at each start and after each loss.
	Session string
	Project string
	// Workspace is the name of the one that it serves, made when it does not exist.
	Workspace string
	// WorkspaceID is the one that an earlier session of this start of the node served, "" for the first session. It is
	// served again under whatever name; where it was archived, one of the name is not made, only served if it is there.
	WorkspaceID    string
	Node, NodeName string
	// Boot of the node; later boots of a node compare greater.
	Boot    string
	Slots   int
	Targets []state.DeclaredTarget
	// Provides and Accepts are its tags.
	Provides, Accepts state.Tags
}

func (r *OpenSession) decide(d *decision) (Answer, error) {
	if r.Session == "" || r.Node == "" {
		return Answer{}, refuse(CodeBadRequest, "a session needs an id and a node")
	}
	if err := errors.Join(CheckTags(r.Provides), CheckTags(r.Accepts)); err != nil {
		return Answer{}, refuse(CodeBadRequest, "the session's tags: %s", err)
	}
	if s := d.Session(r.Session); s != nil {
		if s.State == state.SessionLost || d.archived(s.Workspace) {
			return Answer{}, refuse(CodeFenced, "session %s was lost: %s", s.ID, s.Reason)
		}
		return Answer{WorkspaceID: s.Workspace}, nil
	}
	for s := range d.SessionsByNode(r.Node) {
		if s.Boot > r.Boot {
			return Answer{}, refuse(CodeFenced, "a newer start of node %s has a session already", r.NodeName)
		}
	}
	for s := range d.SessionsByNode(r.Node) {
		d.lose(s, "its node opened a new session")
	}
	w, err := r.served(d)
	if err != nil {
		return Answer{}, err
	}
	d.Put(&state.Session{
		ID: r.Session, Workspace: w.ID, Node: r.Node, NodeName: r.NodeName, Boot: r.Boot, Slots: r.Slots,
		Targets: r.Targets, State: state.SessionOpen, OpenedAt: d.now, Provides: r.Provides, Accepts: r.Accepts,
	})
	return Answer{WorkspaceID: w.ID}, nil
}

// served is the workspace that the session is for.
func (r *OpenSession) served(d *decision) (*state.Workspace, error) {
	before := d.Workspace(r.WorkspaceID)
	if before == nil || before.Project != r.Project {
		return d.ensureWorkspace(r.Project, r.Workspace)
	}
	if before.Live() {
		return before, nil
	}
	if w := d.WorkspaceByName(r.Project, r.Workspace); w != nil {
		return w, nil
	}
	return nil, refuse(CodeNotFound, "workspace %s was archived: create it again, or restart the node to do so", r.Workspace)
}

// archived tells whether a workspace was archived.
func (d *decision) archived(workspace string) bool {
	w := d.Workspace(workspace)
	return w != nil && !w.Live()
}

// UpdateSession changes what an agent offers: its targets after a reload, or that it drains.
type UpdateSession struct {
	Session  string
	Targets  []state.DeclaredTarget
	Draining bool
}

func (r *UpdateSession) decide(d *decision) (Answer, error) {
	old := d.Session(r.Session)
	if old == nil || old.State == state.SessionLost || d.archived(old.Workspace) {
		return Answer{}, refuse(CodeFenced, "session %s was lost", r.Session)
	}
	s := *old
	s.Targets = r.Targets
	if r.Draining {
		s.State = state.SessionDraining
	}
	d.Put(&s)
	return Answer{}, nil
}

// LoseSession gives a session up: its lease has run out at the leader, or somebody who knows states that its processes
// are gone. A session that is unknown is lost already.
type LoseSession struct {
	Session string
	Reason  string
}

func (r *LoseSession) decide(d *decision) (Answer, error) {
	if s := d.Session(r.Session); s != nil {
		d.lose(s, r.Reason)
	}
	return Answer{}, nil
}

// lose fences a session from this entry on; the sweep abandons what it held.
func (d *decision) lose(old *state.Session, reason string) {
	if old.State == state.SessionLost {
		return
	}
	s := *old
	s.State, s.Reason = state.SessionLost, reason
	d.Put(&s)
	d.Put(&state.Sweep{ID: "session " + s.ID, Kind: state.SweepSession, Subject: s.ID, Reason: reason})
	d.tell(EventSessionLost, s.ID, state.ExecutionID{})
}
