package state

import "iter"

// Group names a set of an execution's children; presentation only.
type Group struct {
	rowCommon
	Execution string `codec:"e"`
	ID        int    `codec:"i"`
	Name      string `codec:"n"`
}

func (*Group) table() Table  { return TableGroups }
func (g *Group) key() string { return join(g.Execution) + be4(g.ID) }

// Groups walks an execution's groups.
func (v *View) Groups(e ExecutionID) iter.Seq[*Group] {
	return walk[*Group](v, TableGroups, "id", join(e.String()), "")
}
