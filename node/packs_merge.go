package node

import (
	"bytes"
	"context"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/pack"
	"github.com/coflux-mesh/coflux/scheduler"
)

const (
	// mergeRuns: a pack with fewer runs is merged with its neighbours, when mergeFrom of them stand together.
	mergeRuns = packRuns / 4
	mergeFrom = 4
	mergeMost = 16
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
			if at.Count() >= mergeRuns || at.Size > packBytes/4 {
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
	var file bytes.Buffer
	writer := pack.NewWriter(&file)
	request := &scheduler.MergePacks{Pack: newPackID(), First: from[0].First, Last: from[0].Last}
	refs, targets, count := map[string]bool{}, map[string]bool{}, 0
	for _, old := range from {
		merged := scheduler.MergedPack{Pack: old.ID}
		request.First, request.Last = min(request.First, old.First), max(request.Last, old.Last)
		for run := range old.List() {
			reader, err := p.packs.open(ctx, old.BlobKey)
			if err != nil {
				return err
			}
			rows, summary, ok, err := reader.Rows(run)
			if err != nil {
				return err
			}
			if !ok {
				continue // the decision refuses what lacks a run
			}
			view, err := state.NewView(rows)
			if err != nil {
				return err
			}
			for row := range view.RunRows(run) {
				for key := range state.BlobKeys(row) {
					refs[key] = true
				}
			}
			writer.Add(summary, rows)
			targets[summary.Module+"/"+summary.Target] = true
			merged.Runs, count = append(merged.Runs, run), count+1
		}
		request.From = append(request.From, merged)
	}
	if err := writer.Close(); err != nil {
		return err
	}
	var err error
	if count > 0 {
		request.Targets = listed(targets)
		if request.BlobKey, request.Size, err = p.packs.blobs.Put(ctx, &file); err != nil {
			return err
		}
		if request.RefsKey, err = p.packs.putRefs(ctx, refs); err != nil {
			return err
		}
	}
	reply, err := p.do(ctx, request)
	if err == nil && reply.Err != nil {
		p.log.Debug("packs were not merged", "reason", reply.Err) // they have changed meanwhile
	}
	return err
}
