package state

import "iter"

// Dependency records that an execution waited for another one or for an input, or looked into an asset. Written with whatever entry comes next;
// nobody waits for it.
type Dependency struct {
	rowCommon
	Execution string `codec:"e"`
	// On is the id of the execution (with colons), the input (with a slash) or the asset (with neither).
	On string `codec:"o"`
	// BlobKey of an asset's list, which stays with the row.
	BlobKey string `codec:"b,omitempty"`
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
