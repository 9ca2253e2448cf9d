package scheduler

import (
	"strings"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// PutSetting changes a replicated setting.
type PutSetting struct {
	// Name is one of state's, or, for those that may be scoped, what state.Scoped gives.
	Name  string
	Value int64
	// Seed leaves a setting alone that has a value already.
	Seed bool
}

// bounds of each setting; others are refused.
var bounds = map[string][2]int64{
	state.SettingVoters:  {1, 9},
	state.SettingFence:   {2_000, 300_000},
	state.SettingAbandon: {3_000, 300_000},
	// From a second, so that nothing leaves while those who waited for it are still told.
	state.SettingPackAfter: {1_000, 365 * 24 * 60 * 60 * 1000},
	// Not below the window of idempotency keys, which name runs.
	state.SettingKeepAge:   {IdempotencyWindow, 1000 * 365 * 24 * 60 * 60 * 1000},
	state.SettingKeepRuns:  {0, 1 << 50},
	state.SettingKeepBytes: {0, 1 << 60},
}

// Check says what is wrong with a setting's name or value.
func (r *PutSetting) Check() error {
	name, _, scoped := strings.Cut(r.Name, " ")
	limit, ok := bounds[name]
	if !ok || scoped && !strings.HasPrefix(name, "keep_") {
		return refuse(CodeBadRequest, "there is no setting %q", r.Name)
	}
	if r.Value < limit[0] || r.Value > limit[1] {
		return refuse(CodeBadRequest, "setting %s takes %d to %d, not %d", name, limit[0], limit[1], r.Value)
	}
	return nil
}

func (r *PutSetting) decide(d *decision) (Answer, error) {
	if err := r.Check(); err != nil {
		return Answer{}, err
	}
	_, scope, scoped := strings.Cut(r.Name, " ")
	workspace, _, _ := strings.Cut(scope, " ")
	if scoped && d.Workspace(workspace) == nil {
		return Answer{}, refuse(CodeNotFound, "workspace %s does not exist", workspace)
	}
	if r.Seed && d.Setting(r.Name, -1) >= 0 {
		return Answer{}, nil
	}
	d.Put(&state.Setting{Name: r.Name, Value: r.Value})
	return Answer{}, nil
}
