package scheduler

import (
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// durable starts a durable run on session S1 and gives its root.
func (r *rig) durable(options ...func(*SubmitRun)) string {
	r.Helper()
	w := r.workspace()
	r.session("S1", 8)
	q := submitRun(w, r.now)
	q.Durable = true
	for _, o := range options {
		o(q)
	}
	return r.ok(q).ExecutionID
}

// step called by a durable run: equal is how many equal calls came before.
func (r *rig) called(parent string, number int64, argument string, equal int) string {
	r.Helper()
	c := call("S1", parent, number)
	c.Arguments, c.Equal = []state.Value{{Data: []byte(argument)}}, equal
	return r.ok(c).ExecutionID
}

func vanished(session, execution string) *ReportResult {
	q := failed(session, execution, state.ResultError)
	q.Result.Error = &state.Error{Type: "internal", Message: "EOF: the process ended without a result (signal 9)", Vanished: true}
	return q
}

func TestDurableFindsItsSteps(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.durable()
	first := r.called(root, 1, "1", 0)
	again := r.called(root, 2, "1", 1)
	if first == again {
		t.Fatal("two equal calls are one step")
	}
	other := r.called(root, 3, "2", 0)
	r.ok(valueOf("S1", first, `"a"`))
	r.ok(valueOf("S1", again, `"b"`))
	r.ok(failed("S1", other, state.ResultError))
	r.now += 10
	r.ok(failed("S1", root, state.ResultAbandoned))
	if got := r.execution(root).Result; got.Type != state.ResultAbandoned || got.Retry != 2 {
		t.Fatalf("the loss is %+v", got)
	}
	root = next(root, 1)
	r.drain()
	if e := r.execution(root); e.Failures != 0 || e.Session != "S1" {
		t.Fatalf("the next attempt is %+v", e)
	}
	// In another order, and with other numbers.
	if got := r.called(root, 1, "2", 0); got == other {
		t.Error("a step that failed is not called again")
	}
	if got := r.called(root, 2, "1", 0); got != first {
		t.Errorf("the first of two equal calls is %s, want %s", got, first)
	}
	if got := r.called(root, 3, "1", 1); got != again {
		t.Errorf("the second of two equal calls is %s, want %s", got, again)
	}
	if got := r.called(root, 4, "1", 2); got == first || got == again {
		t.Error("a third equal call is not new")
	}
	// What its steps call is their own.
	step := r.called(root, 5, "3", 0)
	if got := r.called(step, 1, "1", 0); got == first {
		t.Error("the call of a step is given the call of the workflow")
	}
	// A call that says itself what it is known by.
	c := call("S1", root, 6)
	c.Arguments, c.Memo = []state.Value{{Data: []byte("1")}}, &Memo{Off: true}
	if got := r.ok(c).ExecutionID; got == first || got == again {
		t.Error("memo=False does not count")
	}
}

func TestWhatIsResumed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		report  *ReportResult
		durable bool
		resumed bool
	}{
		"node lost": {failed("", "", state.ResultAbandoned), true, true}, "process gone": {vanished("", ""), true, true},
		"error": {failed("", "", state.ResultError), true, false}, "timeout": {failed("", "", state.ResultTimeout), true, false},
		"cancelled": {failed("", "", state.ResultCancelled), true, false}, "value": {valueOf("", "", "1"), true, false},
		"not durable": {failed("", "", state.ResultAbandoned), false, false},
	} {
		r := newRig(t)
		root := r.durable(func(q *SubmitRun) { q.Durable = c.durable })
		c.report.Session, c.report.Execution = "S1", root
		c.report.Result.Retry = 9 // not for an agent to say
		r.ok(c.report)
		if e := r.execution(root); (e.Result.Retry == 2) != c.resumed || !c.resumed && e.Result.Retry != 0 {
			t.Errorf("%s: followed by attempt %d", name, e.Result.Retry)
		}
	}
}

func TestLossesWithoutProgressEndIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.durable()
	number := 0
	lose := func(progress bool) {
		t.Helper()
		r.now += 10
		if progress {
			number++
			r.ok(valueOf("S1", r.called(root, 1, `"n"`, number), "1"))
		}
		r.ok(failed("S1", root, state.ResultAbandoned))
		r.drain()
	}
	for range 5 { // as often as it likes, with a completed step in between
		lose(false)
		root = next(root, 1)
		lose(false)
		root = next(root, 1)
		lose(true)
		root = next(root, 1)
	}
	lose(false)
	root = next(root, 1)
	lose(false)
	root = next(root, 1)
	r.ok(vanished("S1", root))
	e := r.execution(root)
	if e.Result.Type != state.ResultError || e.Result.Retry != 0 || !strings.Contains(e.Result.Error.Message, "lost 3 times in a row without completing another step, the last time: EOF") {
		t.Errorf("after the third loss without progress: %+v %+v", e.Result, e.Result.Error)
	}
}

// A step of an earlier attempt that comes to its end while a later one is there is progress too.
func TestProgressOfAnEarlierAttempt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.durable()
	step := r.called(root, 1, "1", 0)
	for range 2 {
		r.now += 10
		r.ok(failed("S1", root, state.ResultAbandoned))
		root = next(root, 1)
		r.drain()
		if got := r.called(root, 1, "1", 0); got != step {
			t.Fatalf("the call is %s, want %s", got, step)
		}
	}
	r.now += 10
	r.ok(valueOf("S1", step, "1"))
	r.ok(failed("S1", root, state.ResultAbandoned))
	if e := r.execution(root); e.Result.Type != state.ResultAbandoned || e.Result.Retry != 4 {
		t.Errorf("the third loss ended it: %+v", e.Result)
	}
}

// Losses are no failures: each retry has its own losses, and resumed attempts do not use up retries.
func TestDurableWithRetries(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.durable(func(q *SubmitRun) { q.Retries = limited(1) })
	for attempt := 1; attempt <= 2*maxLosses; attempt++ {
		r.ok(failed("S1", root, state.ResultAbandoned))
		r.drain()
		e := r.execution(root)
		switch {
		case attempt == 2*maxLosses:
			if e.Result.Type != state.ResultError || e.Result.Retry != 0 {
				t.Errorf("the last attempt is %+v", e.Result)
			}
		case e.Result.Retry != attempt+1 || (e.Result.Type == state.ResultError) != (attempt == maxLosses):
			t.Errorf("attempt %d ended as %+v", attempt, e.Result)
		}
		root = next(root, 1)
	}
}

// A workflow that is called is durable by its own option: the run that it becomes, not its caller's.
func TestDurableCall(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	c := call("S1", root, 1)
	c.Type, c.Target, c.Durable = state.TypeWorkflow, "flow", true
	child := r.execution(r.ok(c).ExecutionID).Result.Link
	r.ok(failed("S1", child, state.ResultAbandoned))
	if e := r.execution(child); e.Result.Retry != 2 {
		t.Errorf("the called workflow is not resumed: %+v", e.Result)
	}
	r.ok(failed("S1", root, state.ResultAbandoned))
	if e := r.execution(root); e.Result.Retry != 0 {
		t.Errorf("its caller is: %+v", e.Result)
	}
}

// What recurs begins anew: it does not find what the time before called.
func TestDurableRecurrence(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.durable(func(q *SubmitRun) { q.Recurrent = true })
	step := r.called(root, 1, "1", 0)
	r.ok(valueOf("S1", step, "1"))
	r.ok(valueOf("S1", root, "null"))
	root = next(root, 1)
	r.drain()
	again := r.called(root, 1, "1", 0)
	if again == step {
		t.Fatal("the second time is given the step of the first")
	}
	r.ok(failed("S1", root, state.ResultAbandoned))
	root = next(root, 1)
	r.drain()
	if got := r.called(root, 1, "1", 0); got != again {
		t.Errorf("after a loss the call is %s, want %s", got, again)
	}
}

// A handle that is passed on is the same one again, although the step that it names was retried meanwhile: the call that it is
// passed to is found.
func TestDurableHandles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.durable()
	c := call("S1", root, 1)
	c.Retries = limited(1)
	step := r.ok(c).ExecutionID
	refer := func(number int64, id string) string {
		c := call("S1", root, number)
		c.Arguments = []state.Value{{Data: []byte(`{"type":"ref","index":0}`), References: []state.Reference{{Kind: state.KindExecution, ID: id}}}}
		return r.ok(c).ExecutionID
	}
	user := refer(2, step)
	r.ok(failed("S1", step, state.ResultError))
	r.ok(valueOf("S1", next(step, 1), "1"))
	r.ok(failed("S1", root, state.ResultAbandoned))
	root = next(root, 1)
	r.drain()
	again := r.ok(call("S1", root, 1)).ExecutionID
	if again != step {
		t.Errorf("the call is %s, want %s", again, step)
	}
	if got := refer(2, again); got != user {
		t.Errorf("the call with the handle is %s, want %s", got, user)
	}
}

// A durable run that has failed goes on where it failed when it is run again.
func TestDurableRerun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.durable()
	first, second := r.called(root, 1, "1", 0), r.called(root, 2, "2", 0)
	r.ok(valueOf("S1", first, "1"))
	r.ok(failed("S1", second, state.ResultError))
	r.ok(failed("S1", root, state.ResultError))
	e := r.execution(root)
	root = r.ok(&RerunStep{RequestID: ulidAt(r.now), Workspace: e.Workspace, Step: e.ID().StepID().String()}).ExecutionID
	r.drain()
	if got := r.called(root, 1, "1", 0); got != first {
		t.Errorf("the completed step is %s, want %s", got, first)
	}
	if got := r.called(root, 2, "2", 0); got == second {
		t.Error("the failed step is not called again")
	}
}

// However often a durable execution is suspended while a step of it is open, it finds the step.
func TestDurableFindsAnOpenStepAfterManySuspensions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.durable()
	step := r.called(root, 1, "1", 0)
	for range maxSearch + 1 {
		r.now++
		r.ok(suspend("S1", root))
		root = next(root, 1)
	}
	if got := r.called(root, 1, "1", 0); got != step {
		t.Errorf("the call is %s, want %s", got, step)
	}
}

// A durable run that has begun goes on where it stood, whoever calls the same meanwhile; before its begin it may be deferred.
func TestDurableIsNotDeferredOnceItHasBegun(t *testing.T) {
	t.Parallel()
	later := func(q *SubmitRun) { q.Defer = &Params{All: true} }
	lose := func(r *rig, root string) { r.ok(failed("S1", root, state.ResultAbandoned)) }
	for name, c := range map[string]struct {
		end  func(r *rig, root string)
		want string
	}{
		"lost":      {lose, "none"},
		"suspended": {func(r *rig, root string) { r.ok(&Suspend{Session: "S1", Execution: root, Delay: 50}) }, "none"},
		"run again": {func(r *rig, root string) {
			e := r.execution(root)
			r.ok(valueOf("S1", root, "1"))
			r.ok(&RerunStep{RequestID: ulidAt(r.now), Workspace: e.Workspace, Step: e.ID().StepID().String()})
		}, "deferred"},
	} {
		r := newRig(t)
		root := r.durable(later)
		soft := r.soft
		r.soft = Soft{} // nothing is placed from here on
		c.end(r, root)
		q := submitRun(r.execution(root).Workspace, r.now)
		later(q)
		q.Delay = 100
		r.ok(q)
		if got := r.result(next(root, 1)); got != c.want {
			t.Errorf("%s: after a newer call the next attempt is %s, want %s", name, got, c.want)
		}
		r.soft = soft
	}
}
