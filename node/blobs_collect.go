package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/asset"
	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/scheduler"
)

const (
	// collectEvery is how often a leader looks for blobs that nothing refers to.
	collectEvery = 10 * time.Minute
	// collectMost bounds the blobs that one round looks at on each node; collectAtOnce those that a node removes on one request.
	collectMost   = 100_000
	collectAtOnce = 1000
)

// collection is what a node is told to remove: what nothing refers to at the index, which the node waits for.
type collection struct {
	Index uint64   `json:"index"`
	Keys  []string `json:"keys"`
}

// blobHolder is what the collector asks of a node.
type blobHolder interface {
	// unleased lists blobs whose lease is over.
	unleased(ctx context.Context, node string) ([]string, error)
	// logged lists the blobs that the node's journal refers to.
	logged(ctx context.Context, node string) ([]string, error)
	// collect has them removed, as far as they are still not leased; it gives how many were.
	collect(ctx context.Context, node string, c collection) (int, error)
}

// collector removes blobs that nothing refers to any more (rules A20): the leader names them, from a state that it has read after
// the holders said that their leases were over; the holders look at the leases once more.
type collector struct {
	// members are the nodes of the mesh; all of them have to answer, or nothing is removed.
	members func() (nodes []string, complete bool)
	// read gives the state with all that was committed before the call.
	read func(ctx context.Context) (*state.View, error)
	refs func(ctx context.Context, key string) ([]string, error) // what the packs of runs refer to
	list func(ctx context.Context, key string) (asset.List, error)
	// forget has assets that nothing refers to lose their rows.
	forget func(ctx context.Context, r *scheduler.ForgetAssets) error
	peers  blobHolder
}

// round removes what nothing refers to; it gives how many copies were removed.
func (c *collector) round(ctx context.Context) (removed int, err error) {
	nodes, complete := c.members()
	if !complete {
		return 0, errors.New("a node of the mesh is away: what its logs refer to is not known")
	}
	named := map[string][]string{} // nodes by key
	for _, node := range nodes {
		keys, err := c.peers.unleased(ctx, node)
		if err != nil {
			return 0, err
		}
		for _, key := range keys {
			named[key] = append(named[key], node)
		}
	}
	if len(named) == 0 {
		return 0, nil
	}
	view, err := c.read(ctx) // after the leases were over
	if err != nil {
		return 0, err
	}
	unused, err := c.keep(ctx, view, nodes, func(key string) { delete(named, key) })
	if err != nil {
		return 0, err
	}
	if err := c.forgetAssets(ctx, view, unused); err != nil { // their files go in a later round
		return 0, err
	}
	perNode := map[string][]string{}
	for key, holders := range named {
		for _, node := range holders {
			perNode[node] = append(perNode[node], key)
		}
	}
	for node, keys := range perNode {
		for some := range slices.Chunk(keys, collectAtOnce) {
			n, err := c.peers.collect(ctx, node, collection{view.Index(), some})
			if removed += n; err != nil {
				return removed, err
			}
		}
	}
	return removed, nil
}

// keep names all blobs that something refers to: rows, packed runs, the logs of all nodes, and assets. It gives the assets to
// which nothing else refers.
func (c *collector) keep(ctx context.Context, v *state.View, nodes []string, keepOne func(key string)) (unused []string, err error) {
	used := map[string]bool{} // by the key of an asset's list
	for a := range v.Assets() {
		used[a.BlobKey] = false
	}
	keep := func(key string) {
		keepOne(key)
		if _, ok := used[key]; ok {
			used[key] = true
		}
	}
	for row := range v.Rows() {
		if _, ok := row.(*state.Asset); ok {
			continue
		}
		for key := range state.BlobKeys(row) {
			keep(key)
		}
	}
	for pack := range v.Packs() {
		if pack.RefsKey == "" {
			continue
		}
		keys, err := c.refs(ctx, pack.RefsKey)
		if err != nil {
			return nil, fmt.Errorf("what pack %s refers to cannot be read: %w", pack.ID, err)
		}
		for _, key := range keys {
			keep(key)
		}
	}
	for _, node := range nodes {
		keys, err := c.peers.logged(ctx, node)
		if err != nil {
			return nil, fmt.Errorf("what the logs of node %s refer to is not known: %w", node, err)
		}
		for _, key := range keys {
			keep(key)
		}
	}
	for a := range v.Assets() {
		if !used[a.BlobKey] {
			unused = append(unused, a.ID)
		}
		if err := c.keepAsset(ctx, a, keepOne); err != nil {
			return nil, err
		}
	}
	return unused, ctx.Err()
}

// collectBlobs runs the collector while this node leads.
func (n *Node) collectBlobs(ctx context.Context) {
	c := &collector{members: n.present, read: n.router.Linear, refs: n.packs.refs, list: n.assetList, forget: n.forgetAssets, peers: n}
	for pause(ctx, collectEvery) {
		if n.coord.leader() == nil {
			continue
		}
		removed, err := c.round(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			n.log.Info("blobs that nothing refers to are not removed now", "removed", removed, "reason", err)
		case removed > 0:
			n.log.Info("blobs that nothing refers to were removed", "copies", removed)
		}
	}
}

// present are the nodes of Raft's configuration and of gossip; complete tells that all are there.
func (n *Node) present() (nodes []string, complete bool) {
	alive := append(n.others(), n.dir.Identity().NodeID)
	complete = true
	for _, s := range n.host.Servers() {
		complete = complete && slices.Contains(alive, s.ID)
	}
	return alive, complete
}

func (n *Node) unleased(ctx context.Context, node string) ([]string, error) {
	return n.unleasedIn(ctx, node, "")
}

// unleasedIn lists what is not leased on a node that has this as its first store; "" for any.
func (n *Node) unleasedIn(ctx context.Context, node, store string) ([]string, error) {
	if node == n.dir.Identity().NodeID {
		return unleased(n.local)
	}
	return n.keysOf(ctx, node, rpcUnleased, url.Values{"store": {store}})
}

func (n *Node) logged(ctx context.Context, node string) ([]string, error) {
	if node == n.dir.Identity().NodeID {
		return n.logs.references()
	}
	return n.keysOf(ctx, node, rpcLogged, nil)
}

func (n *Node) collect(ctx context.Context, node string, c collection) (removed int, err error) {
	if node == n.dir.Identity().NodeID {
		return collect(ctx, n.local, n.store, c)
	}
	body, err := json.Marshal(c)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return removed, n.peers.call(ctx, node, rpcCollect, body, &removed)
}

// keysOf reads a list of keys from a node.
func (n *Node) keysOf(ctx context.Context, node, path string, query url.Values) (keys []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	rc, err := n.peers.get(ctx, node, path, query)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	in := json.NewDecoder(rc)
	for {
		var key string
		if err := in.Decode(&key); err == nil && key == endOfKeys {
			return keys, nil
		} else if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF // a list that was cut off must not be taken for a whole one
		} else if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
}

// endOfKeys ends a list of keys.
const endOfKeys = "end"

// unleased lists some of what is here and not leased, from a random key on: where there is more than one round looks at, each has
// its turn.
func unleased(local *blob.Local) (keys []string, err error) {
	from := fmt.Sprintf("%02x", rand.IntN(256))
	for _, behind := range []bool{true, false} {
		for key, err := range local.Unleased() {
			if err != nil {
				return nil, err
			}
			if key >= from != behind {
				continue
			}
			if keys = append(keys, key); len(keys) == collectMost {
				return keys, nil
			}
		}
	}
	return keys, nil
}

// references are the blobs that the journal's entries refer to.
func (l *logs) references() (keys []string, err error) {
	return keys, l.journal.References(func(key string) { keys = append(keys, key) })
}

// collect removes blobs once this node has seen all that the leader had.
func collect(ctx context.Context, local *blob.Local, store *state.Store, c collection) (removed int, err error) {
	if err := store.WaitIndex(ctx, c.Index); err != nil {
		return 0, err
	}
	for _, key := range c.Keys {
		gone, err := local.Remove(ctx, key)
		if err != nil {
			return removed, err
		}
		if gone {
			removed++
		}
	}
	return removed, nil
}

func (s *rpcServer) listUnleased(w http.ResponseWriter, r *http.Request) {
	if store := r.URL.Query().Get("store"); store != "" && store != s.store {
		http.Error(w, fmt.Sprintf("values stay on the nodes: this one was not started with --blob-store %s as its first", store), http.StatusConflict)
		return
	}
	keys, err := unleased(s.blobs)
	writeKeys(w, keys, err)
}

func (s *rpcServer) listLogged(w http.ResponseWriter, _ *http.Request) {
	keys, err := s.logs.references()
	writeKeys(w, keys, err)
}

func writeKeys(w http.ResponseWriter, keys []string, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	out := json.NewEncoder(w)
	for _, key := range append(keys, endOfKeys) {
		if out.Encode(key) != nil {
			return // the asker is gone
		}
	}
}

func (s *rpcServer) collectBlobs(w http.ResponseWriter, r *http.Request) {
	var c collection
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&c); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	removed, err := collect(r.Context(), s.blobs, s.router.store, c)
	s.answer(w, removed, err)
}
