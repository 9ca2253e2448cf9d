package scheduler

import "github.com/coflux-mesh/coflux/consensus/state"

// maxHandles bounds what a suspended execution may wait for.
const maxHandles = 1000

// Suspend ends a running execution without an outcome: its process is to be killed, and another attempt of its step is
// queued (semantics 14).
type Suspend struct {
	// Session is the fencing token of the agent that runs Execution.
	Session, Execution string
	// Delay of the next attempt, milliseconds; 0 = none.
	Delay int64
	// ExecuteAfter is the time in epoch milliseconds before which it does not start; 0 = at once.
	ExecuteAfter int64
	// Handles are what it waits for: the next attempt starts when one of them is final. None = it waits for nothing.
	Handles []state.Reference
}

func (r *Suspend) decide(d *decision) (Answer, error) {
	e, err := d.live(r.Session, r.Execution)
	if e == nil {
		return Answer{}, err
	}
	if e.Result != nil {
		return Answer{}, nil // a repeat, or too late: the process is to end in any case
	}
	if err != nil {
		d.finish(e, &state.Result{Type: state.ResultCancelled, Reason: "an ancestor was cancelled"})
		return Answer{}, nil
	}
	delay := max(r.Delay, 0, r.ExecuteAfter-d.now)
	if delay > maxBackoff {
		return Answer{}, refuse(CodeBadRequest, "the suspension is of %d ms: give at most a hundred years", delay)
	}
	waits, err := d.awaitAny(e, r.Handles)
	if err != nil {
		return Answer{}, err
	}
	step := d.Step(e.ID().StepID())
	next := d.newAttempt(step, e.Workspace, d.LatestAttempt(step.ID()).Attempt+1, e.Tier)
	next.Failures, next.Lap = e.Failures, e.Lap // it counts as neither failure nor success
	if step.Durable {
		next.DeferKey = "" // as resume has it
		if !d.progressed(e) {
			next.Losses = e.Losses
		}
	}
	next.Wait = state.WaitNone // its arguments were waited for by the first
	for _, w := range waits {
		w.Execution, next.Wait = next.ID().String(), state.WaitAny
		d.Put(w)
	}
	d.end(e, &state.Result{Type: state.ResultSuspended, Retry: next.Attempt}, next, delay)
	return Answer{}, nil
}

// awaitAny gives the waits for handles of an execution, none when one of them is final already, and records all as its
// dependencies.
func (d *decision) awaitAny(e *state.Execution, handles []state.Reference) (waits []*state.Wait, err error) {
	if len(handles) > maxHandles {
		return nil, refuse(CodeBadRequest, "a wait that suspends is for %d handles: give at most %d at once", len(handles), maxHandles)
	}
	one := false
	for _, h := range handles {
		known := false
		switch h.Kind {
		case state.KindExecution:
			known = Visible(&d.View, e.Workspace, h.ID) != nil
		case state.KindInput:
			known = VisibleInput(&d.View, e.Workspace, h.ID) != nil
		default:
			return nil, refuse(CodeBadRequest, "a handle of type %s is nothing that can be waited for", h.Kind)
		}
		if !known {
			return nil, refuse(CodeNotFound, "%s %s does not exist", h.Kind, h.ID)
		}
		if !d.HasDependency(e.ID().String(), h.ID) {
			d.Put(&state.Dependency{Execution: e.ID().String(), On: h.ID})
		}
		_, over := final(&d.View, e.Workspace, h)
		one = one || over
		waits = append(waits, &state.Wait{Kind: h.Kind, On: h.ID})
	}
	if one {
		return nil, nil
	}
	return waits, nil
}
