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
// sweep records it row by row (rules A19).
func (d *decision) cancel(e *state.Execution, reason string) {
	if e.Result == nil {
		d.finish(e, &state.Result{Type: state.ResultCancelled, Reason: reason})
	}
	d.cancelBelow(e)
}

// cancelBelow marks the descendants of an execution, if it has any.
func (d *decision) cancelBelow(e *state.Execution) {
	for range d.Children(e.ID()) {
		d.Put(&state.Sweep{ID: "cancel " + e.ID().String(), Kind: state.SweepCancel, Subject: e.ID().String(), NextStep: e.Step + 1})
		return
	}
}

// underCancel tells whether a cancellation in progress covers the execution. Costs nothing while there is none.
func (d *decision) underCancel(e *state.Execution) bool {
	var subjects map[string]bool
	for s := range d.Sweeps() {
		if s.Kind != state.SweepCancel {
			continue
		}
		if subjects == nil {
			subjects = map[string]bool{}
		}
		subjects[s.Subject] = true
	}
	return subjects != nil && covered(&d.View, e.ID(), subjects, map[state.StepID]bool{})
}

// covered climbs from an execution to the root and tells whether it meets one of the subjects. seen remembers steps
// that were decided already.
func covered(v *state.View, id state.ExecutionID, subjects map[string]bool, seen map[state.StepID]bool) bool {
	if subjects[id.String()] {
		return true
	}
	if known, ok := seen[id.StepID()]; ok {
		return known
	}
	in := false
	if s := v.Step(id.StepID()); s != nil && s.Parent != "" {
		if parent, ok := state.ParseExecutionID(s.Parent); ok {
			in = covered(v, parent, subjects, seen)
		}
	}
	seen[id.StepID()] = in
	return in
}
