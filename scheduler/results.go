package scheduler

import "github.com/coflux-mesh/coflux/consensus/state"

// ReportResult is how an execution ended, as its agent says.
type ReportResult struct {
	Session, Execution string
	Result             state.Result
}

func (r *ReportResult) decide(d *decision) (Answer, error) {
	e, err := d.live(r.Session, r.Execution)
	if e == nil {
		return Answer{}, err
	}
	if e.Result != nil {
		return Answer{}, nil // the first one won; the agent may forget its own
	}
	if err != nil {
		// Cancelled through an ancestor whose sweep has not come by yet: what arrives after the cancellation does
		// not count (invariant I9).
		d.finish(e, &state.Result{Type: state.ResultCancelled, Reason: "an ancestor was cancelled"})
		return Answer{}, nil
	}
	result := r.Result
	result.Link, result.Retry = "", 0 // only decided here
	if result.Type == state.ResultNone || result.Type > state.ResultCancelled {
		return Answer{}, refuse(CodeBadRequest, "%d is not the type of a result", result.Type)
	}
	if result.Value != nil {
		value, err := d.resolve(e.Workspace, *result.Value)
		if err != nil {
			return Answer{}, err
		}
		result.Value = &value
	}
	d.finish(e, &result)
	if result.Type == state.ResultTimeout || result.Type == state.ResultCancelled {
		d.cancelBelow(d.begunBy(e).ID(), e.Attempt) // semantics 13 and 15; other ends of a parent leave its children alone
	}
	return Answer{}, nil
}

// begunBy is the first of the attempts that an execution goes on from: those before it were suspended, or lost and resumed. What
// they called is its own.
func (d *decision) begunBy(e *state.Execution) *state.Execution {
	durable := d.Step(e.ID().StepID()).Durable
	for {
		before := retriedBy(&d.View, e)
		if before == nil || before.Result.Type != state.ResultSuspended && !(durable && lost(before.Result)) {
			return e
		}
		e = before
	}
}

// finish records the one result of an execution, and queues the attempt that follows it, if one does.
func (d *decision) finish(e *state.Execution, result *state.Result) {
	given := result.Type
	next, delay := d.resume(e, result)
	if next == nil {
		next, delay = d.retry(e, result)
	}
	if next == nil {
		next, delay = d.recur(e, result)
	}
	d.end(e, result, next, delay)
	if given == state.ResultAbandoned && result.Type != given && e.Session != "" { // it is an error now
		d.tell(EventAbort, e.Session, e.ID())
	}
}

// end records the one result of an execution, and queues the attempt that follows it, if one does, in so many milliseconds.
// What was assigned and did not end by itself is killed.
func (d *decision) end(e *state.Execution, result *state.Result, next *state.Execution, delay int64) {
	done := *e
	done.Result, done.CompletedAt = result, d.now
	d.Put(&done)
	d.tell(EventFinished, "", e.ID())
	if e.Session != "" {
		switch result.Type {
		case state.ResultCancelled, state.ResultAbandoned, state.ResultSuspended:
			d.tell(EventAbort, e.Session, e.ID())
		}
	}
	if next != nil {
		d.queue(next, delay)
	}
	d.wake(e.ID())
}
