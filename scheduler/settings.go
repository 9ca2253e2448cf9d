package scheduler

import "github.com/coflux-mesh/coflux/consensus/state"

// PutSetting changes a replicated setting.
type PutSetting struct {
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
}

func (r *PutSetting) decide(d *decision) (Answer, error) {
	limit, ok := bounds[r.Name]
	if !ok {
		return Answer{}, refuse(CodeBadRequest, "there is no setting %q", r.Name)
	}
	if r.Value < limit[0] || r.Value > limit[1] {
		return Answer{}, refuse(CodeBadRequest, "setting %s takes %d to %d, not %d", r.Name, limit[0], limit[1], r.Value)
	}
	if r.Seed && d.Setting(r.Name, -1) >= 0 {
		return Answer{}, nil
	}
	d.Put(&state.Setting{Name: r.Name, Value: r.Value})
	return Answer{}, nil
}
