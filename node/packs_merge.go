package node

import (
	"context"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

const (
	// mergeRuns: a pack with fewer runs is merged with its neighbours, when mergeFrom of them stand together.
	mergeRuns = packRuns / 4
	mergeFrom = 4
	mergeMost = 16
	// mergeIDs bounds what the ids of the runs that a pack has or had may take, bytes, for it to be merged further: its row has to
	// fit an entry.
	mergeIDs = 16 << 10
)

// merge puts one pack in the place of several small ones.
func (p *packer) merge(ctx context.Context) error {
	v := p.store.View()
	seen := map[string]bool{}
	for at := range v.Packs() {
		if seen[at.Workspace] {
			continue
		}
		seen[at.Workspace] = true
		var small []*state.Pack
		for at := range v.PacksOf(at.Workspace) {
			if at.Count() >= mergeRuns || at.Size > packBytes/4 || len(at.Runs)+len(at.Removed) > mergeIDs {
				if len(small) >= mergeFrom {
					break
				}
				small = nil
				continue
			}
			if small = append(small, at); len(small) == mergeMost {
				break
			}
		}
		if len(small) >= mergeFrom {
			if err := p.mergePacks(ctx, v, small); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *packer) mergePacks(ctx context.Context, v *state.View, from []*state.Pack) error {
	w, request := newPackWriter(), &scheduler.MergePacks{}
	for _, old := range from {
		merged := scheduler.MergedPack{Pack: old.ID}
		for run := range old.List() {
			r, err := p.packs.read(ctx, v, run)
			if err == nil {
				err = w.add(r.summary, r.rows)
			}
			if err != nil {
				return err
			}
			merged.Runs = append(merged.Runs, run)
		}
		request.From = append(request.From, merged)
	}
	request.File = w.row
	if w.bytes > 0 {
		var err error
		if request.File, err = w.store(ctx, p.packs.blobs); err != nil {
			return err
		}
	}
	reply, err := p.do(ctx, request)
	if err == nil && reply.Err != nil {
		p.log.Debug("packs were not merged", "reason", reply.Err) // they have changed meanwhile
	}
	return err
}
