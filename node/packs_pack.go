package node

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/pack"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/oklog/ulid/v2"
)

const (
	// packEvery is how often a leader looks for finished runs to pack.
	packEvery = 5 * time.Second
	// packRuns and packBytes bound what is in one pack.
	packRuns  = 1000
	packBytes = 16 << 20
	// packCrowd is how many finished runs of all workspaces have none of them wait for company.
	packCrowd = 5000
	// packLook bounds how many roots are looked at in one round.
	packLook = 20_000
	// packAtOnce are the runs and packRows the rows of one request.
	packAtOnce = 50
	packRows   = 500
	// maxKept is how many values of packed executions are kept for their cache keys; maxKeptValue bounds what one takes in the
	// state.
	maxKept      = 100_000
	maxKeptValue = 2 << 10
	// keptInline is up to where such a value stays in the state; a larger one becomes a blob.
	keptInline = 256
)

// packer packs finished runs while this node leads.
type packer struct {
	*leader
	blocked map[string]int64 // runs that could not go, and the log time from which they are looked at again
}

// watchFinished packs what is over until the leadership ends.
func (l *leader) watchFinished() {
	p := &packer{leader: l, blocked: map[string]int64{}}
	retained := l.clock()
	for pause(l.ctx, l.packEvery) {
		if l.clock()-retained >= min(retainEvery, 12*l.packEvery) {
			retained = l.clock()
			if err := cmp.Or(p.merge(l.ctx), p.retain(l.ctx)); err != nil && l.ctx.Err() == nil {
				l.log.Warn("packed runs cannot be looked through now; all are kept", "error", err)
			}
		}
		for more := true; more && l.ctx.Err() == nil; {
			var err error
			if more, err = p.round(l.ctx); err != nil && l.ctx.Err() == nil {
				l.log.Warn("finished runs cannot be packed now; they stay in memory", "error", err)
			}
		}
	}
}

// round packs the runs of one workspace; more tells that there may be others.
func (p *packer) round(ctx context.Context) (more bool, err error) {
	v := p.store.View()
	after := v.Setting(state.SettingPackAfter, defaultPackAfter)
	before := p.logTime() - after
	for workspace, runs := range p.waiting(v, before, 2*after) {
		full := len(runs) > packRuns
		if runs = p.packable(v, runs[:min(len(runs), packRuns)], before); len(runs) == 0 {
			more = more || full
			continue
		}
		done, err := p.pack(ctx, v, workspace, before, runs)
		return err == nil && (done || full), err
	}
	return more, nil
}

// defaultPackAfter is how long finished runs stay in the tables, milliseconds, where no node has said so yet.
const defaultPackAfter = 5 * 60 * 1000

type readyRun struct {
	id, created string // created in an order
}

// waiting finds the runs that are over and may have to go now, by workspace, the oldest first. Those of a workspace wait for
// company, but not longer than patience.
func (p *packer) waiting(v *state.View, before, patience int64) map[string][]readyRun {
	seen, looked := map[string]bool{}, 0
	waiting, oldest := map[string][]readyRun{}, map[string]int64{}
	for e := range v.EndedRoots() {
		if looked++; e.CompletedAt > before || looked > packLook {
			break
		}
		run := v.Run(e.Run)
		if run == nil || seen[e.Run] || p.blocked[e.Run] > p.logTime() || p.justBrought(e.Run) {
			continue
		}
		seen[e.Run] = true
		if oldest[run.Workspace] == 0 {
			oldest[run.Workspace] = e.CompletedAt
		}
		waiting[run.Workspace] = append(waiting[run.Workspace], readyRun{run.ID, ulidOrder(run.CreatedAt) + run.ID})
	}
	for workspace, runs := range waiting {
		if len(runs) < packRuns && before-oldest[workspace] < patience && len(seen) < packCrowd {
			delete(waiting, workspace)
		}
		slices.SortFunc(runs, func(a, b readyRun) int { return strings.Compare(a.created, b.created) })
	}
	for id, at := range p.blocked {
		if at <= p.logTime() {
			delete(p.blocked, id)
		}
	}
	return waiting
}

// packable are those of the runs that can go together; the others are left alone for a while.
func (p *packer) packable(v *state.View, runs []readyRun, before int64) (out []readyRun) {
	together := map[string]bool{}
	for _, r := range runs {
		together[r.id] = true
	}
	for again := true; again; {
		again = false
		for id := range together {
			if !scheduler.Packable(v, id, before, together) {
				delete(together, id)
				again = true
				p.blocked[id] = p.logTime() + packAgain
			}
		}
	}
	for _, r := range runs {
		if together[r.id] {
			out = append(out, r)
		}
	}
	return out
}

// packAgain is after how long a run that could not go is looked at again, log time in milliseconds.
const packAgain = 60 * 1000

// ulidOrder is a time as text in its order.
func ulidOrder(ms int64) string {
	var id ulid.ULID
	_ = id.SetTime(uint64(max(ms, 0)))
	return id.String()[:10]
}

// pack writes the runs of one workspace into a pack, stores that, and has them leave the tables. done is false when nothing
// left.
func (p *packer) pack(ctx context.Context, v *state.View, workspace string, before int64, runs []readyRun) (done bool, err error) {
	w := newPackWriter()
	request := scheduler.PackRuns{Workspace: workspace, Before: before}
	var packed []scheduler.PackedRun
	var sizes []int
	for _, r := range runs {
		rows, digest, err := state.EncodeRun(v, r.id)
		if err == nil {
			err = w.add(summarise(v, v.Run(r.id)), rows)
		}
		if err != nil {
			return false, err
		}
		packed, sizes = append(packed, scheduler.PackedRun{ID: r.id, Digest: digest, Kept: p.kept(ctx, v, r.id)}), append(sizes, len(rows))
		if w.bytes > packBytes {
			break
		}
	}
	if request.File, err = w.store(ctx, p.packs.blobs); err != nil {
		return false, err
	}
	return p.submit(ctx, request, packed, sizes)
}

// submit has runs leave the tables, some at a time.
func (p *packer) submit(ctx context.Context, request scheduler.PackRuns, packed []scheduler.PackedRun, sizes []int) (done bool, err error) {
	request.Evict = p.overfull()
	for from := 0; from < len(packed); {
		to, rows := from, 0
		for to < len(packed) && (to == from || to-from < packAtOnce && rows+sizes[to] <= packRows) {
			rows += sizes[to]
			to++
		}
		some := request
		some.Runs = packed[from:to]
		reply, err := p.do(ctx, &some)
		if err != nil {
			return done, err
		}
		if reply.Err != nil {
			return done, reply.Err
		}
		from, request.Evict = to, 0
	}
	row, left := p.store.View().Pack(request.File.ID), 0
	if row != nil {
		left = row.Count()
	}
	for _, r := range packed {
		if row == nil || !row.Has(r.ID) {
			p.blocked[r.ID] = p.logTime() + packAgain
		}
	}
	p.log.Debug("finished runs were packed", "pack", request.File.ID, "runs", left, "of", len(packed), "bytes", request.File.Size)
	return left > 0, nil
}

// summarise is what lists show of a finished run: of its root in its own workspace, at the end of its attempts and links.
func summarise(v *state.View, run *state.Run) pack.Summary {
	s := pack.Summary{Run: run.ID, Module: run.Module, Target: run.Target, CreatedAt: run.CreatedAt, Steps: run.Steps}
	for e := range v.Attempts(state.StepID{Run: run.ID, Number: 1}) {
		if last := scheduler.Last(v, e.ID()); e.Workspace == run.Workspace && last != nil && last.Result != nil {
			s.CompletedAt, s.Outcome = last.CompletedAt, last.Result.Type.String()
		}
	}
	return s
}

// kept are the values of a run that later calls may be given.
func (p *packer) kept(ctx context.Context, v *state.View, run string) (kept []scheduler.KeptValue) {
	for e := range v.RunExecutions(run, 0) {
		if e.CacheKey == "" || e.Result.Type != state.ResultValue || e.Result.Value == nil {
			continue
		}
		value := *e.Result.Value
		if len(value.Data) > keptInline {
			key, size, err := p.packs.blobs.Put(ctx, bytes.NewReader(value.Data))
			if err != nil {
				continue // it is a cache
			}
			value.Data, value.BlobKey, value.Size = nil, key, size
		}
		k := scheduler.KeptValue{Workspace: e.Workspace, Key: e.CacheKey, Execution: e.ID().String(), CreatedAt: e.CreatedAt, CompletedAt: e.CompletedAt, Value: value}
		row, err := state.EncodeRow(&state.Kept{Value: value})
		if err == nil && len(row.Row) <= maxKeptValue {
			kept = append(kept, k)
		}
	}
	return kept
}

// overfull is by how many the kept values are too many, of which some are evicted at a time.
func (p *packer) overfull() int {
	n := 0
	for range p.store.View().OldestKept() {
		n++
	}
	return max(0, min(n-maxKept, packRows))
}
