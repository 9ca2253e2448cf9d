package node

import (
	"context"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/consensus"
)

// staleFor is how long a thawed process believes what it believed before: it reads its sockets before its Raft notices.
const staleFor = 300 * time.Millisecond

// simHost is Raft as the coordinator of a node that may be frozen sees it.
type simHost struct {
	*consensus.Host
	node   *simNode
	events chan bool
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // guards failing
	failing map[string]bool
}

// fail makes proposals or confirmations fail at once, as they do while the lead is being handed over in vain, or while
// the connections for questions are down and Raft's are not.
func (h *simHost) fail(what string, fails bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failing[what] = fails
}

func (h *simHost) fails(what string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failing[what]
}

var _ raftHost = (*simHost)(nil)

func newSimHost(n *simNode) *simHost {
	h := &simHost{Host: n.host, node: n, events: make(chan bool), failing: map[string]bool{}}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.wg.Go(h.forward)
	return h
}

func (h *simHost) stop() { h.cancel(); h.wg.Wait() }

// forward hands leadership on, late to a node that was frozen meanwhile.
func (h *simHost) forward() {
	for {
		select {
		case leads := <-h.Host.LeadershipEvents():
			if h.frozen() {
				h.gate()
				select {
				case <-time.After(staleFor):
				case <-h.ctx.Done():
				}
			}
			select {
			case h.events <- leads:
			case <-h.ctx.Done():
				return
			}
		case <-h.ctx.Done():
			return
		}
	}
}

func (h *simHost) frozen() bool { return h.node.c.isFrozen(h.node) }

// gate blocks while the node is frozen.
func (h *simHost) gate() { h.node.c.simNet.thawed(h.ctx.Done(), h.node.name) }

func (h *simHost) LeadershipEvents() <-chan bool { return h.events }

func (h *simHost) Propose(ctx context.Context, entry []byte) error {
	h.gate()
	defer h.gate()
	if h.fails("propose") {
		return consensus.ErrNotLeader
	}
	return h.Host.Propose(ctx, entry)
}

func (h *simHost) Barrier(ctx context.Context) error {
	h.gate()
	defer h.gate()
	return h.Host.Barrier(ctx)
}

func (h *simHost) ConfirmTerm(ctx context.Context) (consensus.Confirmation, error) {
	h.gate()
	defer h.gate()
	if h.fails("confirm") {
		return consensus.Confirmation{}, consensus.ErrNoQuorum
	}
	return h.Host.ConfirmTerm(ctx)
}
