package scheduler

import (
	"fmt"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
)

func limited(n int, backoff ...int64) *state.Retries {
	r := &state.Retries{Limit: &n}
	if len(backoff) == 2 {
		r.BackoffMin, r.BackoffMax = backoff[0], backoff[1]
	}
	return r
}

// retried makes a call with retries; it gives its first execution.
func (r *rig) retried(parent string, number int64, retries *state.Retries) string {
	r.Helper()
	c := call("S1", parent, number)
	c.Retries = retries
	return r.ok(c).ExecutionID
}

func failed(session, execution string, kind state.ResultType) *ReportResult {
	result := state.Result{Type: kind}
	if kind == state.ResultError {
		result.Error = &state.Error{Type: "ValueError", Message: execution}
	}
	return &ReportResult{Session: session, Execution: execution, Result: result}
}

// next gives the attempt after an execution.
func next(id string, by int) string {
	e, _ := state.ParseExecutionID(id)
	e.Attempt += by
	return e.String()
}

func (r *rig) outcome(id string) string {
	e, _ := state.ParseExecutionID(id)
	if o := Outcome(r.store.View(), e); o != nil {
		return o.Type.String()
	}
	return "none"
}

func TestRetryDelays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		retries *state.Retries
		luck    float64
		want    []int64
	}{
		{limited(5, 300_000, 600_000), 0, []int64{300_000, 375_000, 450_000, 525_000, 600_000}},
		{limited(1, 500, 900), 1, []int64{500}},
		{limited(2, 500, 900), 1, []int64{500, 900}},
		{limited(3), 1, []int64{0, 0, 0}},
		{limited(4, 1000, 2000), 0, []int64{1000, 1333, 1667, 2000}},
		{limited(2, 500, 0), 0, []int64{500, 0}},
		{limited(maxRetries, 0, maxBackoff), 0, []int64{0, 3154}},
		{&state.Retries{BackoffMin: 100, BackoffMax: 201}, 0, []int64{100, 100}},
		{&state.Retries{BackoffMin: 100, BackoffMax: 201}, 0.5, []int64{151, 151}},
		{&state.Retries{BackoffMin: 100, BackoffMax: 201}, 0.999999, []int64{201}},
	} {
		var got []int64
		for failures := range c.want {
			got = append(got, retryDelay(c.retries, failures, c.luck))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%+v luck %v: %s", c.retries, c.luck, diff)
		}
	}
}

func TestWhichEndsAreRetried(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	refusing := func(retryable *bool) *ReportResult {
		q := failed("", "", state.ResultError)
		q.Result.Error.Retryable = retryable
		return q
	}
	for name, c := range map[string]struct {
		report *ReportResult
		again  bool
	}{
		"error": {failed("", "", state.ResultError), true}, "timeout": {failed("", "", state.ResultTimeout), true},
		"abandoned": {failed("", "", state.ResultAbandoned), true}, "cancelled": {failed("", "", state.ResultCancelled), false},
		"value": {valueOf("", "", "1"), false}, "retryable": {refusing(&yes), true}, "not retryable": {refusing(&no), false},
	} {
		r := newRig(t)
		id := r.retried(r.running(), 1, limited(1))
		c.report.Session, c.report.Execution = "S1", id
		c.report.Result.Retry = 7 // not for an agent to say
		r.now += 10
		r.ok(c.report)
		want := 0
		if c.again {
			want = 2
		}
		if e := r.execution(id); e.Result.Retry != want {
			t.Errorf("%s: followed by attempt %d, want %d", name, e.Result.Retry, want)
		}
		if !c.again {
			continue
		}
		e := r.execution(next(id, 1))
		if e.ExecuteAfter != r.now || !e.Due || e.Session != "S1" || e.Tier != state.TierChild {
			t.Errorf("%s: the next attempt is %+v", name, e)
		}
		r.ok(failed("S1", next(id, 1), c.report.Result.Type))
		if e := r.execution(next(id, 1)); e.Result.Retry != 0 {
			t.Errorf("%s: a limit of 1 gave a third attempt", name)
		}
	}
}

func TestUnlimitedRetriesNeverEndAndStayWithinTheirBounds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.retried(r.running(), 1, &state.Retries{BackoffMin: 100, BackoffMax: 300})
	seen := map[int64]bool{}
	for range 50 {
		r.ok(failed("S1", id, state.ResultError))
		id = next(id, 1)
		e := r.execution(id)
		wait := e.ExecuteAfter - r.now
		if wait < 100 || wait > 300 || e.Due || e.Session != "" {
			t.Fatalf("waits %d ms: %+v", wait, e)
		}
		seen[wait] = true
		r.now += wait - 1
		if r.step(); r.execution(id).Session != "" {
			t.Fatal("started before its time")
		}
		r.now++
		if r.drain(); r.execution(id).Session != "S1" {
			t.Fatal("not started at its time")
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d different waits of 50", len(seen))
	}
}

// The count is of failures in a row before the present one, whoever made the attempts.
func TestRerunsAndRetries(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	id := r.retried(root, 1, limited(1))
	step, _ := state.ParseStepID(id[:len(id)-2])
	r.ok(failed("S1", id, state.ResultError))
	r.ok(failed("S1", next(id, 1), state.ResultError))
	if r.outcome(id) != "error" {
		t.Fatalf("outcome %s", r.outcome(id))
	}
	again := r.ok(r.rerun(step.String())).ExecutionID
	r.ok(failed("S1", again, state.ResultError))
	if e := r.execution(again); e.Result.Retry != 0 {
		t.Error("a re-run after exhausted retries was retried")
	}
	good := r.ok(r.rerun(step.String())).ExecutionID
	r.ok(valueOf("S1", good, "1"))
	fresh := r.ok(r.rerun(step.String())).ExecutionID
	r.ok(failed("S1", fresh, state.ResultError))
	if e := r.execution(fresh); e.Result.Retry == 0 {
		t.Error("a success did not reset the count")
	}
	r.ok(r.rerun(step.String())) // ends the retry
	if r.result(next(fresh, 1)) != "cancelled" || r.outcome(fresh) != "cancelled" || r.outcome(id) != "error" {
		t.Errorf("retry %s, outcome %s, of the old handle %s", r.result(next(fresh, 1)), r.outcome(fresh), r.outcome(id))
	}
}

func TestALostSessionsWorkIsRetriedElsewhere(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	r.session("S1", 8)
	submit := submitRun(w, r.now)
	submit.Retries = limited(1)
	root := r.ok(submit).ExecutionID
	r.session("S2", 8)
	delete(r.soft.Sessions, "S1")
	r.ok(&LoseSession{Session: "S1", Reason: "lost"})
	if e := r.execution(next(root, 1)); r.result(root) != "abandoned" || e.Session != "S2" || r.outcome(root) != "none" {
		t.Fatalf("%s, then %+v", r.result(root), e)
	}
	r.ok(valueOf("S2", next(root, 1), "1"))
	if r.outcome(root) != "value" {
		t.Errorf("whoever waits sees %s", r.outcome(root))
	}
}

func TestARetryGoesToAnotherNodeFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	id := r.retried(root, 1, limited(3))
	r.session("S2", 1)
	r.ok(failed("S1", id, state.ResultError))
	if e := r.execution(next(id, 1)); e.Session != "S2" {
		t.Errorf("the retry went to %s", e.Session)
	}
	r.occupy("S1", 7, 1) // busy, but another
	r.ok(failed("S2", next(id, 1), state.ResultError))
	if e := r.execution(next(id, 2)); e.Session != "S1" {
		t.Errorf("the second retry went to %s", e.Session)
	}
	r.occupy("S2", 1, 1) // full
	r.ok(failed("S1", next(id, 2), state.ResultError))
	if e := r.execution(next(id, 3)); e.Session != "S1" {
		t.Errorf("with no other node free the retry went to %q", e.Session)
	}
}

func TestCancellingAnyAttemptEndsTheCall(t *testing.T) {
	t.Parallel()
	for name, pick := range map[string]int{"by the first": 0, "by the last": 1} {
		r := newRig(t)
		root := r.running()
		id := r.retried(root, 1, limited(1))
		early := r.ok(call("S1", id, 1)).ExecutionID
		r.ok(failed("S1", id, state.ResultError))
		late := r.ok(call("S1", next(id, 1), 1)).ExecutionID
		if r.result(early) != "none" {
			t.Fatalf("%s: an error ended what its execution had called", name)
		}
		r.ok(r.cancel(next(id, pick)))
		r.refused(CodeFenced, call("S1", next(id, 1), 2))
		r.drain()
		got := fmt.Sprint(r.result(id), r.result(next(id, 1)), r.result(early), r.result(late), r.outcome(id), r.result(root))
		if got != fmt.Sprint("error", "cancelled", "cancelled", "cancelled", "cancelled", "none") {
			t.Errorf("%s: %s", name, got)
		}
		for e := range r.store.View().Attempts(r.execution(id).ID().StepID()) {
			if e.Attempt > 2 {
				t.Errorf("%s: a cancelled call went on with attempt %d", name, e.Attempt)
			}
		}
	}
}

func TestATimeoutEndsWhatThatAttemptCalledAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.retried(r.running(), 1, limited(1))
	early := r.ok(call("S1", id, 1)).ExecutionID
	r.ok(failed("S1", id, state.ResultTimeout))
	late := r.ok(call("S1", next(id, 1), 1)).ExecutionID
	r.drain()
	if r.result(early) != "cancelled" || r.result(late) != "none" || r.result(next(id, 1)) != "none" {
		t.Errorf("early %s, late %s, retry %s", r.result(early), r.result(late), r.result(next(id, 1)))
	}
}

func TestChain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.retried(r.running(), 1, limited(1))
	r.ok(failed("S1", id, state.ResultError))
	r.ok(failed("S1", next(id, 1), state.ResultError))
	step, _ := state.ParseStepID(id[:len(id)-2])
	r.ok(r.rerun(step.String()))
	for attempt, want := range map[int][]string{0: {id}, 1: {next(id, 1), id}, 2: {next(id, 2)}} {
		var got []string
		from, _ := state.ParseExecutionID(next(id, attempt))
		for e := range Chain(r.store.View(), from) {
			got = append(got, e.ID().String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	if Last(r.store.View(), state.ExecutionID{Run: "Rnone", Step: 1, Attempt: 1}) != nil {
		t.Error("what does not exist has a last attempt")
	}
}

func TestRetriesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	for i, bad := range []*state.Retries{limited(-1), limited(maxRetries + 1), {BackoffMin: -1}, {BackoffMax: maxBackoff + 1}} {
		c := call("S1", root, int64(i+1))
		c.Retries = bad
		r.refused(CodeBadRequest, c)
		s := submitRun(r.workspace(), r.now)
		s.Retries = bad
		r.refused(CodeBadRequest, s)
	}
	id := r.retried(root, 9, limited(0, 1, 2))
	if s := r.store.View().Step(r.execution(id).ID().StepID()); s.Retries != nil {
		t.Errorf("no retries are kept as %+v", s.Retries)
	}
}
