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
	"github.com/coflux-mesh/coflux/node/api"
	"github.com/coflux-mesh/coflux/node/gossip"
	"github.com/coflux-mesh/coflux/node/journal"
	"github.com/coflux-mesh/coflux/scheduler"
)

// backend is the node as its HTTP room sees it.
type backend struct{ *Node }

var _ api.Backend = backend{}

func (b backend) Do(ctx context.Context, r scheduler.Request) (scheduler.Reply, error) {
	reply, err := b.router.Do(ctx, r)
	return reply, apiError(err)
}

// apiError says to a client what it can do.
func apiError(err error) error {
	switch {
	case errors.Is(err, errNoQuorum):
		return api.NoQuorum()
	case errors.Is(err, errOverloaded):
		return api.Overloaded()
	}
	return err
}

func (b backend) Read(ctx context.Context, stale bool) (api.Reading, error) {
	if stale {
		return api.Reading{View: b.store.View(), StaleFor: b.staleFor()}, nil
	}
	view, err := b.router.Linear(ctx)
	return api.Reading{View: view}, apiError(err)
}

// staleFor is the time since a leader was heard of; a node that never has been in touch since it started counts from
// the beginning of time.
func (n *Node) staleFor() time.Duration {
	contact := n.host.Contact()
	if contact < 0 {
		return time.Duration(1<<63 - 1)
	}
	return contact
}

func (b backend) StoreValue(ctx context.Context, text []byte) (state.Value, error) {
	return values{blobs: b.blobs}.text(ctx, text)
}

func (b backend) Logs(ctx context.Context, q journal.Query) (journal.Page, error) {
	return b.logs.query(ctx, q)
}

func (b backend) AppendLogs(batch string, entries []journal.Entry) error {
	return b.logs.append(batch, entries)
}

func (b backend) Metrics(ctx context.Context, q journal.Query) (journal.Page, error) {
	return b.metrics.query(ctx, q)
}

func (b backend) AppendMetrics(batch string, entries []journal.Entry) error {
	return b.metrics.append(batch, entries)
}

func (b backend) MetricsSignal(runID string) (<-chan struct{}, func()) {
	return b.metrics.signal(runID)
}

func (b backend) MetricDefinitions(ctx context.Context, runID string) []journal.Entry {
	return b.metrics.definitions(ctx, runID)
}

func (b backend) LogsSignal(runID string) (<-chan struct{}, func()) { return b.logs.signal(runID) }

func (b backend) BlobOpen(ctx context.Context, key string) (io.ReadCloser, int64, error) {
	return b.blobs.Open(ctx, key)
}

func (b backend) BlobHas(ctx context.Context, key string) (bool, error) { return b.blobs.Has(ctx, key) }

func (b backend) BlobPut(ctx context.Context, key string, r io.Reader) error {
	return b.blobs.PutKey(ctx, key, r)
}

func (b backend) BlobHold(ctx context.Context, keys []string) error { return b.blobs.Hold(ctx, keys) }

func (b backend) Trace(execution string) (events []api.TraceEvent) {
	for _, e := range b.trace.of(execution) {
		events = append(events, api.TraceEvent(e))
	}
	return events
}

// staleLimit is how long a follower may not have heard of its leader and still be called ready.
const staleLimit = 5 * time.Second

func (b backend) Ready() (bool, string) {
	id, _, self := b.host.Leader()
	switch {
	case id == "":
		return false, "no leader is known"
	case self && b.coord.leader() == nil:
		return false, "this node is about to lead"
	case !self && b.staleFor() > staleLimit:
		return false, "the leader has not been heard of for a while"
	case b.store.Index() == 0:
		return false, "this node has not caught up yet"
	}
	return true, ""
}

func (b backend) Project() string { return b.cfg.Project }

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Nodes is the mesh as this node sees it: gossip says who is there, Raft who votes, each node how busy it is.
func (b backend) Nodes(ctx context.Context) api.Nodes {
	leader, term, _ := b.host.Leader()
	out := api.Nodes{Leader: orNil(leader), Term: term, Index: b.store.Index(), Nodes: []api.Node{}}
	quorum, cancel := context.WithTimeout(ctx, time.Second)
	_, err := b.router.ReadIndex(quorum)
	cancel()
	out.Quorum = err == nil
	roles := map[string]string{}
	for _, s := range b.host.Servers() {
		roles[s.ID] = "replica"
		if s.Voter {
			roles[s.ID] = "voter"
		}
	}
	if _, ok := roles[leader]; ok {
		roles[leader] = "leader"
	}
	manifests := b.gossip.Manifests()
	seen := map[string]bool{}
	view := b.store.View()
	for _, m := range b.gossip.Members() {
		seen[m.ID] = true
		if row := view.Member(m.ID); row != nil && row.Removed && m.State == gossip.Gone && roles[m.ID] == "" {
			continue
		}
		out.Nodes = append(out.Nodes, describe(m, roles[m.ID], manifests[m.ID]))
	}
	for id, role := range roles {
		if seen[id] {
			continue
		}
		gone := api.Node{ID: id, Role: role, State: "gone", Modules: []api.NodeModule{}}
		if row := view.Member(id); row != nil {
			gone.Name = row.Name
		}
		out.Nodes = append(out.Nodes, gone)
	}
	slices.SortFunc(out.Nodes, func(x, y api.Node) int {
		return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.ID, y.ID))
	})
	b.askLoad(ctx, out.Nodes)
	return out
}

func describe(m gossip.Member, role string, content []byte) api.Node {
	if role == "" {
		role = "none"
	}
	node := api.Node{ID: m.ID, Name: m.Name, Address: m.GossipAddr, HTTP: m.HTTPAddr, Peer: m.PeerAddr, Role: role,
		State: m.State.String(), Version: m.Version, Self: m.Self, Since: m.Since.UnixMilli(), Modules: []api.NodeModule{}}
	if man, err := decodeManifest(content); err == nil {
		for _, mod := range man.Modules {
			node.Modules = append(node.Modules, api.NodeModule{Name: mod.Name, Targets: len(mod.Targets), Error: orNil(mod.Error),
				Serving: len(mod.Targets) > 0})
		}
	}
	return node
}

// askLoad fills in the slots of the nodes that answer within a moment.
func (b backend) askLoad(ctx context.Context, nodes []api.Node) {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for i := range nodes {
		n := &nodes[i]
		if n.State == "gone" {
			continue
		}
		wg.Go(func() {
			l := b.load()
			if !n.Self {
				var err error
				if l, err = b.loadOf(ctx, n.ID); err != nil {
					return
				}
			}
			n.Used, n.Slots, n.DiskFull = &l.Used, &l.Slots, l.Full
		})
	}
	wg.Wait()
}
