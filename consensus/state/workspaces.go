package state

import "iter"

// WorkspaceState is where a workspace stands: one of the texts below, which are for ever.
type WorkspaceState = string

const (
	// WorkspaceActive: what is queued is given to agents.
	WorkspaceActive WorkspaceState = "active"
	// WorkspacePaused: nothing new is given away; what runs goes on.
	WorkspacePaused WorkspaceState = "paused"
	// WorkspaceArchived: it takes nothing any more, for ever; its history can be read, its name is free.
	WorkspaceArchived WorkspaceState = "archived"
)

// Workspace is a named room for runs. Its id stays, its name may change.
type Workspace struct {
	rowCommon
	ID      string `codec:"id"`
	Project string `codec:"p"`
	// Name is unique among the workspaces of the project that are not archived.
	Name string `codec:"n"`
	// Base is the id of the workspace that it inherits from, "" for none; never a cycle, never an archived one.
	Base      string         `codec:"b,omitempty"`
	State     WorkspaceState `codec:"s"`
	CreatedAt int64          `codec:"c"`
}

func (*Workspace) table() Table  { return TableWorkspaces }
func (w *Workspace) key() string { return w.ID }

// Live tells whether the workspace is not archived.
func (w *Workspace) Live() bool { return w.State != WorkspaceArchived }

// Workspace reads a workspace by id, archived or not, nil when there is none.
func (v *View) Workspace(id string) *Workspace {
	return one[*Workspace](v, TableWorkspaces, "id", id)
}

// WorkspaceByName finds the workspace of a project that has the name now, nil when there is none. Archived ones have none.
func (v *View) WorkspaceByName(project, name string) *Workspace {
	return first[*Workspace](v, TableWorkspaces, "name", join(project, name))
}

// Workspaces walks a project's workspaces that are not archived, by name.
func (v *View) Workspaces(project string) iter.Seq[*Workspace] {
	return walk[*Workspace](v, TableWorkspaces, "name", join(project), "")
}

// AllWorkspaces walks a project's workspaces by id, the archived ones too.
func (v *View) AllWorkspaces(project string) iter.Seq[*Workspace] {
	return walk[*Workspace](v, TableWorkspaces, "project", join(project), "")
}

// BasedOn walks the workspaces that are not archived and whose base is the given one.
func (v *View) BasedOn(id string) iter.Seq[*Workspace] {
	return walk[*Workspace](v, TableWorkspaces, "base", join(id), "")
}

// Project is that of a workspace, "" for an unknown one.
func (v *View) Project(workspace string) string {
	if w := v.Workspace(workspace); w != nil {
		return w.Project
	}
	return ""
}

// Lineage walks a workspace, its base, the base of that, and so on: what it inherits from, nearest first.
func (v *View) Lineage(id string) iter.Seq[*Workspace] {
	return func(yield func(*Workspace) bool) {
		for w := v.Workspace(id); w != nil; w = v.Workspace(w.Base) {
			if !yield(w) || w.Base == "" {
				return
			}
		}
	}
}

// Inherits tells whether a workspace is the ancestor or based on it, directly or not.
func (v *View) Inherits(id, ancestor string) bool {
	for w := range v.Lineage(id) {
		if w.ID == ancestor {
			return true
		}
	}
	return false
}
