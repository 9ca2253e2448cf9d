package node

import (
	"context"
	"fmt"
	"slices"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/asset"
	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/scheduler"
)

// forgetAssetsAtOnce is how many assets one request forgets.
const forgetAssetsAtOnce = 500

// keepAsset names the blobs of an asset that has a row.
func (c *collector) keepAsset(ctx context.Context, a *state.Asset, keep func(key string)) error {
	keep(a.BlobKey)
	if a.Entry != nil {
		keep(a.Entry.BlobKey)
		return nil
	}
	list, err := c.list(ctx, a.BlobKey)
	if err != nil {
		return fmt.Errorf("which files the asset %s has cannot be read: %w", a.ID, err)
	}
	for _, e := range list.Entries {
		keep(e.BlobKey)
	}
	return nil
}

// forgetAssets has assets lose their rows to which nothing referred in a state, unless they were used since.
func (c *collector) forgetAssets(ctx context.Context, v *state.View, unused []string) error {
	if len(unused) == 0 {
		return nil
	}
	before := scheduler.ForgetBefore(v.Meta().Time)
	for some := range slices.Chunk(unused, forgetAssetsAtOnce) {
		if err := c.forget(ctx, &scheduler.ForgetAssets{Assets: some, Before: before}); err != nil {
			return fmt.Errorf("assets that nothing refers to stay for now: %w", err)
		}
	}
	return nil
}

// assetList reads the list of an asset's files.
func (n *Node) assetList(ctx context.Context, key string) (asset.List, error) {
	text, err := blob.Content(ctx, n.blobs, key, asset.MaxList)
	if err != nil {
		return asset.List{}, err
	}
	return asset.Decode(text)
}

// forgetAssets asks the leader that this node is.
func (n *Node) forgetAssets(ctx context.Context, r *scheduler.ForgetAssets) error {
	reply, err := n.coord.do(ctx, r)
	if err == nil && reply.Err != nil {
		err = reply.Err
	}
	return err
}
