package scheduler

import (
	"bytes"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// recur makes nothing of a recurrent step's value nothing, and the attempt that follows it, in the same entry, after so many
// milliseconds (semantics 12); nil when none follows. The interval counts from the end of the one before. Any other value
// ends the recurrence.
func (d *decision) recur(e *state.Execution, result *state.Result) (next *state.Execution, delay int64) {
	if result.Type != state.ResultValue || !isNull(result.Value) {
		return nil, 0
	}
	step := d.Step(e.ID().StepID())
	if !step.Recurrent {
		return nil, 0
	}
	next = d.newAttempt(step, e.Workspace, d.LatestAttempt(step.ID()).Attempt+1, e.Tier)
	next.Lap = next.Attempt
	*result = state.Result{Type: state.ResultRecurred, Retry: next.Attempt}
	return next, step.Delay
}

// isNull tells the value null itself from a handle and all else.
func isNull(v *state.Value) bool {
	if v == nil {
		return true
	}
	return v.BlobKey == "" && len(v.References) == 0 && bytes.Equal(bytes.TrimSpace(v.Data), []byte("null"))
}
