package api

import (
	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// PackedQuery asks for the newest packed runs of a workspace.
type PackedQuery struct {
	Workspace string
	// Module and Target are those of the workflow; empty for all.
	Module, Target string
	// Before and BeforeID: only those created before, 0 for all.
	Before   int64
	BeforeID string
	Limit    int
}

// PackedRun is what lists show of a packed run.
type PackedRun struct {
	Run, Module, Target    string
	CreatedAt, CompletedAt int64
	// Outcome is the name of the type of the root's final result.
	Outcome string
	Steps   int
}

func (p PackedRun) summary() runSummary {
	return runSummary{RunID: p.Run, Module: p.Module, Target: p.Target, CreatedAt: p.CreatedAt, CompletedAt: timeOrNil(p.CompletedAt),
		Status: statusOf(p.Outcome), Steps: p.Steps}
}

// What is kept of packed runs where no setting says otherwise: milliseconds since they ended; of each workspace how many, and how
// many bytes of packs.
const (
	DefaultKeepAge   = 90 * 24 * 60 * 60 * 1000
	DefaultKeepRuns  = 1_000_000
	DefaultKeepBytes = 20 << 30
)

// noRun says that a run is not to be seen from a workspace.
func noRun(v *state.View, workspace, id string) error {
	if p := scheduler.VisiblePack(v, workspace, id); p != nil && p.Lost(id) {
		return &Error{Code: scheduler.CodeNotFound, Message: "the record of run " + id + " was removed",
			Hint: "finished runs are kept for as long as the settings of retention say"}
	}
	return notFound("run", id)
}
