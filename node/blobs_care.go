package node

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/coflux-mesh/coflux/node/blob"
)

const (
	// repairGrace is how long the members must have stayed the same before copies are made anew: a node that restarts is back by then.
	repairGrace = time.Minute
	// repairEvery is how often copies are looked for in any case, scrubEvery how often all that is here is read, first after an hour:
	// nodes may be started anew every day.
	repairEvery = time.Hour
	scrubEvery  = 24 * time.Hour
)

// careForBlobs keeps enough whole copies of what this node holds until ctx ends.
func (n *Node) careForBlobs(ctx context.Context) {
	n.wg.Go(func() {
		for wait := repairEvery; pause(ctx, wait); wait = scrubEvery {
			if damaged, lost, err := n.blobs.Scrub(ctx); err == nil {
				n.log.Info("all blobs were read", "damaged", damaged, "lost", lost)
			}
		}
	})
	grace := cmp.Or(n.cfg.repairGrace, repairGrace)
	changed, cancel := n.gossip.Subscribe()
	defer cancel()
	next := time.NewTimer(grace)
	defer next.Stop()
	for {
		select {
		case <-changed:
			next.Reset(grace)
		case <-next.C:
			done, err := n.blobs.Repair(ctx, n.missing)
			if done.Copied > 0 || done.Failed > 0 {
				n.log.Info("copies of blobs were made anew", "looked", done.Looked, "copied", done.Copied, "failed", done.Failed, "error", done.Err)
			}
			if next.Reset(repairEvery); err != nil || done.Failed > 0 {
				next.Reset(grace)
			}
		case <-ctx.Done():
			return
		}
	}
}

// meshBlobs are the mesh's blobs as a node sees them.
type meshBlobs struct {
	*blob.Mesh
	ask blob.Missing
}

// Hold implements blobStore.
func (b meshBlobs) Hold(ctx context.Context, keys []string) error {
	return b.Mesh.Hold(ctx, b.ask, keys)
}

// missing asks a node which of the blobs it has not.
func (n *Node) missing(ctx context.Context, node string, keys []string) ([]string, error) {
	return n.lacks(ctx, node, rpcMissing, keys)
}

// hold leases blobs on a node; it gives those that the node has not.
func (n *Node) hold(ctx context.Context, node string, keys []string) ([]string, error) {
	return n.lacks(ctx, node, rpcHold, keys)
}

func (n *Node) lacks(ctx context.Context, node, path string, keys []string) (missing []string, err error) {
	body, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return missing, n.peers.call(ctx, node, path, body, &missing)
}

// lackedBlobs answers them.
func (s *rpcServer) lackedBlobs(lacked func(context.Context, []string) ([]string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var keys []string
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&keys); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		missing, err := lacked(r.Context(), keys)
		s.answer(w, missing, err)
	}
}
