package state

import "iter"

// Member is a node that the mesh has ever taken in. It stays, so that a removed id is never taken back.
type Member struct {
	rowCommon
	ID       string `codec:"id"`
	Name     string `codec:"n"`
	Removed  bool   `codec:"r,omitempty"`
	JoinedAt int64  `codec:"j"`
}

func (*Member) table() Table  { return TableMembers }
func (m *Member) key() string { return m.ID }

// Member reads one, nil when there is none.
func (v *View) Member(id string) *Member { return one[*Member](v, TableMembers, "id", id) }

// Members walks all members by id.
func (v *View) Members() iter.Seq[*Member] { return walk[*Member](v, TableMembers, "id", "", "") }
