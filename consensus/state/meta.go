package state

// Meta is the single row about the state itself.
type Meta struct {
	rowCommon
	// Index is that of the last effects entry applied: the one index of the product (rules A8).
	Index uint64 `codec:"i"`
	// Time is log time, milliseconds: it never goes back and never stands (rules A9).
	Time int64 `codec:"t"`
}

func (*Meta) table() Table  { return TableMeta }
func (m *Meta) key() string { return "meta" }

// Meta reads the state's own row.
func (v *View) Meta() *Meta { return one[*Meta](v, TableMeta, "id", "meta") }
