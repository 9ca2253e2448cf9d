package scheduler_test

import "github.com/coflux-mesh/coflux/consensus/state"

// recurs books the attempt that must follow the value null of a recurrent step.
func (o *oracle) recurs(e *oracleExec, r *state.Result, now int64) {
	if !e.recurrent || r.Type != state.ResultValue || string(r.Value.Data) != "null" {
		return
	}
	e.result = "recurred"
	next := o.again(e, e.workspace, now, now+e.delay)
	next.lap = attempt(next.id)
	next.before, e.retry, next.latest, next.after = e, next, now+e.delay, after(now, e.delay)
	o.collapse(next)
}
