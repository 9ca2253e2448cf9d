package scheduler

import (
	"strconv"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// RerunStep makes a new attempt of a step, whatever became of the earlier ones. It may be run in the workspace of the
// step's caller (of the run for a root step) and in those that inherit from it. Unfinished attempts in the same workspace
// are cancelled first, with their descendants; handles that callers hold keep the outcome that they had.
type RerunStep struct {
	// RequestID is a ULID: a repeat with the same one is answered with the same attempt.
	RequestID       string
	Workspace, Step string
}

func (r *RerunStep) decide(d *decision) (Answer, error) {
	id, ok := state.ParseStepID(r.Step)
	if !ok {
		return Answer{}, &Error{Code: CodeBadRequest, Message: strconv.Quote(r.Step) + " is not the id of a step", Details: map[string]string{"stepId": "invalid"}}
	}
	if known, err := d.seen(r.RequestID); known != "" || err != nil {
		return Answer{RunID: id.Run, StepID: r.Step, ExecutionID: known}, err
	}
	if err := d.present(r.Workspace, id.Run); err != nil {
		return Answer{}, err
	}
	run, step, latest := d.Run(id.Run), d.Step(id), d.LatestAttempt(id)
	if run == nil || step == nil || latest == nil {
		return Answer{}, refuse(CodeNotFound, "step %s does not exist in this workspace", r.Step)
	}
	home, parent := run.Workspace, parentOf(&d.View, id)
	if parent != nil {
		home = parent.Workspace
	}
	if w := d.Workspace(r.Workspace); w == nil || !w.Live() || !d.Inherits(w.ID, home) {
		return Answer{}, refuse(CodeNotFound, "step %s does not exist in this workspace", r.Step)
	}
	if parent != nil && home == r.Workspace && d.underCancel(parent) {
		// The sweep would reach the new attempt, or not, as it happens to stand.
		return Answer{}, refuse(CodeCancelled, "step %s is being cancelled through an ancestor: run it again when that is done", r.Step)
	}
	for e := range d.Attempts(id) {
		if e.Workspace == r.Workspace && (e.Result == nil || d.spawned(e) != nil && Outcome(&d.View, e.ID()) == nil) {
			d.cancel(e, "the step was run again")
		}
	}
	e := d.newAttempt(step, r.Workspace, latest.Attempt+1, latest.Tier)
	e.Lap = latest.Lap
	for before := range earlier(&d.View, e) { // with the result that it has by now
		e.Failures = failuresAfter(before)
		break
	}
	d.queue(e, 0) // a re-run starts at once
	d.remember(r.RequestID, e.ID().String())
	return Answer{RunID: id.Run, StepID: r.Step, ExecutionID: e.ID().String(), Module: step.Module, Target: step.Target}, nil
}
