package scheduler

import (
	"fmt"
	"strconv"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// maxLosses is how many attempts of a durable step may be lost in a row without one of them completing a step.
const maxLosses = 3

// resume makes the attempt that follows one of a durable step that was lost with its node or process, in the same entry; nil
// when none follows. It is no retry and counts as none: however often it happens, as long as steps are completed in between.
// After maxLosses without, the loss becomes an error that says so, and what retries make of it is theirs.
func (d *decision) resume(e *state.Execution, result *state.Result) (next *state.Execution, delay int64) {
	if !lost(result) || d.archived(e.Workspace) {
		return nil, 0
	}
	step := d.Step(e.ID().StepID())
	if !step.Durable {
		return nil, 0
	}
	losses := 0
	if !d.progressed(e) {
		losses = e.Losses + 1
	}
	if losses >= maxLosses {
		*result = state.Result{Type: state.ResultError, Error: &state.Error{Type: "internal",
			Message: fmt.Sprintf("lost %d times in a row without completing another step, the last time: %s", losses, lossReason(result))}}
		return nil, 0
	}
	next = d.newAttempt(step, e.Workspace, d.LatestAttempt(step.ID()).Attempt+1, e.Tier)
	next.Failures, next.Losses, next.Lap = e.Failures, losses, e.Lap
	next.DeferKey = "" // it has begun: a newer call does not take its place
	result.Retry = next.Attempt
	return next, 0
}

// lost tells whether the body ended without a word of its own.
func lost(r *state.Result) bool {
	return r.Type == state.ResultAbandoned || r.Type == state.ResultError && r.Error != nil && r.Error.Vanished
}

func lossReason(r *state.Result) string {
	if r.Error != nil {
		return r.Error.Message
	}
	return r.Reason
}

// progressed tells whether a step that the execution called has come to a value while it was there.
func (d *decision) progressed(e *state.Execution) bool {
	came := func(id state.ExecutionID) bool {
		last := Last(&d.View, id)
		return last != nil && last.Result != nil && last.Result.Type == state.ResultValue && last.CompletedAt >= e.CreatedAt
	}
	for s := range d.Children(e.ID()) {
		if came(state.ExecutionID{Run: s.Run, Step: s.Number, Attempt: 1}) {
			return true
		}
	}
	for h := range d.Hits(e.ID()) {
		if id, ok := state.ParseExecutionID(h.Execution); ok && came(id) {
			return true
		}
	}
	return false
}

// durableKey names a call of a durable run: which step makes it, in which recurrence, and how many equal ones it has made
// before. So a later attempt finds what an earlier one has called, in whatever order, and equal calls stay several.
func durableKey(parent *state.Execution, r *SubmitStep) string {
	version := "durable " + strconv.Itoa(parent.Step) + " " + strconv.Itoa(parent.Lap) + " " + strconv.Itoa(r.Equal)
	return argumentsKey(r.Module+":"+r.Target, version, Params{All: true}, r.Arguments)
}

// CallKey is equal for calls with equal targets and arguments: whoever makes calls counts SubmitStep.Equal by it.
func CallKey(r *SubmitStep) string {
	return argumentsKey(r.Module+":"+r.Target, "", Params{All: true}, r.Arguments)
}
