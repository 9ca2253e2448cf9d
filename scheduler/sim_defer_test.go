package scheduler_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// someParams selects arguments: none, so that all calls of a target are alike, or all.
func someParams(rng *rand.Rand) *scheduler.Params { return &scheduler.Params{All: rng.IntN(4) == 0} }

// after is what a call of the time shows, 0 for at once.
func after(now, delay int64) int64 {
	if delay == 0 {
		return 0
	}
	return now + delay
}

// laterOf says what a call has in common with those of which only the last is made, "" for nothing.
func laterOf(module, target string, p *scheduler.Params, arguments []state.Value) string {
	if p == nil {
		return ""
	}
	parts := []string{module, target}
	for i, a := range arguments {
		if p.All || slices.Contains(p.Indexes, i) {
			parts = append(parts, fmt.Sprintf("%x", a.Data))
		}
	}
	return strings.Join(parts, " ")
}

// collapse leaves the last of the calls that have something in common and did not start.
func (o *oracle) collapse(e *oracleExec) {
	var same []*oracleExec
	last := e
	for _, id := range o.order {
		x := o.execs[id]
		if e.later == "" || x.later != e.later || x.workspace != e.workspace || x.session != "" || x.result != "" || x.doomed {
			continue
		}
		same = append(same, x)
		if x.after > last.after {
			last = x
		}
	}
	for _, x := range same {
		if x != last && (!o.waited() || o.deferredTo(x, last)) {
			x.link, x.result = last, "deferred "+last.id
		}
	}
}

// waited tells whether anything waits: then an earlier call may stay, because a later one waits for it.
func (o *oracle) waited() bool {
	for _, e := range o.execs {
		if e.waiting {
			return true
		}
	}
	return false
}

func (o *oracle) deferredTo(x, last *oracleExec) bool {
	id, _ := state.ParseExecutionID(x.id)
	row := o.view.Execution(id)
	return row.Result != nil && row.Result.Link == last.id
}
