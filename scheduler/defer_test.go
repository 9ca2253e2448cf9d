package scheduler

import (
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
)

// postponed makes a call that later ones with the same arguments take the place of, due after so many milliseconds.
func (r *rig) postponed(parent string, number, delay int64, p Params, arguments ...string) string {
	r.Helper()
	c := call("S1", parent, number)
	c.Delay, c.Defer = delay, &p
	for _, a := range arguments {
		c.Arguments = append(c.Arguments, state.Value{Data: []byte(a)})
	}
	return r.ok(c).ExecutionID
}

// links are the results of executions, with what they lead to.
func (r *rig) links(ids ...string) (out []string) {
	for _, id := range ids {
		text := r.result(id)
		if e := r.execution(id); e.Result != nil && e.Result.Link != "" {
			text += " " + e.Result.Link
		}
		out = append(out, text)
	}
	return out
}

func TestTheLastOfSeveralCallsIsMade(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	first := r.postponed(root, 1, 100, Params{All: true}, "1", "2")
	r.now += 50
	second := r.postponed(root, 2, 100, Params{All: true}, "1", "2")
	other := r.postponed(root, 3, 100, Params{All: true}, "1", "3")
	r.now += 60
	if r.drain(); r.execution(first).Session != "" || r.execution(second).Session != "" {
		t.Fatal("the waiting time did not start anew")
	}
	third := r.postponed(root, 4, 100, Params{All: true}, "1", "2")
	if diff := cmp.Diff([]string{"deferred " + second, "deferred " + third, "none", "none"}, r.links(first, second, third, other)); diff != "" {
		t.Error(diff)
	}
	r.now += 100
	r.drain()
	late := r.postponed(root, 5, 0, Params{All: true}, "1", "2") // the third has started
	r.ok(valueOf("S1", third, "7"))
	if r.outcome(first) != "value" || r.outcome(second) != "value" || r.outcome(late) != "none" || r.outcome(other) != "none" {
		t.Errorf("outcomes: %s %s %s %s", r.outcome(first), r.outcome(second), r.outcome(late), r.outcome(other))
	}
}

func TestSelectedArgumentsDecideWhatIsTheSame(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	a := r.postponed(root, 1, 100, Params{Indexes: []int{1}}, "1", "2")
	b := r.postponed(root, 2, 100, Params{Indexes: []int{1}}, "9", "2")
	c := r.postponed(root, 3, 100, Params{Indexes: []int{1}}, "9", "3")
	d := r.postponed(root, 4, 100, Params{Indexes: []int{5}}, "9", "3") // an argument that is not there
	e := r.postponed(root, 5, 100, Params{}, "1", "2")
	f := r.postponed(root, 6, 100, Params{}, "7")
	if diff := cmp.Diff([]string{"deferred " + b, "none", "none", "none", "deferred " + f, "none"}, r.links(a, b, c, d, e, f)); diff != "" {
		t.Error(diff)
	}
	bad := call("S1", root, 7)
	bad.Defer = &Params{Indexes: []int{-1}}
	r.refused(CodeBadRequest, bad)
}

// A call without delay gives way to one that is due later, and collapses a backlog.
func TestTheOneThatIsDueLastSurvives(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	slow := r.postponed(root, 1, 100, Params{})
	quick := r.postponed(root, 2, 0, Params{})
	if diff := cmp.Diff([]string{"none", "deferred " + slow}, r.links(slow, quick)); diff != "" {
		t.Error(diff)
	}
	r.now += 100
	r.drain()
	r.occupy("S1", 8, 1)
	a, b := r.postponed(root, 3, 0, Params{}), r.postponed(root, 4, 0, Params{})
	if diff := cmp.Diff([]string{"deferred " + b, "none"}, r.links(a, b)); diff != "" {
		t.Error(diff)
	}
}

func TestDeferralCrossesRuns(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	var ids []string
	for range 3 {
		s := submitRun(w, r.now)
		s.Delay, s.Defer = 100, &Params{All: true}
		ids = append(ids, r.ok(s).ExecutionID)
	}
	if diff := cmp.Diff([]string{"deferred " + ids[1], "deferred " + ids[2], "none"}, r.links(ids...)); diff != "" {
		t.Error(diff)
	}
	r.ok(r.cancel(ids[0])) // the last call is not the first one's to cancel
	if r.result(ids[2]) != "none" {
		t.Error("cancelling a deferred call cancelled the one in its place")
	}
	r.ok(r.cancel(ids[2]))
	if r.outcome(ids[0]) != "cancelled" {
		t.Errorf("the first sees %s", r.outcome(ids[0]))
	}
}

func TestWhatIsBeingCancelledTakesNobodysPlace(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	other := r.ok(submitRun(r.workspace(), r.now)).ExecutionID
	for n := range int64(maxSweep + 100) {
		c := call("S1", root, n+1)
		c.Delay = 1000
		r.ok(c)
	}
	doomed := r.postponed(root, maxSweep+200, 1000, Params{})
	r.step(r.cancel(root), func() Request { // in the same entry: the sweep has not come by
		c := call("S1", other, 1)
		c.Delay, c.Defer = 10, &Params{}
		return c
	}())
	live := r.last.Replies[1].Answer.ExecutionID
	r.drain()
	if diff := cmp.Diff([]string{"cancelled", "none"}, r.links(doomed, live)); diff != "" {
		t.Error(diff)
	}
}

func TestARetryTakesItsPlaceAmongDeferredCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	c := call("S1", root, 1)
	c.Retries, c.Defer = limited(2, 100, 200), &Params{}
	first := r.ok(c).ExecutionID
	waiting := r.postponed(root, 2, 50, Params{})
	r.ok(failed("S1", first, state.ResultError)) // tried again in 100 ms, later than the call
	if diff := cmp.Diff([]string{"error", "none", "deferred " + next(first, 1)}, r.links(first, next(first, 1), waiting)); diff != "" {
		t.Error(diff)
	}
	newer := r.postponed(root, 3, 500, Params{})
	if diff := cmp.Diff([]string{"deferred " + newer, "deferred " + next(first, 1)}, r.links(next(first, 1), waiting)); diff != "" {
		t.Error(diff)
	}
	var chain []string
	id, _ := state.ParseExecutionID(newer)
	for e := range Chain(r.store.View(), id) {
		chain = append(chain, e.ID().String())
	}
	if diff := cmp.Diff([]string{newer, next(first, 1), first, waiting}, chain); diff != "" {
		t.Error(diff)
	}
}
