package scheduler

import (
	"iter"
	"math"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// Bounds of what may be asked for: a hundred years, and more attempts than anybody waits for.
const (
	maxBackoff = 100 * 365 * 24 * 3600 * 1000
	maxRetries = 1_000_000_000
)

// normalRetries refuses what no step may be given and gives nil where a failure is never followed by another attempt.
func normalRetries(r *state.Retries) (*state.Retries, error) {
	if r == nil {
		return nil, nil
	}
	if r.Limit != nil && (*r.Limit < 0 || *r.Limit > maxRetries) {
		return nil, refuse(CodeBadRequest, "the limit of retries is %d: give a number from 0 on, or none for any number of retries", *r.Limit)
	}
	for _, ms := range []int64{r.BackoffMin, r.BackoffMax} {
		if ms < 0 || ms > maxBackoff {
			return nil, refuse(CodeBadRequest, "the backoff of retries is %d ms: give at least 0 and at most a hundred years", ms)
		}
	}
	if r.Limit != nil && *r.Limit == 0 {
		return nil, nil
	}
	return r, nil
}

// retry makes the attempt that follows a failure, in the same entry, after so many milliseconds, and links the result to it; nil
// when none follows. Nothing follows a cancellation: whoever calls this has made sure that none covers the execution.
func (d *decision) retry(e *state.Execution, result *state.Result) (next *state.Execution, delay int64) {
	step := d.Step(e.ID().StepID())
	if !result.Type.Failed() || step.Retries == nil || d.archived(e.Workspace) {
		return nil, 0
	}
	if r := result.Error; r != nil && r.Retryable != nil && !*r.Retryable {
		return nil, 0
	}
	if limit := step.Retries.Limit; limit != nil && e.Failures >= *limit {
		return nil, 0
	}
	next = d.newAttempt(step, e.Workspace, d.LatestAttempt(step.ID()).Attempt+1, e.Tier)
	next.Failures = e.Failures + 1
	next.Lap = e.Lap
	next.ExecuteAfter = d.now // shown even where the retry does not wait
	luck := 0.0
	if step.Retries.Limit == nil {
		luck = d.random.Float64()
	}
	result.Retry = next.Attempt
	return next, retryDelay(step.Retries, e.Failures, luck)
}

// retryDelay is the wait before the attempt that follows so many failures before the present one, whole milliseconds.
// luck, from 0 to 1, decides where there is no limit.
func retryDelay(r *state.Retries, failures int, luck float64) int64 {
	part := luck
	if r.Limit != nil {
		part = float64(failures) / float64(max(*r.Limit-1, 1))
	}
	return r.BackoffMin + int64(math.Round(part*float64(r.BackoffMax-r.BackoffMin)))
}

// failuresAfter counts the failures in a row that end with the execution, which has its result.
func failuresAfter(e *state.Execution) int {
	if e.Result == nil || !e.Result.Type.Failed() {
		return 0
	}
	return e.Failures + 1
}

// earlier walks the attempts before an execution in its workspace, newest first: those in other workspaces neither count
// nor hold it up.
func earlier(v *state.View, e *state.Execution) iter.Seq[*state.Execution] {
	return func(yield func(*state.Execution) bool) {
		for before := range v.AttemptsBefore(e.ID()) {
			if before.Workspace == e.Workspace && !yield(before) {
				return
			}
		}
	}
}

// lastAttempt is the last of the attempts that follow from an execution (by retries, recurrence, suspension), or itself.
func lastAttempt(v *state.View, e *state.Execution) *state.Execution {
	for e.Result != nil && e.Result.Retry > e.Attempt {
		next := v.Execution(state.ExecutionID{Run: e.Run, Step: e.Step, Attempt: e.Result.Retry})
		if next == nil {
			break
		}
		e = next
	}
	return e
}

// firstAttempt is the first of the attempts that an execution follows from, or itself.
func firstAttempt(v *state.View, e *state.Execution) *state.Execution {
	for before := retriedBy(v, e); before != nil; before = retriedBy(v, e) {
		e = before
	}
	return e
}

// retriedBy is the attempt that an execution follows, nil when it follows none.
func retriedBy(v *state.View, e *state.Execution) *state.Execution {
	for before := range v.AttemptsBefore(e.ID()) {
		if before.Result != nil && before.Result.Retry == e.Attempt {
			return before
		}
	}
	return nil
}
