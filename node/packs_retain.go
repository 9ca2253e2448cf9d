package node

import (
	"context"
	"slices"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/api"
	"github.com/coflux-mesh/coflux/scheduler"
)

// retainEvery is how often a leader looks for packed runs that need not be kept any longer.
const retainEvery = 30 * time.Second

// forgetAtOnce is how many runs one request forgets.
const forgetAtOnce = 2000

// retain forgets what the settings of retention do not keep: what ended too long ago, then the oldest of what is too many or too
// large.
func (p *packer) retain(ctx context.Context) error {
	v := p.store.View()
	seen := map[string]bool{}
	for pack := range v.Packs() {
		if seen[pack.Workspace] {
			continue
		}
		seen[pack.Workspace] = true
		if err := p.retainIn(ctx, v, pack.Workspace); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) retainIn(ctx context.Context, v *state.View, workspace string) error {
	packs := slices.Collect(v.PacksOf(workspace))
	keepRuns := v.ScopedSetting(state.SettingKeepRuns, workspace, "", api.DefaultKeepRuns)
	keepBytes := v.ScopedSetting(state.SettingKeepBytes, workspace, "", api.DefaultKeepBytes)
	var runs, bytes int64
	counts := map[string]int64{} // of workflows with a bound of their own
	for _, pack := range packs { // the newest first
		if pack.Runs == "" {
			continue
		}
		bytes += pack.Size
		left := keepRuns - runs
		runs += int64(pack.Count())
		gone, err := p.beyond(ctx, v, pack, left, bytes > keepBytes, counts)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(gone, forgetAtOnce) {
			reply, err := p.do(ctx, &scheduler.ForgetRuns{Pack: pack.ID, Runs: some})
			if err != nil {
				return err
			}
			if reply.Err != nil {
				return reply.Err
			}
		}
		if len(gone) > 0 {
			p.log.Info("packed runs were removed, as they need not be kept any longer", "workspace", workspace, "runs", len(gone))
		}
	}
	return nil
}

// beyond lists the runs of a pack that are not kept: all but the newest `left`, all of them when the packs so far are too large,
// and those that ended too long ago. The pack's file is read only where that is needed to tell.
func (p *packer) beyond(ctx context.Context, v *state.View, pack *state.Pack, left int64, all bool, counts map[string]int64) (gone []string, err error) {
	if all || left <= 0 {
		return slices.Collect(pack.List()), nil
	}
	if !p.looked(v, pack, left) {
		return nil, nil
	}
	reader, err := p.packs.open(ctx, pack.BlobKey)
	if err != nil {
		return nil, err
	}
	now := p.logTime()
	for _, s := range slices.Backward(reader.Runs()) {
		if !pack.Has(s.Run) {
			continue
		}
		workflow := s.Module + "/" + s.Target
		age := v.ScopedSetting(state.SettingKeepAge, pack.Workspace, workflow, api.DefaultKeepAge)
		own := v.Setting(state.Scoped(state.SettingKeepRuns, pack.Workspace, workflow), -1)
		counts[workflow]++
		if left--; left < 0 || s.CompletedAt+age < now || own >= 0 && counts[workflow] > own {
			gone = append(gone, s.Run)
		}
	}
	return gone, nil
}

// looked tells whether a pack may have runs that are not kept: it has too many, may have some that are too old, or a workflow has
// a bound of its own.
func (p *packer) looked(v *state.View, pack *state.Pack, left int64) bool {
	if int64(pack.Count()) > left {
		return true
	}
	age := v.ScopedSetting(state.SettingKeepAge, pack.Workspace, "", api.DefaultKeepAge)
	for _, name := range []string{state.SettingKeepAge, state.SettingKeepRuns} {
		for s := range v.SettingsOf(state.Scoped(name, pack.Workspace, "") + " ") {
			if name == state.SettingKeepRuns {
				return true
			}
			age = min(age, s.Value)
		}
	}
	return pack.First+age < p.logTime()
}
