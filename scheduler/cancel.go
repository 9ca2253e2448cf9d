package scheduler

import "github.com/coflux-mesh/coflux/consensus/state"

// Cancel ends an execution and all its descendants, asked from outside.
type Cancel struct {
	Workspace, Execution string
}

func (r *Cancel) decide(d *decision) (Answer, error) {
	id, ok := state.ParseExecutionID(r.Execution)
	e := d.Execution(id)
	if !ok || e == nil || e.Workspace != r.Workspace {
		return Answer{}, refuse(CodeNotFound, "execution %s does not exist in this workspace", r.Execution)
	}
	d.cancel(e, "cancelled on request")
	return Answer{ExecutionID: r.Execution}, nil
}

// CancelHandles ends executions and their descendants, asked by a running execution. What is unknown or has ended is
// skipped.
type CancelHandles struct {
	Session, Execution string
	Handles            []string
}

func (r *CancelHandles) decide(d *decision) (Answer, error) {
	if _, err := d.live(r.Session, r.Execution); err != nil {
		return Answer{}, err
	}
	for _, h := range r.Handles {
		if id, ok := state.ParseExecutionID(h); ok {
			if e := d.Execution(id); e != nil {
				d.cancel(e, "cancelled by execution "+r.Execution)
			}
		}
	}
	return Answer{}, nil
}

// cancel ends one execution and marks its descendants; from this entry on every decision treats them as cancelled, the
// sweep records it row by row (rules A19). The attempts that are linked by retries are one call: whichever of them is
// cancelled, the last one ends, and so does what any of them called.
func (d *decision) cancel(e *state.Execution, reason string) {
	last := Last(&d.View, e.ID())
	if last.Result == nil {
		d.finish(last, &state.Result{Type: state.ResultCancelled, Reason: reason})
	}
	first := last.ID()
	for id := range Chain(&d.View, last.ID()) {
		first = id
	}
	d.cancelBelow(first, last.Attempt)
}

// cancelBelow marks the descendants of an execution and of the further attempts of its step through the given one, if
// there may be any.
func (d *decision) cancelBelow(first state.ExecutionID, through int) {
	sweep := &state.Sweep{ID: "cancel " + first.String(), Kind: state.SweepCancel, Subject: first.String(), NextStep: first.Step + 1}
	if through > first.Attempt {
		sweep.Through = through
		d.Put(sweep)
		return
	}
	for range d.Children(first) {
		d.Put(sweep)
		return
	}
}

// underCancel tells whether a cancellation in progress covers the execution. Costs nothing while there is none.
func (d *decision) underCancel(e *state.Execution) bool {
	var all subjects
	for s := range d.Sweeps() {
		if s.Kind == state.SweepCancel {
			all = all.with(s)
		}
	}
	return all != nil && covered(&d.View, e.ID(), all, map[state.StepID]bool{})
}

// subjects are the executions whose descendants are being cancelled: by step, ranges of attempts.
type subjects map[state.StepID][][2]int

// with adds those of a sweep.
func (s subjects) with(sweep *state.Sweep) subjects {
	if s == nil {
		s = subjects{}
	}
	if id, ok := state.ParseExecutionID(sweep.Subject); ok {
		s[id.StepID()] = append(s[id.StepID()], [2]int{id.Attempt, max(id.Attempt, sweep.Through)})
	}
	return s
}

func (s subjects) has(id state.ExecutionID) bool {
	for _, r := range s[id.StepID()] {
		if r[0] <= id.Attempt && id.Attempt <= r[1] {
			return true
		}
	}
	return false
}

// covered climbs from an execution to the root and tells whether it meets one of the subjects. seen remembers steps
// that were decided already.
func covered(v *state.View, id state.ExecutionID, all subjects, seen map[state.StepID]bool) bool {
	if all.has(id) {
		return true
	}
	if known, ok := seen[id.StepID()]; ok {
		return known
	}
	in := false
	if s := v.Step(id.StepID()); s != nil && s.Parent != "" {
		if parent, ok := state.ParseExecutionID(s.Parent); ok {
			in = covered(v, parent, all, seen)
		}
	}
	seen[id.StepID()] = in
	return in
}
