package scheduler

import (
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
)

// workflowCall is a call of the workflow m/flow.
func workflowCall(parent string, number int64) *SubmitStep {
	q := call("S1", parent, number)
	q.Target, q.Type = "flow", state.TypeWorkflow
	return q
}

// root is the root execution of the run that the call of a workflow became.
func (r *rig) root(id string) string {
	r.Helper()
	e := r.execution(id)
	if e.Result == nil || e.Result.Type != state.ResultSpawned {
		r.Fatalf("execution %s has become no run: %+v", id, e.Result)
	}
	return e.Result.Link
}

func TestACallOfAWorkflowBecomesARun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	caller := r.running()
	q := workflowCall(caller, 1)
	q.Arguments, q.Timeout, q.Retries = []state.Value{{Data: []byte("7")}}, 500, limited(1)
	q.Requires = state.Tags{"gpu": {}}
	call := r.ok(q).ExecutionID
	if again := r.ok(q).ExecutionID; again != call {
		t.Errorf("a repeat made %s", again)
	}
	root := r.root(call)
	id, _ := state.ParseExecutionID(root)
	v := r.store.View()
	step, run := v.Step(id.StepID()), v.Run(id.Run)
	if run.Parent != call || run.Module != "m" || run.Target != "flow" || run.Steps != 1 || step.Parent != "" || step.Timeout != 500 ||
		string(step.Arguments[0].Data) != "7" || *step.Retries.Limit != 1 {
		t.Errorf("run %+v, step %+v", run, step)
	}
	if e := r.execution(root); e.Session != "S1" || e.Tier != state.TierChild {
		t.Errorf("the root is %+v", e)
	}
	if r.execution(call).Session != "" {
		t.Error("the call itself was given to a session")
	}
	r.ok(failed("S1", root, state.ResultError)) // tried again within the run
	if r.outcome(call) != "none" {
		t.Errorf("whoever waits sees %s", r.outcome(call))
	}
	r.ok(valueOf("S1", next(root, 1), "8"))
	if r.outcome(call) != "value" {
		t.Errorf("whoever waits sees %s", r.outcome(call))
	}
}

func TestTheRunOfACallHasTheTagsOfTheCall(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := submitRun(r.workspace(), r.now)
	s.Requires = state.Tags{"a": {"1"}, "b": {"2"}}
	r.ok(&OpenSession{Session: "S1", Project: "p", Workspace: "w", Node: "n1", NodeName: "n1", Boot: "1", Slots: 8,
		Provides: state.Tags{"a": {"1"}, "b": {"2"}}})
	r.ready("S1", r.workspace())
	caller := r.ok(s).ExecutionID
	q := workflowCall(caller, 1)
	q.Requires = state.Tags{"b": {}}
	id, _ := state.ParseExecutionID(r.root(r.ok(q).ExecutionID))
	if diff := cmp.Diff(state.Tags{"a": {"1"}}, r.store.View().Run(id.Run).Requires); diff != "" {
		t.Error(diff)
	}
}

func TestDelayDeferAndCacheComeBeforeTheRun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	caller := r.running()
	q := workflowCall(caller, 1)
	q.Delay, q.Defer, q.Cache = 100, &Params{}, &state.Cache{}
	first := r.ok(q).ExecutionID
	p := *q
	p.Number = 2
	second := r.ok(&p).ExecutionID
	if diff := cmp.Diff([]string{"deferred " + second, "none"}, r.links(first, second)); diff != "" {
		t.Fatal(diff)
	}
	r.now += 100
	r.drain()
	root := r.root(second)
	third := workflowCall(caller, 3)
	third.Cache = &state.Cache{}
	if diff := cmp.Diff([]string{"cached " + root}, r.links(r.ok(third).ExecutionID)); diff != "" {
		t.Error(diff)
	}
	r.ok(valueOf("S1", root, "8"))
	if r.outcome(first) != "value" {
		t.Errorf("the deferred call sees %s", r.outcome(first))
	}
}

func TestCancellationReachesRunsThatWereCalled(t *testing.T) {
	t.Parallel()
	for name, pick := range map[string]func(caller, call, root string) string{
		"the caller": func(caller, _, _ string) string { return caller },
		"the call":   func(_, call, _ string) string { return call },
		"the root":   func(_, _, root string) string { return root },
	} {
		r := newRig(t)
		caller := r.running()
		call := r.ok(workflowCall(caller, 1)).ExecutionID
		root := r.root(call)
		inner := r.root(r.ok(workflowCall(root, 1)).ExecutionID)
		task := r.ok(r.callOf(inner)).ExecutionID
		delayed := workflowCall(inner, 2)
		delayed.Delay = 10
		late := r.ok(delayed).ExecutionID
		r.ok(r.cancel(pick(caller, call, root)))
		r.refused(CodeFenced, workflowCall(root, 2))
		r.now += 10
		r.drain()
		want := map[bool]string{true: "cancelled", false: "none"}[name == "the caller"]
		if diff := cmp.Diff([]string{want, "cancelled", "cancelled", "cancelled", "cancelled"},
			[]string{r.result(caller), r.result(root), r.result(inner), r.result(task), r.result(late)}); diff != "" {
			t.Error(name, diff)
		}
		if r.outcome(call) != "cancelled" {
			t.Errorf("%s: the call ended with %s", name, r.outcome(call))
		}
	}
}

func (r *rig) callOf(parent string) *SubmitStep { return call("S1", parent, 1) }

// From the entry of a cancellation on nothing below it becomes a run or is run again, in whatever run it is.
func TestWhatIsBeingCancelledBecomesNoRun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	caller := r.running()
	for n := range int64(maxSweep + 100) {
		c := call("S1", caller, n+1)
		c.Delay = 100_000
		r.ok(c)
	}
	root := r.root(r.ok(workflowCall(caller, maxSweep+200)).ExecutionID)
	delayed := workflowCall(root, 1)
	delayed.Delay = 10
	late := r.ok(delayed).ExecutionID
	id, _ := state.ParseExecutionID(root)
	again := r.rerun(id.StepID().String())
	r.now += 10
	r.step(r.cancel(caller), workflowCall(root, 2), again)
	for i, want := range []string{"", CodeCancelled, CodeCancelled} {
		if reply := r.last.Replies[i]; reply.Err != nil && reply.Err.Code != want || reply.Err == nil && want != "" {
			t.Errorf("request %d: %v, want %q", i, reply.Err, want)
		}
	}
	r.drain()
	if diff := cmp.Diff([]string{"cancelled", "cancelled"}, r.links(root, late)); diff != "" {
		t.Error(diff)
	}
}

func TestARerunOfACallStartsAnotherRun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	caller := r.running()
	call := r.ok(workflowCall(caller, 1)).ExecutionID
	root := r.root(call)
	id, _ := state.ParseExecutionID(call)
	again := r.ok(r.rerun(id.StepID().String())).ExecutionID
	if r.result(root) != "cancelled" {
		t.Errorf("the run of the first attempt is %s", r.result(root))
	}
	if other := r.root(again); other == root || r.outcome(call) != "cancelled" || r.outcome(again) != "none" {
		t.Errorf("%s, then %s; outcomes %s and %s", root, other, r.outcome(call), r.outcome(again))
	}
}

// What a memoised call has become is followed; nobody is given what waits for them.
func TestMemoisedCallsThatBecameSomethingElse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	caller := r.running()
	memoised := func(parent string, number int64) string {
		q := workflowCall(parent, number)
		q.Memo = &Memo{Params: Params{All: true}}
		return r.ok(q).ExecutionID
	}
	first := memoised(caller, 1)
	root := r.root(first)
	if again := memoised(caller, 2); again != first {
		t.Errorf("a call that is a run by now is not found: %s", again)
	}
	r.ok(valueOf("S1", root, "1"))
	if again := memoised(caller, 3); again != first {
		t.Errorf("a call whose run gave a value is not found: %s", again)
	}
	id, _ := state.ParseExecutionID(first)
	second := r.ok(r.rerun(id.StepID().String())).ExecutionID
	if again := memoised(caller, 4); again != second {
		t.Errorf("the newest is %s, found is %s", second, again)
	}
	r.ok(failed("S1", r.root(second), state.ResultError))
	if again := memoised(caller, 5); again != first {
		t.Errorf("a failure is not passed over: %s", again)
	}
	task := func(parent string, number int64) string {
		q := call("S1", parent, number)
		q.Memo = &Memo{Params: Params{All: true}}
		return r.ok(q).ExecutionID
	}
	outer := task(caller, 6)
	if inner := task(outer, 1); inner == outer {
		t.Error("a call was given its own caller")
	}
}

// A call of a workflow that was accepted becomes a run when its time has come, however large: it never holds up the timers.
func TestTheLargestCallThatIsAcceptedBecomesARun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	c := call("S1", root, 1)
	c.Type, c.Target, c.Delay = state.TypeWorkflow, "flow", 100
	large, refused := "", 0
	for size := state.MaxEntry; large == ""; size -= 16 {
		c.Arguments = []state.Value{{Data: make([]byte, size)}}
		if reply := r.step(c)[0]; reply.Err == nil {
			large = reply.Answer.ExecutionID
		} else if refused++; reply.Err.Code != CodeTooLarge {
			t.Fatal(reply.Err)
		}
	}
	if refused == 0 {
		t.Fatal("nothing is too large")
	}
	small := call("S1", root, 2)
	small.Delay = 101
	other := r.ok(small).ExecutionID
	r.now += 200
	for range 5 {
		r.step()
	}
	if got := r.result(large); got != "spawned" {
		t.Errorf("the large call is %s", got)
	}
	if e := r.execution(other); !e.Due {
		t.Error("the timer behind it has not fired")
	}
}
