package scheduler

import (
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// recurring makes a recurrent call with a delay; it gives its first execution.
func (r *rig) recurring(parent string, number, delay int64) string {
	r.Helper()
	c := call("S1", parent, number)
	c.Recurrent, c.Delay = true, delay
	return r.ok(c).ExecutionID
}

func TestNullIsFollowedByAnotherAttemptAfterTheDelay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	first := r.recurring(root, 1, 50)
	if e := r.execution(first); e.Due || e.ExecuteAfter != r.now+50 {
		t.Errorf("the first attempt is not delayed: %+v", e)
	}
	id := first
	for range 5 {
		r.now += 50
		r.step()
		r.now += 7 // that it runs
		r.ok(valueOf("S1", id, "null"))
		e, following := r.execution(id), r.execution(next(id, 1))
		if e.Result.Type != state.ResultRecurred || e.Result.Retry != following.Attempt || e.Result.Value != nil {
			t.Errorf("%s ended as %+v", id, e.Result)
		}
		if following.ExecuteAfter != r.now+50 || following.Due || following.Workspace != e.Workspace {
			t.Errorf("%+v follows at %d", following, r.now)
		}
		if got := r.outcome(first); got != "none" {
			t.Errorf("whoever waits is told of %s", got)
		}
		id = next(id, 1)
	}
	r.now += 50
	r.step()
	r.ok(valueOf("S1", id, "0"))
	if got := r.outcome(first); got != "value" {
		t.Errorf("the outcome is %s", got)
	}
}

func TestWhatEndsARecurrence(t *testing.T) {
	t.Parallel()
	handle := state.Value{Data: []byte("null"), References: []state.Reference{{Kind: "execution", ID: "R:1:1"}}}
	value := func(v *state.Value) state.Result { return state.Result{Type: state.ResultValue, Value: v} }
	for name, c := range map[string]struct {
		result state.Result
		want   string
	}{
		"null":                      {value(&state.Value{Data: []byte("null")}), "none"},
		"null with blanks":          {value(&state.Value{Data: []byte(" null\n")}), "none"},
		"no value":                  {value(nil), "none"},
		"false":                     {value(&state.Value{Data: []byte("false")}), "value"},
		"zero":                      {value(&state.Value{Data: []byte("0")}), "value"},
		"an empty text":             {value(&state.Value{Data: []byte(`""`)}), "value"},
		"a list of null":            {value(&state.Value{Data: []byte("[null]")}), "value"},
		"null that refers to":       {value(&handle), "value"},
		"a blob":                    {value(&state.Value{BlobKey: "ab", Size: 4}), "value"},
		"an error":                  {state.Result{Type: state.ResultError, Error: &state.Error{Type: "E"}}, "error"},
		"a timeout":                 {state.Result{Type: state.ResultTimeout}, "timeout"},
		"abandoned":                 {state.Result{Type: state.ResultAbandoned}, "abandoned"},
		"cancelled, says the agent": {state.Result{Type: state.ResultCancelled}, "cancelled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			id := r.recurring(r.running(), 1, 0)
			r.ok(&ReportResult{Session: "S1", Execution: id, Result: c.result})
			if got := r.outcome(id); got != c.want {
				t.Errorf("the outcome is %s, want %s", got, c.want)
			}
		})
	}
	r := newRig(t)
	root := r.running()
	plain := r.ok(call("S1", root, 1)).ExecutionID
	r.ok(valueOf("S1", plain, "null"))
	if got := r.outcome(plain); got != "value" {
		t.Errorf("null of what is not recurrent: %s", got)
	}
	r.refused(CodeBadRequest, &ReportResult{Session: "S1", Execution: root, Result: state.Result{Type: state.ResultRecurred}})
}

// Cancelling any attempt ends it, whether the next one waits or runs.
func TestCancellingEndsARecurrence(t *testing.T) {
	t.Parallel()
	for _, delay := range []int64{0, 1_000} {
		for _, named := range []int{0, 1, 2} {
			r := newRig(t)
			root := r.running()
			id := r.recurring(root, 1, delay)
			for range 2 {
				r.now += delay
				r.step()
				r.ok(valueOf("S1", id, "null"))
				id = next(id, 1)
			}
			r.ok(&Cancel{Workspace: r.execution(root).Workspace, Execution: next(id, named-2)})
			r.drain()
			if got := r.outcome(next(id, -2)); got != "cancelled" {
				t.Errorf("delay %d, cancelled by attempt %d: %s", delay, named+1, got)
			}
			r.ok(valueOf("S1", root, "1"))
			r.now += 10_000
			r.drain()
			for c := range r.store.View().Classes() {
				t.Errorf("something is still queued: %v", c)
			}
		}
	}
}

// A failure is retried first; what recurs starts a new row of failures.
func TestRetriesOfARecurrence(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c := call("S1", r.running(), 1)
	c.Recurrent, c.Retries = true, limited(1)
	id := r.ok(c).ExecutionID
	first := id
	for range 3 {
		r.ok(failed("S1", id, state.ResultError))
		r.step()
		r.ok(valueOf("S1", next(id, 1), "null"))
		r.step()
		id = next(id, 2)
	}
	r.ok(failed("S1", id, state.ResultError))
	r.step()
	if got := r.outcome(first); got != "none" {
		t.Fatalf("the outcome is %s", got)
	}
	r.ok(failed("S1", next(id, 1), state.ResultError))
	if got := r.outcome(first); got != "error" {
		t.Errorf("the outcome is %s", got)
	}
}

// A run may recur as a whole; a re-run by hand recurs too.
func TestARecurrentRoot(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	r.session("S1", 8)
	submit := submitRun(w, r.now)
	submit.Recurrent = true
	root := r.ok(submit).ExecutionID
	r.ok(valueOf("S1", root, "null"))
	r.step()
	r.ok(valueOf("S1", next(root, 1), "1"))
	if got := r.outcome(root); got != "value" {
		t.Fatalf("the outcome is %s", got)
	}
	id, _ := state.ParseExecutionID(root)
	again := r.ok(&RerunStep{RequestID: ulidAt(r.now), Workspace: w, Step: id.StepID().String()}).ExecutionID
	r.step()
	r.ok(valueOf("S1", again, "null"))
	if e := r.execution(next(again, 1)); e.Tier != state.TierRoot || e.Session != "S1" {
		t.Errorf("the re-run does not recur: %+v", e)
	}
}
