package scheduler_test

import (
	"fmt"
	"maps"
	"slices"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// simPacker has finished runs leave the tables, and return when a decision needs them. All the others see them as if they had
// never left: that is what it is about.
type simPacker struct {
	*sim
	blobs  map[string]map[string][]state.Effect // rows by key of the pack and run
	packed *state.View                          // of what is in packs, nil for nothing
	runs   string                               // what packed holds
	held   *scheduler.PackRuns                  // written, and not asked for yet
	n      int
}

// view is what everybody sees: the tables, and what is packed.
func (s *sim) view() *state.View {
	v := s.stores[s.lead].View()
	if s.packer.packed != nil {
		return v.Beside(s.packer.packed)
	}
	return v
}

// act packs some runs, or merges packs.
func (p *simPacker) act() {
	v := p.stores[p.lead].View()
	switch n := p.rng.IntN(100); {
	case p.calm:
	case p.held != nil && n < 80:
		p.send(p.held, nil)
		p.held = nil
	case p.held == nil && n < 60:
		p.held = p.write(v)
	case n > 96:
		p.merge(v)
	}
}

// file names a new pack.
func (p *simPacker) file() scheduler.PackFile {
	p.n++
	return scheduler.PackFile{ID: fmt.Sprintf("P%d", p.n), BlobKey: fmt.Sprintf("blob%d", p.n), Size: 1}
}

// write makes a pack of some of the finished runs of a workspace.
func (p *simPacker) write(v *state.View) *scheduler.PackRuns {
	before := p.now - int64(p.rng.IntN(30))
	room, all := "", map[string]bool{}
	for run := range p.oracle.runs {
		all[run] = true
	}
	r := &scheduler.PackRuns{File: p.file(), Before: before}
	rows := map[string][]state.Effect{}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		run := v.Run(id)
		if run == nil || room != "" && run.Workspace != room || p.rng.IntN(3) == 0 || !scheduler.Packable(v, id, before, all) && p.rng.IntN(10) > 0 {
			continue
		}
		effects, digest, err := state.EncodeRun(v, id)
		if err != nil {
			p.failf("encode %s: %v", id, err)
		}
		room, rows[id] = run.Workspace, effects
		r.Runs = append(r.Runs, scheduler.PackedRun{ID: id, Digest: digest, Kept: keptOf(v, id)})
	}
	if len(rows) == 0 {
		return nil
	}
	r.Workspace, p.blobs[r.File.BlobKey] = room, rows
	return r
}

// keptOf are the values of a run that later calls may be given.
func keptOf(v *state.View, run string) (kept []scheduler.KeptValue) {
	for e := range v.RunExecutions(run, 0) {
		if e.CacheKey != "" && e.Result != nil && e.Result.Type == state.ResultValue {
			kept = append(kept, scheduler.KeptValue{Workspace: e.Workspace, Key: e.CacheKey, Execution: e.ID().String(), CreatedAt: e.CreatedAt,
				CompletedAt: e.CompletedAt, Value: *e.Result.Value})
		}
	}
	return kept
}

// merge puts one pack in the place of all of a workspace.
func (p *simPacker) merge(v *state.View) {
	r := &scheduler.MergePacks{File: p.file()}
	rows, room := map[string][]state.Effect{}, ""
	for pack := range v.Packs() {
		if room == "" || pack.Workspace == room {
			room = pack.Workspace
			from := scheduler.MergedPack{Pack: pack.ID}
			for run := range pack.List() {
				rows[run], from.Runs = p.blobs[pack.BlobKey][run], append(from.Runs, run)
			}
			r.From = append(r.From, from)
		}
	}
	p.blobs[r.File.BlobKey] = rows
	if len(r.From) > 0 {
		p.send(r, nil)
	}
}

// look takes over what is packed now.
func (p *simPacker) look() {
	v, runs := p.stores[p.lead].View(), ""
	var rows []state.Effect
	for pack := range v.Packs() {
		for run := range pack.List() {
			effects := p.blobs[pack.BlobKey][run]
			if effects == nil {
				p.failf("pack %s has no run %s", pack.ID, run)
			}
			if v.Run(run) != nil {
				p.failf("run %s is in the tables and in pack %s", run, pack.ID)
			}
			runs, rows = runs+pack.ID+" "+run+"\n", append(rows, effects...)
		}
	}
	if runs == p.runs {
		return
	}
	p.packed, p.runs = nil, runs
	if len(rows) > 0 {
		var err error
		if p.packed, err = state.NewView(rows); err != nil {
			p.failf("packed rows: %v", err)
		}
	}
}

// unpack brings a run back, with those that its links lead to, perhaps in parts, and then asks again.
func (p *simPacker) unpack(run string, again mail) {
	v, seen := p.stores[p.lead].View(), map[string]bool{}
	var runs []scheduler.UnpackedRun
	var add func(run string)
	add = func(run string) {
		pack := v.Packed(run)
		if seen[run] || pack == nil || !pack.Has(run) {
			return
		}
		seen[run] = true
		runs = append(runs, scheduler.UnpackedRun{Run: run, Pack: pack.ID, Rows: p.blobs[pack.BlobKey][run], Digest: state.RowsDigest(p.blobs[pack.BlobKey][run])})
		for e := range p.packed.RunExecutions(run, 0) {
			if e.Result.Link != "" {
				add(runOf(e.Result.Link))
			}
		}
	}
	add(run)
	if len(runs) > 0 {
		if first := &runs[0]; p.rng.IntN(2) == 0 {
			n := p.rng.IntN(len(first.Rows))
			part := *first
			part.Rows, part.More = first.Rows[:n], true
			first.Rows = first.Rows[n:]
			p.inbox = append(p.inbox, mail{&scheduler.UnpackRuns{Runs: []scheduler.UnpackedRun{part}}, nil})
		}
		p.inbox = append(p.inbox, mail{&scheduler.UnpackRuns{Runs: runs}, nil})
	}
	p.inbox = append(p.inbox, again)
}

// needs tells whether a reply asks for a packed run, which is then brought back.
func (p *simPacker) needs(m mail, r scheduler.Reply) bool {
	switch m.request.(type) {
	case *scheduler.UnpackRuns, *scheduler.PackRuns, *scheduler.MergePacks, *scheduler.EraseLeftovers:
		return true
	}
	if r.Err == nil || r.Err.Code != scheduler.CodePacked {
		return false
	}
	p.unpack(r.Err.Details["run"], m)
	return true
}

// packing tells whether a reply is about packs: the books of the oracle know none.
func (o *oracle) packing(t *turn, r scheduler.Request, reply scheduler.Reply) (ours bool, err error) {
	switch r.(type) {
	case *scheduler.UnpackRuns:
		if reply.Err != nil && reply.Err.Code != scheduler.CodeBusy && reply.Err.Code != scheduler.CodePacked {
			err = fmt.Errorf("unpacking was refused")
		}
		return true, err
	case *scheduler.PackRuns, *scheduler.EraseLeftovers:
		if reply.Err != nil {
			err = fmt.Errorf("packing was refused")
		}
		return true, err
	case *scheduler.MergePacks:
		return true, nil // refused when packs have changed
	}
	switch {
	case reply.Err == nil:
	case reply.Err.Code == scheduler.CodePacked:
		return true, nil
	case reply.Err.Code == scheduler.CodeFenced: // what comes late about a packed execution
		return o.wasPacked(t, runOf(speaker(r))), nil
	}
	return false, nil
}

// speaker is the execution in whose name a request is made, "" for none.
func speaker(r scheduler.Request) string {
	switch r := r.(type) {
	case *scheduler.SubmitStep:
		return r.Parent
	case *scheduler.ReportResult:
		return r.Execution
	case *scheduler.CancelHandles:
		return r.Execution
	case *scheduler.SubmitInput:
		return r.Execution
	case *scheduler.AddDependency:
		return r.Execution
	case *scheduler.Suspend:
		return r.Execution
	case *scheduler.PersistAsset:
		return r.Execution
	case *scheduler.UseAsset:
		return r.Execution
	}
	return ""
}

// wasPacked tells whether a run is packed, or was unpacked in the turn.
func (o *oracle) wasPacked(t *turn, run string) bool {
	if p := o.view.Packed(run); p != nil && p.Has(run) {
		return true
	}
	for _, m := range t.batch {
		if u, ok := m.request.(*scheduler.UnpackRuns); ok && slices.ContainsFunc(u.Runs, func(r scheduler.UnpackedRun) bool { return r.Run == run }) {
			return true
		}
	}
	return false
}
