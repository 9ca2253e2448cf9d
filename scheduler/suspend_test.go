package scheduler

import (
	"fmt"
	"slices"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
)

func suspend(session, execution string, handles ...string) *Suspend {
	s := &Suspend{Session: session, Execution: execution}
	for _, h := range handles {
		s.Handles = append(s.Handles, state.Reference{Kind: state.KindExecution, ID: h})
	}
	return s
}

func TestSuspensionIsFollowedByAnotherAttempt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	child := r.ok(call("S1", root, 1)).ExecutionID
	r.ok(suspend("S1", root))
	e, following := r.execution(root), r.execution(next(root, 1))
	if e.Result.Type != state.ResultSuspended || e.Result.Retry != 2 || e.CompletedAt != r.now || !slices.Contains(r.events(), "abort S1 "+root) {
		t.Errorf("ended as %+v; %v", e.Result, r.events())
	}
	if following.Session != "S1" || following.Tier != state.TierRoot || following.Wait != state.WaitNone {
		t.Errorf("%+v follows", following)
	}
	if got := r.outcome(root); got != "none" || r.result(child) != "none" {
		t.Errorf("whoever waits is told of %s; its child ended as %s", got, r.result(child))
	}
	r.ok(suspend("S1", root)) // a repeat
	r.ok(valueOf("S1", root, "1"))
	r.refused(CodeFenced, call("S1", root, 2))
	if e := r.execution(root); e.Result.Retry != 2 || e.Result.Type != state.ResultSuspended {
		t.Errorf("after its suspension it ended as %+v", e.Result)
	}
	r.ok(valueOf("S1", next(root, 1), "2"))
	if got := r.outcome(root); got != "value" {
		t.Errorf("the outcome is %s", got)
	}
}

func TestWhenASuspendedExecutionGoesOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		delay, after, due int64
	}{
		"at once":             {0, 0, 0},
		"a delay":             {50, 0, 50},
		"a moment":            {0, start + 70, 70},
		"a moment long ago":   {0, start - 70, 0},
		"the later of both":   {50, start + 40, 50},
		"a delay below zero":  {-50, 0, 0},
		"the moment is later": {50, start + 60, 60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			root := r.running()
			r.ok(&Suspend{Session: "S1", Execution: root, Delay: c.delay, ExecuteAfter: c.after})
			if c.due > 0 {
				r.now += c.due - 1
				if r.step(); r.execution(next(root, 1)).Session != "" {
					t.Error("it went on too early")
				}
				r.now++
				r.step()
			}
			if e := r.execution(next(root, 1)); e.Session == "" || c.due > 0 && e.ExecuteAfter != start+c.due {
				t.Errorf("it did not go on: %+v", e)
			}
		})
	}
	r := newRig(t)
	root := r.running()
	r.refused(CodeBadRequest, &Suspend{Session: "S1", Execution: root, Delay: maxBackoff + 1})
	r.refused(CodeFenced, suspend("S2", root))
	r.refused(CodeBadRequest, suspend("S1", "nonsense"))
}

func TestSuspensionsCountAsNeitherFailureNorSuccess(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	id := r.retried(root, 1, limited(2))
	for round, want := range []int{1, 2} {
		for range 3 {
			r.ok(suspend("S1", id))
			id = next(id, 1)
			if e := r.execution(id); e.Failures != round {
				t.Fatalf("%s has %d failures before it, want %d", id, e.Failures, round)
			}
		}
		r.ok(failed("S1", id, state.ResultError))
		if id = next(id, 1); r.execution(id).Failures != want {
			t.Fatalf("%s has %d failures before it, want %d", id, r.execution(id).Failures, want)
		}
	}
	r.ok(suspend("S1", id))
	r.ok(failed("S1", next(id, 1), state.ResultError))
	if got := r.outcome(id); got != "error" {
		t.Errorf("the third failure was retried: %s", got)
	}
}

func TestASuccessorWaitsForTheEndOfTheOldProcess(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	r.soft.Holds = func(_, execution string) bool { return execution == root }
	r.ok(suspend("S1", root))
	if e := r.execution(next(root, 1)); e.Session != "" {
		t.Error("two processes of one step")
	}
	r.soft.Holds = nil
	if r.step(); r.execution(next(root, 1)).Session == "" {
		t.Error("it does not go on")
	}
}

func TestCancellationFollowsSuspensions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	child := r.ok(call("S1", root, 1)).ExecutionID
	r.ok(suspend("S1", root, child))
	r.ok(&Cancel{Workspace: r.execution(root).Workspace, Execution: root})
	r.drain()
	for _, id := range []string{next(root, 1), child} {
		if got := r.result(id); got != "cancelled" {
			t.Errorf("%s is %s", id, got)
		}
	}
	if n := len(waitsLeft(r)); n != 0 {
		t.Errorf("%d waits are left", n)
	}
}

func TestWhatIsCancelledDoesNotSuspend(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	child := r.ok(call("S1", root, 1)).ExecutionID
	replies := r.step(&Cancel{Workspace: r.execution(root).Workspace, Execution: root}, suspend("S1", child))
	if replies[1].Err != nil || r.result(child) != "cancelled" || len(slices.Collect(r.store.View().Attempts(r.execution(child).ID().StepID()))) != 1 {
		t.Errorf("answered %v, it is %s", replies[1].Err, r.result(child))
	}
}

func TestASuspendedExecutionWaitsForAnyOfItsHandles(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(r *rig, id string){
		"a value":         func(r *rig, id string) { r.ok(valueOf("S1", id, "1")) },
		"an error":        func(r *rig, id string) { r.ok(failed("S1", id, state.ResultError)) },
		"a cancellation":  func(r *rig, id string) { r.ok(&Cancel{Workspace: r.execution(id).Workspace, Execution: id}) },
		"an abandonment":  func(r *rig, id string) { r.ok(failed("S1", id, state.ResultAbandoned)) },
		"a timeout":       func(r *rig, id string) { r.ok(failed("S1", id, state.ResultTimeout)) },
		"another attempt": func(r *rig, id string) { r.ok(suspend("S1", id)); r.ok(valueOf("S1", next(id, 1), "1")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			root := r.running()
			one, two := r.ok(call("S1", root, 1)).ExecutionID, r.ok(call("S1", root, 2)).ExecutionID
			r.ok(suspend("S1", root, one, two))
			again := next(root, 1)
			if e := r.execution(again); e.Wait != state.WaitAny || e.Session != "" || e.Queued() {
				t.Fatalf("it does not wait: %+v", e)
			}
			if got := WaitsFor(r.store.View(), r.execution(again)); len(got) != 2 {
				t.Errorf("it waits for %v", got)
			}
			for _, id := range []string{one, two} {
				if !r.store.View().HasDependency(root, id) {
					t.Errorf("the dependency on %s is not recorded", id)
				}
			}
			end(r, two)
			r.drain()
			if e := r.execution(again); e.Wait != state.WaitNone || e.Session != "S1" {
				t.Errorf("it still waits: %+v", e)
			}
			r.ok(valueOf("S1", one, "1"))
			r.drain()
			if left := waitsLeft(r); len(left) != 0 {
				t.Errorf("waits are left: %v", left)
			}
		})
	}
}

func TestASuspensionWhoseHandleIsFinalByThenIsDueAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	one, two := r.ok(call("S1", root, 1)).ExecutionID, r.ok(call("S1", root, 2)).ExecutionID
	r.ok(valueOf("S1", one, "1"))
	r.ok(suspend("S1", root, two, one))
	if e := r.execution(next(root, 1)); e.Wait != state.WaitNone || e.Session == "" || len(waitsLeft(r)) != 0 {
		t.Errorf("it waits: %+v", e)
	}
}

func TestASuspendedExecutionWaitsForAnAnswer(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(id string) Request{
		"an answer": func(id string) Request {
			return &RespondInput{RequestID: ulidAt(start), Input: id, Value: state.Value{Data: []byte("1")}}
		},
		"a dismissal": func(id string) Request { return &DismissInput{RequestID: ulidAt(start), Input: id} },
		"a cancellation": func(id string) Request {
			return &CancelHandles{Session: "S1", Execution: "", Handles: []string{id}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			root := r.running()
			child := r.ok(call("S1", root, 1)).ExecutionID
			input := r.ok(&SubmitInput{Session: "S1", Execution: root, Number: 2, Template: "?"}).InputID
			s := suspend("S1", root, child)
			s.Handles = append(s.Handles, state.Reference{Kind: state.KindInput, ID: input})
			r.ok(s)
			again, id := next(root, 1), must(state.ParseInputID(input))
			if e := r.execution(again); e.Wait != state.WaitAny || e.Session != "" || !Awaited(r.store.View(), id) {
				t.Fatalf("it does not wait: %+v", e)
			}
			request := end(input)
			if c, ok := request.(*CancelHandles); ok {
				c.Execution = child
			}
			r.ok(request)
			r.drain()
			if e := r.execution(again); e.Session != "S1" {
				t.Errorf("it still waits: %+v", e)
			}
			s.Execution = again
			r.ok(s)
			if e := r.execution(next(again, 1)); e.Session != "S1" {
				t.Errorf("it waits for what is over: %+v", e)
			}
		})
	}
}

func must[T any](v T, _ bool) T { return v }

func TestHandlesThatASuspensionCannotWaitFor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	r.refused(CodeNotFound, suspend("S1", root, "Rnone:1:1"))
	r.refused(CodeNotFound, &Suspend{Session: "S1", Execution: root, Handles: []state.Reference{{Kind: state.KindInput, ID: "R/i1"}}})
	r.refused(CodeBadRequest, &Suspend{Session: "S1", Execution: root, Handles: []state.Reference{{Kind: "asset", ID: "A"}}})
	many := make([]string, maxHandles+1)
	for i := range many {
		many[i] = root
	}
	r.refused(CodeBadRequest, suspend("S1", root, many...))
}

// One end may set free more than fits an entry: they go on in sweeps.
func TestAnEndWakesHoweverManyWait(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	s := r.soft.Sessions["S1"]
	one := r.ok(call("S1", root, 1)).ExecutionID
	const many = 1200
	for i := range many {
		c := call("S1", root, int64(2+i))
		c.Arguments = []state.Value{{Data: []byte("1"), References: []state.Reference{{Kind: state.KindExecution, ID: one}}}}
		c.WaitFor = []int{0}
		r.ok(c)
	}
	s.Running = 8 // nothing is placed meanwhile
	r.soft.Sessions["S1"] = s
	r.ok(valueOf("S1", one, "1"))
	if r.entry > state.MaxEntry/2 || !r.last.More {
		t.Errorf("an entry of %d bytes, more %v", r.entry, r.last.More)
	}
	r.drain()
	for i := range many {
		if e := r.execution(fmt.Sprintf("%s:%d:1", r.execution(root).Run, i+3)); !e.Queued() {
			t.Fatalf("%s still waits", e.ID())
		}
	}
}

// waitsLeft are the rows of waits.
func waitsLeft(r *rig) (left []string) {
	v := r.store.View()
	for run := range v.RunsByWorkspace(r.workspace(), 0, "") {
		for e := range v.RunExecutions(run.ID, 0) {
			for w := range v.Waits(e.ID()) {
				left = append(left, w.Execution+" on "+w.On)
			}
		}
	}
	return left
}

// What times out takes along what it called before it was suspended, or lost and resumed; what an attempt called that failed is
// left alone.
func TestATimeoutReachesWhatWasCalledBeforeASuspension(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end       func(root string) Request
		cancelled bool
	}{
		"suspended": {func(root string) Request { return suspend("S1", root) }, true},
		"lost":      {func(root string) Request { return failed("S1", root, state.ResultAbandoned) }, true},
		"vanished":  {func(root string) Request { return vanished("S1", root) }, true},
		"failed":    {func(root string) Request { return failed("S1", root, state.ResultError) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			root := r.durable(func(q *SubmitRun) { q.Retries = limited(2) })
			child := r.ok(call("S1", root, 1)).ExecutionID
			for range 2 {
				r.ok(c.end(root))
				r.drain()
				root = next(root, 1)
			}
			last := r.called(root, 1, "9", 0)
			r.ok(failed("S1", root, state.ResultTimeout))
			r.drain()
			if got := r.result(last); got != "cancelled" {
				t.Errorf("what it called itself ended as %s", got)
			}
			if got := r.result(child); (got == "cancelled") != c.cancelled {
				t.Errorf("what was called before ended as %s", got)
			}
		})
	}
}
