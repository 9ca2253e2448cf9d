package state

import "iter"

// Dependency records that an execution waited for another one, or for an input. Written with whatever entry comes next;
// nobody waits for it.
type Dependency struct {
	rowCommon
	Execution string `codec:"e"`
	// On is the id of the execution or input: inputs have a slash.
	On string `codec:"o"`
}

func (*Dependency) table() Table  { return TableDependencies }
func (d *Dependency) key() string { return join(d.Execution, d.On) }

// HasDependency tells whether the row is there.
func (v *View) HasDependency(execution, on string) bool {
	return one[*Dependency](v, TableDependencies, "id", join(execution, on)) != nil
}

// Dependencies walks what an execution waited for.
func (v *View) Dependencies(e ExecutionID) iter.Seq[*Dependency] {
	return walk[*Dependency](v, TableDependencies, "id", join(e.String()), "")
}
