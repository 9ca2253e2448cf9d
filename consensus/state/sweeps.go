package state

import "iter"

// SweepKind says what a sweep does. The numbers are for ever.
type SweepKind uint8

const (
	// SweepCancel cancels an execution's descendants.
	SweepCancel SweepKind = iota + 1
	// SweepSession abandons what a lost session held.
	SweepSession
	// SweepWorkspace gives up the sessions of an archived workspace and ends what is unfinished in it.
	SweepWorkspace
	// SweepWake lets go on what waits for an execution.
	SweepWake
	// SweepErase removes the rows of a run that has no row of its own any more, or not yet.
	SweepErase
)

// Sweep is the marker of a bulk change: in force for every decision from the entry that wrote it on, worked off a few
// hundred rows at a time by whichever node leads, removed when nothing is left (rules A19).
type Sweep struct {
	rowCommon
	ID   string    `codec:"id"`
	Kind SweepKind `codec:"k"`
	// Subject is the cancelled execution, the lost session, the archived workspace, what was waited for or the
	// run.
	Subject string `codec:"s"`
	// Through is the last attempt that a cancellation covers beside the subject, from the subject's on; 0 = only the
	// subject.
	Through int `codec:"t,omitempty"`
	// NextStep is where the walk through the run goes on.
	NextStep int    `codec:"n,omitempty"`
	Reason   string `codec:"r,omitempty"`
	// Held: nothing is swept yet.
	Held bool `codec:"h,omitempty"`
}

func (*Sweep) table() Table  { return TableSweeps }
func (s *Sweep) key() string { return s.ID }

// Sweep reads one, nil when there is none.
func (v *View) Sweep(id string) *Sweep { return one[*Sweep](v, TableSweeps, "id", id) }

// Sweeps walks the sweeps in progress.
func (v *View) Sweeps() iter.Seq[*Sweep] { return walk[*Sweep](v, TableSweeps, "id", "", "") }
