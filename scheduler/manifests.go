package scheduler

import (
	"bytes"
	"slices"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// RegisterManifests makes known which workflows modules have. What is registered of a module is replaced as a whole: a
// workflow that is not named any more vanishes, a module without any is archived. Other modules are left alone.
type RegisterManifests struct {
	// RequestID is a ULID: a repeat with the same one changes nothing, however late it comes. May be empty.
	RequestID string
	// Workspace is where; "" = that of Session, which may then speak for it as long as it is not lost.
	Workspace, Session string
	Modules            []ModuleManifest
}

// ModuleManifest is what one module has.
type ModuleManifest struct {
	Module    string
	Workflows []WorkflowDefinition
}

// WorkflowDefinition is one workflow; Definition is the JSON object that the interface shows.
type WorkflowDefinition struct {
	Name       string
	Definition []byte
}

func (r *RegisterManifests) decide(d *decision) (Answer, error) {
	if known, err := d.repeated(r.RequestID); known != "" || err != nil {
		return Answer{WorkspaceID: known}, err
	}
	workspace := r.Workspace
	if r.Session != "" {
		s := d.Session(r.Session)
		if s == nil || s.State == state.SessionLost || d.archived(s.Workspace) {
			return Answer{}, refuse(CodeFenced, "session %s was lost: it registers nothing", r.Session)
		}
		workspace = s.Workspace
	}
	if _, err := d.workspace(workspace); err != nil {
		return Answer{}, err
	}
	for _, m := range r.Modules {
		d.register(workspace, m)
	}
	d.noted(r.RequestID, workspace)
	return Answer{WorkspaceID: workspace}, nil
}

// register replaces what is registered of a module. What stays as it was is not written again.
func (d *decision) register(workspace string, m ModuleManifest) {
	for _, old := range slices.Collect(d.ModuleWorkflows(workspace, m.Module)) {
		if !slices.ContainsFunc(m.Workflows, func(w WorkflowDefinition) bool { return w.Name == old.Name }) {
			d.Delete(old)
		}
	}
	for _, w := range m.Workflows {
		old := d.Workflow(workspace, m.Module, w.Name)
		if old == nil || !bytes.Equal(old.Definition, w.Definition) {
			d.Put(&state.Workflow{Workspace: workspace, Module: m.Module, Name: w.Name, Definition: w.Definition, RegisteredAt: d.now})
		}
	}
}

// ArchiveModule forgets what is registered of a module, if anything is.
type ArchiveModule struct {
	RequestID, Workspace, Module string // RequestID as in RegisterManifests
}

func (r *ArchiveModule) decide(d *decision) (Answer, error) {
	q := &RegisterManifests{RequestID: r.RequestID, Workspace: r.Workspace, Modules: []ModuleManifest{{Module: r.Module}}}
	return q.decide(d)
}
