package scheduler_test

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// retries says at random how often a step is tried again.
func (s *sim) retries() *state.Retries {
	r := &state.Retries{}
	if n := s.rng.IntN(5); n < 4 {
		r.Limit = &n
	}
	if s.chance(50) {
		r.BackoffMin = int64(s.rng.IntN(100))
		r.BackoffMax = r.BackoffMin + int64(s.rng.IntN(300))
	}
	return r
}

// fails books the attempt that must follow a failure at the given time, if one must: counted from the attempts
// themselves, however they came to be.
func (o *oracle) fails(e *oracleExec, r *state.Result, now int64) {
	c := e.retries
	if c == nil || !o.live(e.workspace) || !failure(e.result) || r.Error != nil && r.Error.Retryable != nil && !*r.Error.Retryable {
		return
	}
	row := 0 // of failures immediately before this one
	for n := attempt(e.id) - 1; n > 0; n-- {
		before := o.execs[fmt.Sprintf("%s:%d", step(e.id), n)]
		if before.result == "suspended" {
			continue
		}
		if before.workspace == e.workspace && !failure(before.result) {
			break
		}
		if before.workspace == e.workspace && !before.resumed {
			row++
		}
	}
	if c.Limit != nil && row >= *c.Limit {
		return
	}
	next := o.again(e, e.workspace, now, now+c.BackoffMin)
	next.lap = e.lap
	next.before, e.retry, next.latest = e, next, now+c.BackoffMax
	defer o.collapse(next)
	if id, _ := state.ParseExecutionID(next.id); o.view.Execution(id) != nil {
		next.after = o.view.Execution(id).ExecuteAfter // compared with what it may be later on
	}
	if c.Limit != nil {
		part := big.NewRat(0, 1)
		if *c.Limit > 1 {
			part = big.NewRat(int64(row), int64(*c.Limit-1))
		}
		wait := part.Mul(part, big.NewRat(c.BackoffMax-c.BackoffMin, 1))
		wait.Add(wait, big.NewRat(c.BackoffMin, 1))
		exact, _ := wait.Float64()
		next.due = now + int64(exact+0.5)
		next.latest = next.due
	}
}

func failure(result string) bool {
	kind, _, _ := strings.Cut(result, " ")
	return kind == "error" || kind == "timeout" || kind == "abandoned"
}

func step(id string) string { return id[:strings.LastIndexByte(id, ':')] }

func attempt(id string) int {
	e, _ := state.ParseExecutionID(id)
	return e.Attempt
}

// outcome is what whoever waits for an execution sees.
func (o *oracle) outcome(id string) (at, result string) {
	e := o.execs[id]
	for e.retry != nil || e.link != nil {
		if e.retry != nil {
			e = e.retry
		} else {
			e = e.link
		}
	}
	return e.id, e.result
}
