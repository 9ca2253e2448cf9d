package scheduler

import (
	"bytes"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// recur makes nothing of a recurrent step's value nothing, and queues the attempt that follows it, in the same entry
// (semantics 12). The interval counts from the end of the one before. Any other value ends the recurrence.
func (d *decision) recur(e *state.Execution, result *state.Result) {
	if result.Type != state.ResultValue || !isNull(result.Value) {
		return
	}
	step := d.Step(e.ID().StepID())
	if !step.Recurrent {
		return
	}
	next := d.newAttempt(step, e.Workspace, d.LatestAttempt(step.ID()).Attempt+1, e.Tier)
	d.queue(next, step.Delay)
	*result = state.Result{Type: state.ResultRecurred, Retry: next.Attempt}
}

// isNull tells the value null itself from a handle and all else.
func isNull(v *state.Value) bool {
	if v == nil {
		return true
	}
	return v.BlobKey == "" && len(v.References) == 0 && bytes.Equal(bytes.TrimSpace(v.Data), []byte("null"))
}
