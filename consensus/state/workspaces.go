package state

import "iter"

// Workspace is a named room for runs.
type Workspace struct {
	rowCommon
	ID      string `codec:"id"`
	Project string `codec:"p"`
	Name    string `codec:"n"`
	// State is "active"; pausing and archiving come with the rule book.
	State     string `codec:"s"`
	CreatedAt int64  `codec:"c"`
}

func (*Workspace) table() Table  { return TableWorkspaces }
func (w *Workspace) key() string { return w.ID }

// Workspace reads a workspace by id, nil when there is none.
func (v *View) Workspace(id string) *Workspace {
	return one[*Workspace](v, TableWorkspaces, "id", id)
}

// WorkspaceByName finds a workspace of a project, nil when there is none.
func (v *View) WorkspaceByName(project, name string) *Workspace {
	return one[*Workspace](v, TableWorkspaces, "name", join(project, name))
}

// Workspaces walks a project's workspaces by name.
func (v *View) Workspaces(project string) iter.Seq[*Workspace] {
	return walk[*Workspace](v, TableWorkspaces, "name", join(project), "")
}
