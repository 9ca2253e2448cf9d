package scheduler

import (
	"slices"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// PackRuns has finished runs leave the tables for a pack, which is stored by now. It is asked by the leader itself, some runs
// at a time; runs that have changed since they were written, or cannot be missed, stay. A repeat changes nothing.
type PackRuns struct {
	File      PackFile
	Workspace string
	// Before: nothing may have happened in the runs after this log time, milliseconds.
	Before int64
	Runs   []PackedRun
	// Evict is how many of the oldest kept values make room.
	Evict int
}

// PackFile is a pack that is stored; the fields are those of its row.
type PackFile struct {
	ID          string
	BlobKey     string
	Size        int64
	First, Last int64
	Targets     []string
	RefsKey     string
}

func (f *PackFile) row(workspace string) *state.Pack {
	return &state.Pack{ID: f.ID, Workspace: workspace, BlobKey: f.BlobKey, Size: f.Size, First: f.First, Last: f.Last, Targets: f.Targets, RefsKey: f.RefsKey}
}

// putPack writes a pack's row, or removes it when nothing is left to be known of the pack. Where no runs are left its file is not
// needed any more.
func (d *decision) putPack(p *state.Pack) {
	if p.Runs == "" {
		p.BlobKey, p.RefsKey, p.Size, p.Targets = "", "", 0, nil
	}
	switch old := d.Pack(p.ID); {
	case p.Runs != "" || p.Removed != "":
		d.Put(p)
	case old != nil:
		d.Delete(old)
	}
}

// PackedRun is a run as it was written into a pack.
type PackedRun struct {
	ID string
	// Digest of its rows, as state.EncodeRun gives it.
	Digest uint64
	// Kept are values of it that later calls may be given.
	Kept []KeptValue
}

// KeptValue is the value of an execution with a cache key.
type KeptValue struct {
	Workspace, Key, Execution string
	CreatedAt, CompletedAt    int64
	Value                     state.Value
}

func (r *PackRuns) decide(d *decision) (Answer, error) {
	pack := r.File.row(r.Workspace)
	if old := d.Pack(pack.ID); old != nil {
		if old.BlobKey != pack.BlobKey || old.Workspace != pack.Workspace {
			return Answer{}, refuse(CodeBadRequest, "pack %s is another one", pack.ID)
		}
		*pack = *old
	}
	ids := slices.Collect(pack.List())
	packed := r.packable(d)
	for _, run := range packed {
		d.putAway(run.ID)
		for i := range run.Kept {
			d.keep(&run.Kept[i])
		}
		ids = append(ids, run.ID)
	}
	for range r.Evict {
		for k := range d.OldestKept() {
			d.Delete(k)
			break
		}
	}
	if len(packed) > 0 {
		pack.Runs = state.Lines(ids...)
		d.putPack(pack)
	}
	return Answer{}, nil
}

// packable are the runs of the request that may go: those that are as they were written, and that nobody outside needs.
func (r *PackRuns) packable(d *decision) (out []PackedRun) {
	together := map[string]bool{}
	for _, run := range r.Runs {
		row := d.Run(run.ID)
		if row == nil || row.Workspace != r.Workspace || d.Packed(run.ID) != nil {
			continue
		}
		if _, digest, err := state.EncodeRun(&d.View, run.ID); err == nil && digest == run.Digest {
			together[run.ID] = true
		}
	}
	for again := true; again; {
		again = false
		for run := range together {
			if !Packable(&d.View, run, r.Before, together) {
				delete(together, run)
				again = true
			}
		}
	}
	for _, run := range r.Runs {
		if together[run.ID] {
			out = append(out, run)
		}
	}
	return out
}

// Packable tells whether a run can leave the tables, together with others: all of it is over, for good and since the given
// log time, and nothing that stays has its outcome or waits for it.
func Packable(v *state.View, run string, before int64, together map[string]bool) bool {
	for s := range v.Sweeps() {
		if state.RunOf(s.Subject) == run {
			return false
		}
	}
	for e := range v.RunExecutions(run, 0) {
		if e.Result == nil || e.CompletedAt > before || Outcome(v, e.ID()) == nil {
			return false
		}
		for other := range v.Linked(e.ID()) {
			if other.Run != run && !together[other.Run] {
				return false
			}
		}
		for range v.Waiters(state.KindExecution, e.ID().String()) {
			return false
		}
	}
	for in := range v.RunInputs(run) {
		switch {
		case in.Response == nil && Awaited(v, in.ID()), in.Response != nil && in.Response.CreatedAt > before:
			return false
		}
		for range v.Waiters(state.KindInput, in.ID().String()) {
			return false
		}
	}
	return true
}

// maxErase is how many rows one decision removes of a run; what has more is swept.
const maxErase = 200

// putAway removes the rows of a run: its own at once, so that it is read from its pack from now on.
func (d *decision) putAway(run string) {
	var rows []state.Row
	for r := range d.RunRows(run) {
		if rows = append(rows, r); len(rows) > d.eraseLimit {
			d.Put(&state.Sweep{ID: eraseOf(run), Kind: state.SweepErase, Subject: run})
			d.Delete(d.Run(run))
			return
		}
	}
	for _, r := range rows {
		d.Delete(r)
	}
}

func eraseOf(run string) string { return "erase " + run }

// sweepErase removes the rows of a run that has been put away.
func (d *decision) sweepErase(s *state.Sweep, limit int) (used int, done bool) {
	var rows []state.Row
	for r := range d.RunRows(s.Subject) {
		if rows = append(rows, r); len(rows) == limit {
			break
		}
	}
	for _, r := range rows {
		d.Delete(r)
	}
	return len(rows), len(rows) < limit
}

// keep has a value be found by its cache key, unless one that was made and completed later is. It takes the place of those
// that were made and completed before.
func (d *decision) keep(k *KeptValue) {
	var older []*state.Kept
	for old := range d.Kept(k.Workspace, k.Key) {
		switch {
		case old.CreatedAt >= k.CreatedAt && old.CompletedAt >= k.CompletedAt:
			return
		case old.CreatedAt <= k.CreatedAt && old.CompletedAt <= k.CompletedAt:
			older = append(older, old)
		}
	}
	for _, old := range older {
		d.Delete(old)
	}
	d.Put(&state.Kept{Workspace: k.Workspace, Key: k.Key, Execution: k.Execution, CreatedAt: k.CreatedAt, CompletedAt: k.CompletedAt, Value: k.Value})
}

// kept is the newest value for a first attempt that was kept of a packed execution, nil when there is none.
func (d *decision) kept(e *state.Execution, age *int64) (newest *state.Kept) {
	for w := range d.Lineage(e.Workspace) {
		for k := range d.Kept(w.ID, e.CacheKey) {
			if age != nil && (*age == 0 || d.now-k.CompletedAt > *age) {
				continue
			}
			if newest == nil || k.CreatedAt > newest.CreatedAt {
				newest = k
			}
			break
		}
	}
	return newest
}

// ForgetRuns removes packed runs for good, as retention says. Their ids are not given again.
type ForgetRuns struct {
	Pack string
	Runs []string
}

func (r *ForgetRuns) decide(d *decision) (Answer, error) {
	old := d.Pack(r.Pack)
	if old == nil {
		return Answer{}, nil // a repeat
	}
	gone := map[string]bool{}
	for _, run := range r.Runs {
		gone[run] = old.Has(run)
	}
	var stay, removed []string
	for run := range old.List() {
		if gone[run] {
			removed = append(removed, run)
		} else {
			stay = append(stay, run)
		}
	}
	if len(removed) == 0 {
		return Answer{}, nil
	}
	pack := *old
	pack.Runs, pack.Removed = state.Lines(stay...), state.Lines(append(removed, old.Gone()...)...)
	d.putPack(&pack)
	return Answer{}, nil
}

// MergePacks puts one pack in the place of several of the same workspace, whose runs it has.
type MergePacks struct {
	File PackFile
	From []MergedPack
}

// MergedPack is what a pack gives to a new one.
type MergedPack struct {
	Pack string
	// Runs that the new pack has of it; those that have left it meanwhile are not read from the new one either.
	Runs []string
}

func (r *MergePacks) decide(d *decision) (Answer, error) {
	pack := r.File.row("")
	if d.Pack(pack.ID) != nil {
		return Answer{}, nil // a repeat
	}
	var runs, removed []string
	for _, from := range r.From {
		old := d.Pack(from.Pack)
		if old == nil || pack.Workspace != "" && old.Workspace != pack.Workspace {
			return Answer{}, refuse(CodeBadRequest, "pack %s is not there to be merged", from.Pack)
		}
		has := map[string]bool{} // a run may have left for another of the packs, as another version of itself
		for _, run := range from.Runs {
			has[run] = true
		}
		pack.Workspace = old.Workspace
		for run := range old.List() {
			if !has[run] {
				return Answer{}, refuse(CodeBadRequest, "run %s of pack %s is not in the new one", run, from.Pack)
			}
			runs = append(runs, run)
		}
		removed = append(removed, old.Gone()...)
		d.Delete(old)
	}
	pack.Runs, pack.Removed = state.Lines(runs...), state.Lines(removed...)
	d.putPack(pack)
	return Answer{}, nil
}
