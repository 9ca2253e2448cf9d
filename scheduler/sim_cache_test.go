package scheduler_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// someCache says at random which calls may stand in for each other.
func someCache(rng *rand.Rand) *state.Cache {
	c := &state.Cache{All: rng.IntN(4) == 0, Namespace: []string{"", "shared"}[rng.IntN(2)], Version: []string{"", "2"}[rng.IntN(2)]}
	if age := int64(rng.IntN(4) * 50); age < 150 {
		c.MaxAge = &age
	}
	return c
}

// caches notes what a call has in common with those that may stand in for it, "" for nothing.
func (e *oracleExec) caches(module, target string, c *state.Cache, arguments []state.Value) *oracleExec {
	if c == nil {
		return e
	}
	parts := []string{c.Namespace, c.Version}
	if c.Namespace == "" {
		parts[0] = module + ":" + target
	}
	for _, a := range arguments {
		if c.All {
			parts = append(parts, fmt.Sprintf("%x", a.Data))
		}
	}
	e.same, e.maxAge = strings.Join(parts, "\x00"), c.MaxAge
	return e
}

// standsIn tells whether c can stand in for e at the time: surely, or unless it may wait for it.
func (o *oracle) standsIn(c, e *oracleExec, now int64) (surely, perhaps bool) {
	switch {
	case e.same == "" || c.same != e.same || step(c.id) == step(e.id) || !o.inherits(e.workspace, c.workspace):
		return false, false
	case strings.HasPrefix(c.result, "value"):
		fresh := e.maxAge == nil || *e.maxAge > 0 && now-c.ended <= *e.maxAge
		return fresh, fresh
	case c.result == "" && !c.doomed:
		return c.session == "" && !c.waiting && attempt(c.id) == 1, true // a later attempt may be given what it has called
	}
	return false, false
}

// useCache looks whether a call was linked as it had to be when its time came.
func (o *oracle) useCache(e *oracleExec, now int64) error {
	if e.same == "" || e.result != "" || attempt(e.id) > 1 {
		return nil
	}
	id, _ := state.ParseExecutionID(e.id)
	row := o.view.Execution(id)
	newest := int64(0)
	for _, c := range o.execs {
		if surely, _ := o.standsIn(c, e, now); surely {
			newest = max(newest, c.made)
		}
	}
	if row.Result == nil || row.Result.Type != state.ResultCached {
		if newest > 0 {
			return fmt.Errorf("%s is made although another could stand in for it", e.id)
		}
		return nil
	}
	link := o.execs[row.Result.Link]
	if link == nil {
		return fmt.Errorf("%s is linked to what does not exist", e.id)
	}
	if _, perhaps := o.standsIn(link, e, now); !perhaps || link.made < newest {
		return fmt.Errorf("%s is linked to %s, which cannot stand in for it (%q, newest %d)", e.id, link.id, link.result, newest)
	}
	e.link, e.result = link, "cached "+link.id
	return nil
}

// due looks at an execution whose time came in this turn, after the requests.
func (o *oracle) due(t *turn, _ *state.View, want *oracleExec, e *state.Execution) error {
	if e.Attempt > 1 && e.Result != nil && e.Result.Type == state.ResultCached {
		return errors.New("a further attempt used the cache")
	}
	if want.after == 0 || want.fell || !e.Due {
		return nil
	}
	want.fell = true
	return o.begins(want, t.now)
}
