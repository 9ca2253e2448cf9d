package state

import "iter"

// Workflow is the registered definition of a workflow of a workspace: what those who start it read. It says nothing of
// who serves it.
type Workflow struct {
	rowCommon
	Workspace string `codec:"w"`
	Module    string `codec:"m"`
	Name      string `codec:"n"`
	// Definition is the JSON object that the interface shows; nothing below the interface looks into it.
	Definition []byte `codec:"d"`
	// RegisteredAt is the log time, milliseconds, since which the definition is what it is.
	RegisteredAt int64 `codec:"r"`
}

func (*Workflow) table() Table  { return TableWorkflows }
func (w *Workflow) key() string { return join(w.Workspace, w.Module, w.Name) }

// Workflow reads a registered workflow, nil when there is none.
func (v *View) Workflow(workspace, module, name string) *Workflow {
	return one[*Workflow](v, TableWorkflows, "id", join(workspace, module, name))
}

// Workflows walks what is registered in a workspace, by module and name.
func (v *View) Workflows(workspace string) iter.Seq[*Workflow] {
	return walk[*Workflow](v, TableWorkflows, "id", join(workspace), "")
}

// ModuleWorkflows walks what is registered of one module, by name.
func (v *View) ModuleWorkflows(workspace, module string) iter.Seq[*Workflow] {
	return walk[*Workflow](v, TableWorkflows, "id", join(workspace, module), "")
}
