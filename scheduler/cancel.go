package scheduler

import "github.com/coflux-mesh/coflux/consensus/state"

// Cancel ends an execution and all its descendants, asked from outside.
type Cancel struct {
	Workspace, Execution string
}

func (r *Cancel) decide(d *decision) (Answer, error) {
	if _, err := d.workspace(r.Workspace); err != nil {
		return Answer{}, err
	}
	id, ok := state.ParseExecutionID(r.Execution)
	if err := d.present(r.Workspace, id.Run); err != nil {
		return Answer{}, err
	}
	e := d.Execution(id)
	if !ok || e == nil || e.Workspace != r.Workspace {
		return Answer{}, refuse(CodeNotFound, "execution %s does not exist in this workspace", r.Execution)
	}
	d.cancel(e, "cancelled on request")
	return Answer{ExecutionID: r.Execution}, nil
}

// CancelHandles ends executions and their descendants, and inputs, asked by a running execution of the same project. What
// is unknown there or has ended is skipped.
type CancelHandles struct {
	Session, Execution string
	Handles            []string
}

func (r *CancelHandles) decide(d *decision) (Answer, error) {
	by, err := d.live(r.Session, r.Execution)
	if err != nil {
		return Answer{}, err
	}
	for _, h := range r.Handles {
		if err := d.present(by.Workspace, state.RunOf(h)); err != nil {
			return Answer{}, err
		}
		if d.cancelInput(by, h) {
			continue
		}
		if e := Visible(&d.View, by.Workspace, h); e != nil {
			d.cancel(e, "cancelled by execution "+r.Execution)
		}
	}
	return Answer{}, nil
}

// cancel ends one execution and marks its descendants; from this entry on every decision treats them as cancelled, the
// sweep records it row by row (rules A19). The attempts that are linked by retries are one call: whichever of them is
// cancelled, the last one ends, and so does what any of them called. A run that it became
// ends too; another call that has taken its place does not.
func (d *decision) cancel(e *state.Execution, reason string) {
	last := lastAttempt(&d.View, e)
	if last.Result == nil {
		d.finish(last, &state.Result{Type: state.ResultCancelled, Reason: reason})
	}
	if root := d.spawned(last); root != nil {
		d.cancelRun(root, reason)
	}
	d.cancelBelow(firstAttempt(&d.View, e).ID(), last.Attempt)
}

// cancelRun ends the run of a root that was called, with a sweep of its own: whichever attempt is open in its workspace,
// and what any of them called.
func (d *decision) cancelRun(root *state.Execution, reason string) {
	last := root.Attempt
	for e := range d.Attempts(root.ID().StepID()) {
		if last = e.Attempt; e.Result == nil && e.Workspace == root.Workspace {
			d.finish(e, &state.Result{Type: state.ResultCancelled, Reason: reason})
		}
	}
	d.cancelBelow(root.ID(), last)
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
			all = all.with(&d.View, s)
		}
	}
	return all != nil && covered(&d.View, e, all, map[state.StepID]bool{})
}

// subjects are the executions whose descendants are being cancelled: ranges of the attempts of a step in a workspace.
type subjects map[subject][][2]int

type subject struct {
	state.StepID
	workspace string
}

// with adds those of a sweep.
func (s subjects) with(v *state.View, sweep *state.Sweep) subjects {
	if s == nil {
		s = subjects{}
	}
	id, _ := state.ParseExecutionID(sweep.Subject)
	if e := v.Execution(id); e != nil {
		of := subject{id.StepID(), e.Workspace}
		s[of] = append(s[of], [2]int{id.Attempt, max(id.Attempt, sweep.Through)})
	}
	return s
}

func (s subjects) has(e *state.Execution) bool {
	for _, r := range s[subject{e.ID().StepID(), e.Workspace}] {
		if r[0] <= e.Attempt && e.Attempt <= r[1] {
			return true
		}
	}
	return false
}

// covered climbs from an execution to the root, as far as its workspace goes, and tells whether it meets one of the
// subjects: a cancellation does not reach into other workspaces (semantics 15). seen remembers steps whose executions in
// that workspace were decided already.
func covered(v *state.View, e *state.Execution, all subjects, seen map[state.StepID]bool) bool {
	if all.has(e) {
		return true
	}
	id := e.ID().StepID()
	if known, ok := seen[id]; ok {
		return known
	}
	in := false
	if parent := parentOf(v, id); parent != nil && parent.Workspace == e.Workspace {
		in = covered(v, parent, all, seen)
	}
	seen[id] = in
	return in
}

// parentOf is the execution that called a step, for the root of a run the one that called the workflow; nil for a run that
// was started from outside.
func parentOf(v *state.View, id state.StepID) *state.Execution {
	parent := ""
	if s := v.Step(id); s != nil && s.Parent != "" {
		parent = s.Parent
	} else if r := v.Run(id.Run); r != nil {
		parent = r.Parent
	}
	e, ok := state.ParseExecutionID(parent)
	if !ok {
		return nil
	}
	return v.Execution(e)
}
