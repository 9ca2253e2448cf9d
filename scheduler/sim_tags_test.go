package scheduler_test

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// simTags are all tags there are.
var simTags = []string{"gpu:a", "gpu:b", "region:eu", "region:us"}

// drawTags takes each of simTags with a chance of so many percent.
func drawTags(rng *rand.Rand, percent int) state.Tags {
	tags := state.Tags{}
	for _, t := range simTags {
		if name, value, _ := strings.Cut(t, ":"); rng.IntN(100) < percent {
			tags[name] = append(tags[name], value)
		}
	}
	return tags
}

// drawRequires are the tags of a call: mostly none, at times a name without values, which takes an inherited tag off.
func drawRequires(rng *rand.Rand) state.Tags {
	if rng.IntN(100) < 60 {
		return nil
	}
	tags := drawTags(rng, 35)
	if rng.IntN(3) == 0 {
		tags["gpu"] = nil
	}
	return tags
}

// tag gives a new session its tags. When it is calm the first agent, which serves all targets, can run everything.
func (a *simAgent) tag() {
	a.provides, a.accepts, a.able = drawTags(a.rng, 50), nil, false
	if a.chance(25) {
		a.accepts = drawTags(a.rng, 30)
	}
	if a.calm && a.first {
		a.provides, a.accepts, a.able = state.Tags{"gpu": {"a", "b"}, "region": {"eu", "us"}}, nil, true
	}
}

// need notes what an execution of the oracle's books requires, of the run's and its own tags.
func (e *oracleExec) need(run, own state.Tags) {
	e.needs = map[string]map[string]bool{}
	for _, layer := range []state.Tags{run, own} {
		for name, values := range layer {
			e.needs[name] = map[string]bool{}
			for _, v := range values {
				e.needs[name][v] = true
			}
		}
	}
}

// suits tells whether a session's tags allow an execution.
func (o *oracle) suits(session string, e *oracleExec) bool {
	s := o.sessions[session]
	for name, oneOf := range e.needs {
		has := len(oneOf) == 0
		for _, offer := range []state.Tags{s.provides, s.accepts} {
			for _, v := range offer[name] {
				has = has || oneOf[v]
			}
		}
		if !has {
			return false
		}
	}
	for name, values := range s.accepts {
		asked := false
		for _, v := range values {
			asked = asked || e.needs[name][v]
		}
		if !asked {
			return false
		}
	}
	return true
}

// reasons checks what is said of queued executions: that no session could take one is said if, and only if, it is so.
func (o *oracle) reasons(v *state.View) error {
	said := map[state.Class]string{}
	for _, id := range o.order {
		e := execution(v, id)
		if !e.Queued() {
			continue
		}
		reason, known := said[e.Class()]
		if !known {
			reason = scheduler.NoSession(v, e.Class())
			said[e.Class()] = reason
		}
		able := ""
		for s := range v.Sessions() {
			if s.State == state.SessionOpen && s.Serves(e.Class()) && o.suits(s.ID, o.execs[id]) {
				able = s.ID
			}
		}
		if (able == "") != (reason != "") {
			return fmt.Errorf("of %s is said %q, session %q could take it", id, reason, able)
		}
	}
	return nil
}
