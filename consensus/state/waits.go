package state

import "iter"

// WaitMode says when an execution that waits for others may start. The numbers are for ever.
type WaitMode uint8

const (
	// WaitNone: it waits for nothing.
	WaitNone WaitMode = iota
	// WaitAll: when all that the listed arguments of its step refer to is final, and what the values found there refer to, and
	// so on. Its rows are what of that is known not to be.
	WaitAll
	// WaitAny: when one of those in its rows is final. The other rows stay until what they name is final too.
	WaitAny
)

// Wait says that an execution waits for something. It is found from what is waited for, so that an end costs as much as
// there are who wait for it.
type Wait struct {
	rowCommon
	Execution string `codec:"e"`
	// Kind and On name it, like a Reference.
	Kind string `codec:"k"`
	On   string `codec:"o"`
}

func (*Wait) table() Table  { return TableWaits }
func (w *Wait) key() string { return join(w.Execution, w.Kind, w.On) }

// HasWait tells whether the row is there.
func (v *View) HasWait(w *Wait) bool { return one[*Wait](v, TableWaits, "id", w.key()) != nil }

// Waits walks what an execution waits for.
func (v *View) Waits(e ExecutionID) iter.Seq[*Wait] {
	return walk[*Wait](v, TableWaits, "id", join(e.String()), "")
}

// Waiters walks the waits for something.
func (v *View) Waiters(kind, on string) iter.Seq[*Wait] {
	return walk[*Wait](v, TableWaits, "on", join(kind, on), "")
}

// AnyWaits tells whether anything waits at all.
func (v *View) AnyWaits() bool { return first[*Wait](v, TableWaits, "id", "") != nil }
