package scheduler_test

import (
	"fmt"
	"strings"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// gaveUp begins the result of a durable execution that was lost too often.
const gaveUp = "error lost 3 times in a row without completing another step"

// durableCall is what equal calls have in common.
func durableCall(r *scheduler.SubmitStep) string {
	parts := []string{r.Module, r.Target}
	for _, a := range r.Arguments {
		parts = append(parts, fmt.Sprintf("%x", a.Data))
	}
	return strings.Join(parts, " ")
}

// vanish has the process of a body end without a word.
func (b *simBody) vanish() {
	b.end(state.Result{Type: state.ResultError, Error: &state.Error{Type: "internal", Message: "EOF " + b.id, Vanished: true}})
}

// count says how many equal calls the body has made before, as agents do.
func (b *simBody) count(r *scheduler.SubmitStep) {
	if b.equal == nil {
		b.equal = map[string]int{}
	}
	r.Equal = b.equal[durableCall(r)]
	b.equal[durableCall(r)]++
}

// loses books what follows when a durable execution was lost with its process or node: the next attempt at once, or, after
// the third loss in a row in which no step was completed, an error. It tells whether it is resumed.
func (o *oracle) loses(e *oracleExec, r *state.Result, now int64) bool {
	vanished := r.Type == state.ResultError && r.Error.Vanished
	said := strings.HasPrefix(resultText(r), gaveUp) // by the sweep of its session, which had the loss before it
	if !e.durable || !o.live(e.workspace) || !vanished && !said && r.Type != state.ResultAbandoned {
		return false
	}
	if e.losses++; o.progress(e) {
		e.losses = 0
	}
	if e.losses == 3 {
		if e.result = gaveUp + ", the last time: " + r.Reason; vanished {
			e.result += r.Error.Message
		}
		if said {
			e.result = resultText(r)
		}
		return false
	}
	if said {
		e.result = "abandoned" // it should be
	}
	next := o.again(e, e.workspace, now, now)
	next.before, next.losses, next.lap, e.retry, next.latest = e, e.losses, e.lap, next, now
	e.resumed, next.later = true, ""
	o.collapse(next)
	return true
}

// progress tells whether a step that the execution called, or was given, came to a value while it was there.
func (o *oracle) progress(e *oracleExec) bool {
	came := func(id string) bool {
		last, result := o.outcome(id)
		return strings.HasPrefix(result, "value") && o.execs[last].ended >= e.made
	}
	for _, c := range e.children {
		if attempt(c.id) == 1 && came(c.id) {
			return true
		}
	}
	for _, id := range e.hits {
		if came(id) {
			return true
		}
	}
	return false
}

// first is the attempt from which an execution follows.
func (o *oracle) first(id string) string {
	e := o.execs[id]
	for e.before != nil {
		e = e.before
	}
	return e.id
}
