package scheduler

import (
	"regexp"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// CreateWorkspace makes a workspace of a project.
type CreateWorkspace struct {
	// RequestID is a ULID: a repeat with the same one is answered with the same workspace. May be empty.
	RequestID     string
	Project, Name string
	// Base is the id of the workspace that it inherits from, "" for none.
	Base string
	// Ensure answers with the workspace that has the name instead of refusing.
	Ensure bool
	// Seed makes none where one of the name was archived: what a node makes sure of by itself is not to bring it back.
	Seed bool
}

// workspaceName is one or more segments between slashes (semantics 18).
var workspaceName = regexp.MustCompile(`^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$`)

// ValidWorkspace tells whether a workspace may have the name.
func ValidWorkspace(name string) bool { return len(name) <= 200 && workspaceName.MatchString(name) }

func (r *CreateWorkspace) decide(d *decision) (Answer, error) {
	if id, err := d.repeated(r.RequestID); id != "" || err != nil {
		return Answer{WorkspaceID: id}, err
	}
	if w := d.WorkspaceByName(r.Project, r.Name); w != nil {
		if !r.Ensure {
			return Answer{}, nameTaken(r.Name)
		}
		return Answer{WorkspaceID: w.ID}, nil
	}
	if r.Seed && d.everNamed(r.Project, r.Name) {
		return Answer{}, nil
	}
	w, err := d.newWorkspace(r.Project, r.Name, r.Base)
	if err != nil {
		return Answer{}, err
	}
	d.noted(r.RequestID, w.ID)
	return Answer{WorkspaceID: w.ID}, nil
}

// everNamed tells whether a workspace of the project, archived or not, has the name.
func (d *decision) everNamed(project, name string) bool {
	for w := range d.AllWorkspaces(project) {
		if w.Name == name {
			return true
		}
	}
	return false
}

func (d *decision) ensureWorkspace(project, name string) (*state.Workspace, error) {
	if w := d.WorkspaceByName(project, name); w != nil {
		return w, nil
	}
	return d.newWorkspace(project, name, "")
}

func (d *decision) newWorkspace(project, name, base string) (*state.Workspace, error) {
	if !ValidWorkspace(name) {
		return nil, nameInvalid()
	}
	w := &state.Workspace{ID: d.newID("W", 4, func(id string) bool { return d.Workspace(id) != nil }),
		Project: project, Name: name, Base: base, State: state.WorkspaceActive, CreatedAt: d.now}
	if err := d.checkBase(w, base); err != nil {
		return nil, err
	}
	d.Put(w)
	return w, nil
}

func nameTaken(name string) *Error {
	return &Error{Code: CodeBadRequest, Message: "a workspace named " + name + " exists already", Details: map[string]string{"name": "exists"}}
}

func nameInvalid() *Error {
	return &Error{Code: CodeBadRequest, Message: "a workspace's name is letters, digits, _ and - in segments between slashes",
		Details: map[string]string{"name": "invalid"}}
}

// checkBase says why a workspace cannot inherit from base.
func (d *decision) checkBase(w *state.Workspace, base string) error {
	if base == "" {
		return nil
	}
	b := d.Workspace(base)
	message := ""
	switch {
	case b == nil || b.Project != w.Project || !b.Live():
		message = "the base workspace does not exist"
	case d.Inherits(base, w.ID):
		message = "the base workspace inherits from this one: a workspace cannot inherit from itself"
	default:
		return nil
	}
	return &Error{Code: CodeBadRequest, Message: message, Details: map[string]string{"baseId": "invalid"}}
}

// workspace gives a workspace that is not archived: for all else the others do not exist any more.
func (d *decision) workspace(id string) (*state.Workspace, error) {
	if w := d.Workspace(id); w != nil && w.Live() {
		return w, nil
	}
	return nil, refuse(CodeNotFound, "workspace %s does not exist", id)
}

// Visible gives an execution as seen from a workspace: nil for one that is unknown or belongs to another project.
func Visible(v *state.View, workspace, execution string) *state.Execution {
	id, ok := state.ParseExecutionID(execution)
	if !ok {
		return nil
	}
	e := v.Execution(id)
	if e == nil || e.Workspace != workspace && v.Project(e.Workspace) != v.Project(workspace) {
		return nil
	}
	return e
}

// repeated gives what a request that may come without an id was answered with before; "" when it is new.
func (d *decision) repeated(requestID string) (answer string, err error) {
	if requestID == "" {
		return "", nil
	}
	return d.seen(requestID)
}

// noted keeps the answer to such a request.
func (d *decision) noted(requestID, answer string) {
	if requestID != "" {
		d.remember(requestID, answer)
	}
}

// change decides a change of a workspace: once for each request id, so that one that arrives again, however late, does
// not undo what came after it. A change to what is so already is accepted.
func (d *decision) change(requestID, id string, how func(*state.Workspace) error) (Answer, error) {
	if known, err := d.repeated(requestID); known != "" || err != nil {
		return Answer{WorkspaceID: known}, err
	}
	old, err := d.workspace(id)
	if err != nil {
		return Answer{}, err
	}
	w := *old
	if err := how(&w); err != nil {
		return Answer{}, err
	}
	d.Put(&w)
	d.noted(requestID, w.ID)
	return Answer{WorkspaceID: w.ID}, nil
}

// UpdateWorkspace changes a workspace's name or what it inherits from.
type UpdateWorkspace struct {
	// RequestID is a ULID: a repeat with the same one changes nothing. May be empty.
	RequestID string
	Workspace string
	Name      string // "" = as it is
	// Rebase takes Base over, "" for none; otherwise the base stays.
	Rebase bool
	Base   string
}

func (r *UpdateWorkspace) decide(d *decision) (Answer, error) {
	return d.change(r.RequestID, r.Workspace, func(w *state.Workspace) error {
		if r.Name != "" {
			if !ValidWorkspace(r.Name) {
				return nameInvalid()
			}
			if other := d.WorkspaceByName(w.Project, r.Name); other != nil && other.ID != w.ID {
				return nameTaken(r.Name)
			}
			w.Name = r.Name
		}
		if r.Rebase {
			if err := d.checkBase(w, r.Base); err != nil {
				return err
			}
			w.Base = r.Base
		}
		return nil
	})
}

// PauseWorkspace has nothing new given to agents in a workspace; what runs goes on and may call, timers go on.
type PauseWorkspace struct {
	RequestID, Workspace string // as in UpdateWorkspace
}

func (r *PauseWorkspace) decide(d *decision) (Answer, error) {
	return d.change(r.RequestID, r.Workspace, func(w *state.Workspace) error {
		w.State = state.WorkspacePaused
		return nil
	})
}

// ResumeWorkspace ends a pause.
type ResumeWorkspace struct {
	RequestID, Workspace string // as in UpdateWorkspace
}

func (r *ResumeWorkspace) decide(d *decision) (Answer, error) {
	return d.change(r.RequestID, r.Workspace, func(w *state.Workspace) error {
		w.State = state.WorkspaceActive
		return nil
	})
}

// ArchiveWorkspace ends a workspace for ever. Its sessions are lost from this entry on, nothing is accepted for it any
// more; a sweep abandons what runs in it and cancels what waits.
type ArchiveWorkspace struct {
	RequestID, Workspace string // as in UpdateWorkspace
}

func (r *ArchiveWorkspace) decide(d *decision) (Answer, error) {
	return d.change(r.RequestID, r.Workspace, func(w *state.Workspace) error {
		for other := range d.BasedOn(w.ID) {
			return &Error{Code: CodeBadRequest, Message: "workspace " + other.Name + " is based on this one",
				Hint: "archive it first, or give it another base", Details: map[string]string{"workspaceId": "has_dependencies"}}
		}
		w.State = state.WorkspaceArchived
		d.Put(&state.Sweep{ID: "workspace " + w.ID, Kind: state.SweepWorkspace, Subject: w.ID,
			Reason: "workspace " + w.Name + " was archived"})
		return nil
	})
}

// sweepWorkspace loses the sessions of an archived workspace, so that their processes end, forgets its manifests, then
// ends what is left unfinished: what was given to a session is abandoned, the rest cancelled. Nothing is added meanwhile, as nothing is
// accepted for an archived workspace.
func (d *decision) sweepWorkspace(s *state.Sweep, limit int) (used int, done bool) {
	for session := range d.SessionsByWorkspace(s.Subject) {
		if session.State == state.SessionLost {
			continue
		}
		if used == limit {
			return used, false
		}
		d.lose(session, s.Reason)
		used++
	}
	for w := range d.Workflows(s.Subject) {
		if used == limit {
			return used, false
		}
		d.Delete(w)
		used++
	}
	for e := range d.Unfinished(s.Subject) {
		if used == limit {
			return used, false
		}
		result := &state.Result{Type: state.ResultCancelled, Reason: s.Reason}
		if e.Session != "" && !d.underCancel(e) {
			result = &state.Result{Type: state.ResultAbandoned, Reason: s.Reason}
		}
		d.finish(e, result)
		used++
	}
	return used, true
}
