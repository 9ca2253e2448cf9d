package scheduler

import (
	"iter"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// Last gives the execution at which whoever waits for id has arrived: itself, or the last of those that follow from it by
// retries and links. nil when there is no such execution.
//
// It ends: a link or retry leads to an execution that had no result when it was made, or a value.
func Last(v *state.View, id state.ExecutionID) *state.Execution {
	e := v.Execution(id)
	for e != nil {
		if e = lastAttempt(v, e); e.Result == nil || e.Result.Link == "" {
			return e
		}
		next, _ := state.ParseExecutionID(e.Result.Link)
		to := v.Execution(next)
		if to == nil && e.Result.Value != nil {
			return carried(e)
		}
		e = to
	}
	return nil
}

// carried is an execution with the value of the one that it is linked to, which is packed.
func carried(e *state.Execution) *state.Execution {
	own := *e
	own.Result = &state.Result{Type: state.ResultValue, Value: e.Result.Value}
	return &own
}

// Outcome is the final result that a waiter of the execution sees; nil while there is none.
func Outcome(v *state.View, id state.ExecutionID) *state.Result {
	if e := Last(v, id); e != nil {
		return e.Result
	}
	return nil
}

// Chain walks the execution and then, backwards, all that arrive at it by retries and links: they have its outcome.
func Chain(v *state.View, id state.ExecutionID) iter.Seq[*state.Execution] {
	return func(yield func(*state.Execution) bool) {
		open := []*state.Execution{v.Execution(id)}
		for len(open) > 0 {
			e := open[len(open)-1]
			open = open[:len(open)-1]
			if e == nil {
				continue
			}
			if !yield(e) {
				return
			}
			for linked := range v.Linked(e.ID()) {
				open = append(open, linked)
			}
			open = append(open, retriedBy(v, e))
		}
	}
}
