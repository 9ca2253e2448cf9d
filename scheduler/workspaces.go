package scheduler

import (
	"regexp"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// CreateWorkspace makes a workspace of a project.
type CreateWorkspace struct {
	Project, Name string
	// Ensure answers with the workspace that has the name instead of refusing.
	Ensure bool
}

// workspaceName is one or more segments between slashes (semantics 18).
var workspaceName = regexp.MustCompile(`^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$`)

// ValidWorkspace tells whether a workspace may have the name.
func ValidWorkspace(name string) bool { return len(name) <= 200 && workspaceName.MatchString(name) }

func (r *CreateWorkspace) decide(d *decision) (Answer, error) {
	if d.WorkspaceByName(r.Project, r.Name) != nil && !r.Ensure {
		return Answer{}, &Error{Code: CodeBadRequest, Message: "a workspace named " + r.Name + " exists already",
			Details: map[string]string{"name": "exists"}}
	}
	w, err := d.ensureWorkspace(r.Project, r.Name)
	if err != nil {
		return Answer{}, err
	}
	return Answer{WorkspaceID: w.ID}, nil
}

func (d *decision) ensureWorkspace(project, name string) (*state.Workspace, error) {
	if w := d.WorkspaceByName(project, name); w != nil {
		return w, nil
	}
	if !ValidWorkspace(name) {
		return nil, &Error{Code: CodeBadRequest, Message: "a workspace's name is letters, digits, _ and - in segments between slashes",
			Details: map[string]string{"name": "invalid"}}
	}
	w := &state.Workspace{ID: d.newID("W", 4, func(id string) bool { return d.Workspace(id) != nil }),
		Project: project, Name: name, State: "active", CreatedAt: d.now}
	d.Put(w)
	return w, nil
}
