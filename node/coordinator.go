package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/consensus"
	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/hashicorp/go-hclog"
)

// raftHost is what the coordinator needs of the Raft host.
type raftHost interface {
	// Propose returns nil once the entry is committed and applied here; see consensus.Host.
	Propose(ctx context.Context, entry []byte) error
	Barrier(ctx context.Context) error
	ConfirmTerm(ctx context.Context) (consensus.Confirmation, error)
	Leader() (id string, term uint64, isSelf bool)
	LeadershipEvents() <-chan bool
}

var (
	// errNotLeading answers what was asked of a node that does not lead; the asker looks for the leader again.
	errNotLeading = errors.New("this node does not lead")
	// errOverloaded answers when too much waits to be decided.
	errOverloaded = errors.New("too many requests wait to be decided")
)

// coordinator is the half of a node that may lead: it runs one leader per term won.
type coordinator struct {
	host  raftHost
	store *state.Store
	log   hclog.Logger
	// clock is time since boot, suspended time included, on which leases are counted.
	clock func() time.Duration
	trace *tracer
	self  string
	// settle are the requests that every new leader makes first.
	settle func() []scheduler.Request
	// packs are where finished runs go, looked for every packEvery; nil when they stay.
	packs     *packs
	packEvery time.Duration
	// disks looks at those of the voters (Node.voterDisks); nil = there is always room.
	disks func(ctx context.Context) (full bool, others int, self error)
	// handOver gives the lead to another voter.
	handOver func(ctx context.Context) error

	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex // guards current
	current *leader
}

// Start begins to follow the leadership.
func (c *coordinator) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	c.wg.Add(1)
	go c.run(ctx)
}

// Stop ends a leadership and waits.
func (c *coordinator) Stop() {
	if c.stop != nil {
		c.stop()
		c.wg.Wait()
	}
}

// run restarts the leader at every message: a leadership that was lost and regained in between is another one.
func (c *coordinator) run(ctx context.Context) {
	defer c.wg.Done()
	end := func() {}
	defer func() { end() }()
	for {
		select {
		case leads := <-c.host.LeadershipEvents():
			end()
			end = func() {}
			if leads {
				end = c.lead(ctx)
			}
		case <-ctx.Done():
			return
		}
	}
}

// lead starts a leader and gives the function that ends it.
func (c *coordinator) lead(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l, err := c.newLeader(ctx)
		for err != nil {
			// Over already, or something passing that ends no leadership: Raft says which.
			c.log.Debug("cannot lead yet", "error", err)
			if !pause(ctx, againAfter) {
				return
			}
			l, err = c.newLeader(ctx)
		}
		c.set(l)
		defer c.set(nil)
		c.log.Info("this node leads", "term", l.term, "index", c.store.Index())
		l.run()
		c.log.Info("this node no longer leads", "term", l.term)
	}()
	return func() { cancel(); <-done }
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *coordinator) set(l *leader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = l
}

// leader gives the leader that runs here, nil when this node does not lead or is not ready to.
func (c *coordinator) leader() *leader {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// do has a request decided by the leader on this node.
func (c *coordinator) do(ctx context.Context, r scheduler.Request) (scheduler.Reply, error) {
	l := c.leader()
	if l == nil {
		return scheduler.Reply{}, errNotLeading
	}
	return l.do(ctx, r)
}

// readIndex is the index from which on a read sees everything that was answered before it was asked for.
func (c *coordinator) readIndex(ctx context.Context) (uint64, error) {
	l := c.leader()
	if l == nil {
		return 0, errNotLeading
	}
	index := c.store.Index()
	conf, err := c.host.ConfirmTerm(ctx)
	if err != nil {
		return 0, err
	}
	if conf.Term != l.term {
		return 0, errNotLeading
	}
	return index, nil
}
