package node

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/node/s3"
)

const (
	// keepEvery is how often a leader looks for blobs that are not in the bucket yet, keepFirst how soon after its start a node does:
	// what is wrong with the bucket is seen at once.
	keepEvery = 5 * time.Minute
	keepFirst = 10 * time.Second
	// keepList is how often it lists what is there, and removes what nothing names and is older than keepAge.
	keepList = 6 * time.Hour
	keepAge  = 24 * time.Hour
	// keepDecided is for how long what was read may be acted on: see keeper.
	keepDecided = 10 * time.Minute
	// keepFailed is how many blobs may fail to be copied before the round is given up.
	keepFailed = 3
	// keepAtOnce is how many blobs are looked for at once in the bucket before the nodes drop theirs.
	keepAtOnce = 16
)

// keeper has a bucket hold all blobs that the mesh names, while this node leads: an archive beside what the nodes hold, or, with
// holders, instead of it: they drop theirs.
//
// No writer counts on what is in the bucket: what is written comes onto a majority of the nodes first, leased there for two hours. So a
// bucket that is away stops nobody, and what is put again while an older copy of it is being removed from the bucket is safe: the
// nodes drop a blob only after its lease, when it is named and was just seen in the bucket; the bucket loses one only if nothing
// named it. Both act within ten minutes of what they read, which is less than half of a lease: a leader that was deposed meanwhile
// and removes what is named anew does so while it is leased on the nodes, and before the next one looks for it.
type keeper struct {
	bucket *bucketPart
	others []*bucketPart // where a blob may be that no node has
	// named gives the keys of all blobs that something names. Without the logs of all nodes it is not whole.
	named   func(ctx context.Context) (named map[string]bool, index uint64, whole bool, err error)
	local   func(ctx context.Context, key string) (bool, error) // whether this node has one
	open    func(ctx context.Context, key string) (io.ReadCloser, int64, error)
	through func(ctx context.Context, key string) (io.ReadCloser, error) // from another node
	holders storeHolders                                                 // nil for an archive
	now     func() time.Time

	known  map[string]bool // what is there; nil = not listed yet
	listed time.Time
}

// storeHolders is what a keeper asks of the nodes.
type storeHolders interface {
	// droppable lists by node what is not leased; an error if a node does not read from this store, or is away.
	droppable(ctx context.Context, store string) (map[string][]string, error)
	// collect has a node remove blobs that are not leased; it gives how many it did.
	collect(ctx context.Context, node string, c collection) (int, error)
}

// moved is what a round did.
type moved struct{ copied, removed, dropped int }

// round copies what is missing, now and then removes what is not named, and has the nodes drop what is there.
func (k *keeper) round(ctx context.Context) (did moved, err error) {
	b, err := k.bucket.open()
	if err != nil {
		return did, err
	}
	if k.known == nil || k.now().Sub(k.listed) >= keepList {
		old, err := k.list(ctx, b)
		if err != nil {
			k.known = nil
			return did, err
		}
		if did.removed, err = k.remove(ctx, b, old); err != nil {
			return did, err
		}
	}
	named, _, _, err := k.named(ctx)
	if err != nil {
		return did, err
	}
	if did.copied, err = k.copyAll(ctx, b, named); k.holders == nil {
		return did, err
	}
	var failed error
	did.dropped, failed = k.drop(ctx, b)
	return did, errors.Join(err, failed)
}

// copyAll copies what is not there. What cannot be copied holds up the rest only if there is much of it.
func (k *keeper) copyAll(ctx context.Context, b *s3.Bucket, named map[string]bool) (copied int, err error) {
	var failed []error
	for key := range named {
		if k.known[key] {
			continue
		}
		if err := k.copy(ctx, b, key); err != nil {
			if failed = append(failed, err); len(failed) == keepFailed {
				break
			}
			continue
		}
		k.known[key] = true
		copied++
	}
	return copied, errors.Join(failed...)
}

// list looks what is there; it gives what is old enough to be removed.
func (k *keeper) list(ctx context.Context, b *s3.Bucket) (old []string, err error) {
	k.known = map[string]bool{}
	for o, err := range b.Keys(ctx) {
		if err != nil {
			return nil, err
		}
		key := strings.ReplaceAll(o.Key, "/", "")
		if blob.CheckKey(key) != nil || bucketName(key) != o.Key {
			continue // nothing of ours
		}
		k.known[key] = true
		if k.now().Sub(o.Written) >= keepAge {
			old = append(old, key)
		}
	}
	k.listed = k.now()
	return old, nil
}

// remove removes those that nothing names.
func (k *keeper) remove(ctx context.Context, b *s3.Bucket, old []string) (removed int, err error) {
	ctx, cancel := context.WithTimeout(ctx, keepDecided)
	defer cancel()
	named, _, whole, err := k.named(ctx)
	if err != nil || !whole {
		return 0, err
	}
	for _, key := range old {
		if named[key] {
			continue
		}
		delete(k.known, key) // whatever comes of it
		if err := b.Remove(ctx, bucketName(key)); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}

// copy brings a blob into the bucket: from this node, or without a copy here from another one, or from another bucket.
func (k *keeper) copy(ctx context.Context, b *s3.Bucket, key string) error {
	here, err := k.local(ctx, key)
	if err != nil {
		return err
	}
	if here {
		r, size, err := k.open(ctx, key)
		if err != nil {
			return err
		}
		defer r.Close()
		return b.Put(ctx, bucketName(key), size, r)
	}
	r, err := k.through(ctx, key)
	if err != nil {
		beyond, errBeyond := getFrom(ctx, k.others, key)
		if errBeyond != nil {
			return errors.Join(err, errBeyond)
		}
		r = beyond
	}
	defer r.Close()
	return b.Put(ctx, bucketName(key), -1, blob.Checked(key, r))
}

// drop has the nodes remove what is in the bucket and was neither written nor read for a while.
func (k *keeper) drop(ctx context.Context, b *s3.Bucket) (dropped int, err error) {
	ctx, cancel := context.WithTimeout(ctx, keepDecided)
	defer cancel()
	perNode, err := k.holders.droppable(ctx, k.bucket.place)
	if err != nil {
		return 0, err
	}
	named, index, _, err := k.named(ctx)
	if err != nil {
		return 0, err
	}
	there, err := k.there(ctx, b, perNode, named)
	if err != nil {
		return 0, err
	}
	for node, keys := range perNode {
		keys = slices.DeleteFunc(keys, func(key string) bool { return !there[key] })
		for some := range slices.Chunk(keys, collectAtOnce) {
			n, err := k.holders.collect(ctx, node, collection{index, some})
			if dropped += n; err != nil {
				return dropped, err
			}
		}
	}
	return dropped, nil
}

// there looks in the bucket for those of the nodes' blobs that are named. What it misses is copied in the next round.
func (k *keeper) there(ctx context.Context, b *s3.Bucket, perNode map[string][]string, named map[string]bool) (map[string]bool, error) {
	ask := map[string]bool{}
	for _, keys := range perNode {
		for _, key := range keys {
			if named[key] && len(ask) < collectMost {
				ask[key] = true
			}
		}
	}
	var (
		mu    sync.Mutex // guards the next two
		there = map[string]bool{}
		first error
		wg    sync.WaitGroup
		slots = make(chan struct{}, keepAtOnce)
	)
	for key := range ask {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			has, err := b.Has(ctx, bucketName(key))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				first = cmp.Or(first, err)
			case has:
				there[key] = true
			default:
				delete(k.known, key)
			}
		})
	}
	wg.Wait()
	return there, first
}

// keepInBuckets starts the keepers of the first store and of the archive.
func (n *Node) keepInBuckets(ctx context.Context) {
	if n.buckets == nil {
		return
	}
	if len(n.buckets.stores) > 0 {
		n.wg.Go(func() { n.keepBlobs(ctx, n.buckets.stores[0], n) })
	}
	if n.buckets.archive != nil {
		n.wg.Go(func() { n.keepBlobs(ctx, n.buckets.archive, nil) })
	}
}

// keepBlobs runs a keeper while this node leads; holders is nil for an archive.
func (n *Node) keepBlobs(ctx context.Context, bucket *bucketPart, holders storeHolders) {
	var k *keeper
	for wait := keepFirst; pause(ctx, cmp.Or(n.cfg.keepEvery, wait)); wait = keepEvery {
		if n.coord.leader() == nil {
			k = nil // another one leads, and removes
			continue
		}
		if k == nil {
			others := slices.DeleteFunc(n.buckets.all(), func(p *bucketPart) bool { return p == bucket })
			k = &keeper{bucket: bucket, others: others, named: n.named, local: n.local.Has, open: n.blobs.Open, through: n.blobs.Through,
				holders: holders, now: time.Now}
		}
		did, err := k.round(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			n.log.Warn("blobs are not all where they belong", "in", bucket.place, "copied", did.copied, "removed", did.removed, "dropped", did.dropped, "error", err)
		case did != moved{}:
			n.log.Info("all blobs are where they belong", "in", bucket.place, "copied", did.copied, "removed", did.removed, "dropped", did.dropped)
		}
	}
}

// named are the keys of all blobs that the state names, or the logs of the nodes; it is not whole while one of these is away.
func (n *Node) named(ctx context.Context) (named map[string]bool, index uint64, whole bool, err error) {
	nodes, whole := n.present()
	view, err := n.router.Linear(ctx)
	if err != nil {
		return nil, 0, false, err
	}
	if !whole {
		nodes = nil
	}
	named, err = n.namedBy(ctx, view, nodes)
	return named, view.Index(), whole, err
}

// namedBy are the keys of all blobs that a state names, and the logs of some nodes.
func (n *Node) namedBy(ctx context.Context, view *state.View, nodes []string) (map[string]bool, error) {
	named := map[string]bool{}
	c := &collector{refs: n.packs.refs, list: n.assetList, peers: n}
	_, err := c.keep(ctx, view, nodes, func(key string) { named[key] = true })
	return named, err
}

// droppable implements storeHolders.
func (n *Node) droppable(ctx context.Context, store string) (map[string][]string, error) {
	nodes, complete := n.present()
	if !complete {
		return nil, errors.New("a node of the mesh is away: whether it reads from the store is not known")
	}
	perNode := map[string][]string{}
	for _, node := range nodes {
		keys, err := n.unleasedIn(ctx, node, store)
		if err != nil {
			return nil, err
		}
		perNode[node] = keys
	}
	return perNode, nil
}
