package scheduler

import (
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
)

// cached makes a call that earlier ones may stand in for.
func (r *rig) cached(parent string, number int64, c state.Cache, arguments ...string) string {
	r.Helper()
	q := call("S1", parent, number)
	q.Cache = &c
	for _, a := range arguments {
		q.Arguments = append(q.Arguments, state.Value{Data: []byte(a)})
	}
	return r.ok(q).ExecutionID
}

func age(ms int64) *int64 { return &ms }

func TestAValueStandsInUntilItIsTooOld(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	all := state.Cache{All: true, MaxAge: age(100)}
	first := r.cached(root, 1, all, "1")
	r.now += 500
	r.ok(valueOf("S1", first, "7"))
	r.now += 100
	second := r.cached(root, 2, all, "1")
	other := r.cached(root, 3, all, "2")
	if diff := cmp.Diff([]string{"cached " + first, "none"}, r.links(second, other)); diff != "" {
		t.Error(diff)
	}
	if r.outcome(second) != "value" || r.execution(second).Session != "" {
		t.Errorf("outcome %s, session %q", r.outcome(second), r.execution(second).Session)
	}
	r.now++
	third := r.cached(root, 4, all, "1")
	ever := r.cached(root, 5, state.Cache{All: true}, "1")
	if diff := cmp.Diff([]string{"none", "cached " + third}, r.links(third, ever)); diff != "" {
		t.Error(diff)
	}
	never := r.cached(root, 6, state.Cache{All: true, MaxAge: age(0)}, "2") // only what is not finished
	if diff := cmp.Diff([]string{"cached " + other}, r.links(never)); diff != "" {
		t.Error(diff)
	}
	r.ok(valueOf("S1", other, "7"))
	if again := r.cached(root, 7, state.Cache{All: true, MaxAge: age(0)}, "2"); r.result(again) != "none" {
		t.Error("a value was used with the greatest age 0")
	}
}

func TestWhoeverIsLinkedSharesTheOutcome(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	q := call("S1", root, 1)
	q.Cache, q.Retries = &state.Cache{}, limited(1)
	first := r.ok(q).ExecutionID
	second := r.cached(root, 2, state.Cache{})
	r.ok(failed("S1", first, state.ResultError))
	third := r.cached(root, 3, state.Cache{}) // the retry is not finished
	if diff := cmp.Diff([]string{"error", "cached " + first, "cached " + next(first, 1)}, r.links(first, second, third)); diff != "" {
		t.Error(diff)
	}
	if r.outcome(second) != "none" {
		t.Errorf("outcome %s before the retry has ended", r.outcome(second))
	}
	r.ok(failed("S1", next(first, 1), state.ResultError))
	if r.outcome(second) != "error" || r.outcome(third) != "error" {
		t.Errorf("outcomes %s and %s", r.outcome(second), r.outcome(third))
	}
	if fourth := r.cached(root, 4, state.Cache{}); r.result(fourth) != "none" {
		t.Error("a failure stood in")
	}
}

// From the entry of the cancellation on nothing below it stands in, whether the sweep has come there or not.
func TestWhatIsBeingCancelledDoesNotStandIn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	one := r.ok(call("S1", root, 1)).ExecutionID
	r.cached(one, 1, state.Cache{}, "1")
	again := call("S1", root, 2)
	again.Cache, again.Arguments = &state.Cache{}, []state.Value{{Data: []byte("1")}}
	replies := r.step(&Cancel{Workspace: r.execution(root).Workspace, Execution: one}, again)
	if replies[0].Err != nil || replies[1].Err != nil {
		t.Fatal(replies)
	}
	r.drain()
	if got := r.result(replies[1].Answer.ExecutionID); got != "none" {
		t.Errorf("the new call ended as %s", got)
	}
}

func TestNamespaceVersionAndParamsMakeTheKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	first := r.cached(root, 1, state.Cache{Params: []int{0}, Namespace: "n", Version: "1"}, "1", "2")
	r.ok(valueOf("S1", first, "7"))
	n := int64(1)
	for name, c := range map[string]struct {
		cache     state.Cache
		arguments []string
		hit       bool
	}{
		"the same":          {state.Cache{Params: []int{0}, Namespace: "n", Version: "1"}, []string{"1", "9"}, true},
		"another version":   {state.Cache{Params: []int{0}, Namespace: "n", Version: "2"}, []string{"1", "2"}, false},
		"another namespace": {state.Cache{Params: []int{0}, Version: "1"}, []string{"1", "2"}, false},
		"another argument":  {state.Cache{Params: []int{0}, Namespace: "n", Version: "1"}, []string{"3", "2"}, false},
		"other params":      {state.Cache{Params: []int{0, 1}, Namespace: "n", Version: "1"}, []string{"1", "2"}, false},
	} {
		n++
		if got := r.result(r.cached(root, n, c.cache, c.arguments...)); (got == "cached") != c.hit {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, bad := range []state.Cache{{Params: []int{-1}}, {MaxAge: age(-1)}, {Namespace: string(make([]byte, 201))}} {
		q := call("S1", root, 99)
		q.Cache = &bad
		r.refused(CodeBadRequest, q)
	}
}

// A call with its caller's key, or that of a caller of whoever is linked to it, would wait for ever.
func TestNobodyWaitsForItself(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	r.session("S1", 20)
	flow := func(namespace string) string {
		s := submitRun(w, r.now)
		s.Cache = &state.Cache{Namespace: namespace}
		return r.ok(s).ExecutionID
	}
	a, b := flow("a"), flow("b")
	own := r.cached(a, 1, state.Cache{Namespace: "a"})
	if r.result(own) != "none" {
		t.Error("a call is linked to its caller")
	}
	r.ok(r.cancel(own)) // it could stand in for what follows
	child := r.cached(b, 1, state.Cache{Namespace: "c"})
	toA := r.cached(child, 1, state.Cache{Namespace: "a"}) // b waits for a, through its child
	back := r.cached(a, 2, state.Cache{Namespace: "b"})
	if diff := cmp.Diff([]string{"cached " + a, "none"}, r.links(toA, back)); diff != "" {
		t.Error(diff)
	}
}

func TestDelaysRerunsAndDeferralsBesideTheCache(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	first := r.cached(root, 1, state.Cache{})
	q := call("S1", root, 2)
	q.Cache, q.Delay, q.Defer = &state.Cache{}, 100, &Params{}
	late := r.ok(q).ExecutionID
	p := *q
	p.Number = 3
	last := r.ok(&p).ExecutionID
	r.ok(valueOf("S1", first, "7"))
	if diff := cmp.Diff([]string{"deferred " + last, "none"}, r.links(late, last)); diff != "" {
		t.Error(diff)
	}
	r.now += 100
	r.drain() // its time has come
	if diff := cmp.Diff([]string{"cached " + first}, r.links(last)); diff != "" || r.outcome(late) != "value" {
		t.Error(diff, r.outcome(late))
	}
	id, _ := state.ParseExecutionID(first)
	again := r.ok(r.rerun(id.StepID().String())).ExecutionID
	if r.result(again) != "none" {
		t.Error("a re-run used the cache")
	}
	if newest := r.cached(root, 4, state.Cache{}); r.execution(newest).Result == nil || r.execution(newest).Result.Link != again {
		t.Errorf("not the newest: %v", r.links(newest))
	}
	r.ok(r.cancel(last)) // what stands in is not the linked one's to cancel
	if r.result(again) != "none" {
		t.Error("a linked execution cancelled what stands in for it")
	}
}
