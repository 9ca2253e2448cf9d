package node

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/consensus"
	"github.com/coflux-mesh/coflux/consensus/memnet"
	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// program is what a target does.
type program func(b *simBody, arg string) (string, error)

// simCluster is a mesh in virtual time: real Raft over a net in memory, real leaders and agents, bodies as Go functions.
// There is no gossip, HTTP or Python. It lives in a synctest bubble.
type simCluster struct {
	t        testing.TB
	began    time.Time
	raftNet  *memnet.Net
	simNet   *simNet
	effects  *effects
	answers  chan string // what bodies were told, for a test that asks
	programs map[string]program
	slots    int
	size     int   // nodes
	fence    int64 // and abandon: milliseconds, 0 = the defaults
	abandon  int64
	loyal    atomic.Bool // agents leave no leader because another one is known
	encoded  bool        // streams go through the encoding of frames
	wg       sync.WaitGroup

	mu    sync.Mutex // guards the rest
	nodes []*simNode // the latest process of each node
	pipes map[*simPipe]bool
	boots int
	heard sync.Map // answers to inputs, by execution and input
}

// simDisk is what of a node outlives its process.
type simDisk struct {
	name  string
	id    string
	dir   *consensus.Dir
	log   *raft.InmemStore
	snaps raft.SnapshotStore
}

// simNode is one process of a node.
type simNode struct {
	*simDisk
	c      *simCluster
	addr   string
	mux    *consensus.Mux
	host   *consensus.Host
	sim    *simHost
	store  *state.Store
	coord  *coordinator
	agent  *agent
	runner *simRunner
	gone   chan struct{} // closed when the process has ended
	up     bool          // guarded by c.mu
}

func newSimCluster(t testing.TB, slots int) *simCluster {
	return &simCluster{t: t, began: time.Now(), raftNet: memnet.New(), simNet: newSimNet(), effects: &effects{},
		programs: map[string]program{}, slots: slots, pipes: map[*simPipe]bool{}}
}

// clock is time since boot.
func (c *simCluster) clock() time.Duration { return time.Since(c.began) }

// memoryDir is a directory in which syncing costs nothing.
func memoryDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "coflux-sim-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// grow makes a mesh of n voters named n0, n1, ...; all of them execute.
func (c *simCluster) grow(n int) {
	c.t.Helper()
	c.size = n
	for i := range n {
		dir, err := consensus.OpenDir(memoryDir(c.t))
		if err != nil {
			c.t.Fatal(err)
		}
		disk := &simDisk{name: fmt.Sprint("n", i), id: dir.Identity().NodeID, dir: dir, log: raft.NewInmemStore(), snaps: raft.NewInmemSnapshotStore()}
		c.mu.Lock()
		c.nodes = append(c.nodes, nil)
		c.mu.Unlock()
		c.start(disk, i)
	}
	if err := c.nodes[0].host.Bootstrap(); err != nil {
		c.t.Fatal(err)
	}
	c.eventually("all nodes vote and execute", time.Minute, func() bool {
		l := c.leader()
		if l == nil {
			return false
		}
		voters, open := 0, 0
		for _, s := range l.host.Servers() {
			if s.Voter {
				voters++
			}
		}
		for range l.store.View().Sessions() {
			open++
		}
		return voters == n && open == n && len(l.coord.leader().hub.soft().Sessions) == n
	})
	time.Sleep(time.Second) // what changes the members is done
}

// all are the latest processes of all nodes.
func (c *simCluster) all() []*simNode {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

// live are the nodes that run.
func (c *simCluster) live() (out []*simNode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if n != nil && n.up {
			out = append(out, n)
		}
	}
	return out
}

func (c *simCluster) lookup(id string) (string, bool) {
	for _, n := range c.live() {
		if n.id == id {
			return n.addr, true
		}
	}
	return "", false
}

func (c *simCluster) members() (out []consensus.MemberInfo) {
	for _, n := range c.live() {
		out = append(out, consensus.MemberInfo{ID: n.id, ClusterID: n.host.ClusterID(), HasState: n.host.HasState()})
	}
	return out
}

// restart begins the next process of a node that was killed.
func (c *simCluster) restart(n *simNode) *simNode {
	for i, o := range c.all() {
		if o.simDisk == n.simDisk {
			return c.start(n.simDisk, i)
		}
	}
	return nil
}

// start begins a process on a disk, as the i-th node.
func (c *simCluster) start(disk *simDisk, i int) *simNode {
	c.t.Helper()
	n := &simNode{simDisk: disk, c: c}
	network := c.raftNet.Host(n.name)
	ln, err := network.Listen("")
	if err != nil {
		c.t.Fatal(err)
	}
	log := simLogger(n.name)
	n.gone, n.store, n.mux = make(chan struct{}), state.New(), consensus.NewMux(ln, log)
	n.host, err = consensus.Open(consensus.Config{
		Dir: n.dir, Machine: consensus.StoreMachine(n.store), Mux: n.mux, Network: network, Logger: hclog.NewNullLogger(),
		Lookup: c.lookup, Members: c.members, Removed: func(string) bool { return false },
		Succeeds: func(string, string) bool { return true }, GaveUp: func(string, string) {}, Voters: func() int { return c.size },
		Fatal: func(err error) { panic(err) }, StableFor: 10 * time.Millisecond, Store: n.log, Snapshots: n.snaps,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := n.host.Start(); err != nil {
		c.t.Fatal(err)
	}
	n.mux.Start()
	n.sim = newSimHost(n)
	n.coord = &coordinator{host: n.sim, store: n.store, log: log.Named("leader"), clock: c.clock, self: n.id, settle: c.settle}
	n.coord.Start()
	n.runner = &simRunner{node: n, bodies: map[string]*simBody{}}
	c.mu.Lock()
	c.boots++
	boot := fmt.Sprintf("%06d", c.boots)
	n.addr = ln.Addr().String()
	c.mu.Unlock()
	n.agent = newAgent(agentConfig{
		Open:   scheduler.OpenSession{Project: "p", Workspace: "w", Node: n.id, NodeName: n.name, Boot: boot, Slots: c.slots},
		Runner: n.runner, Log: nil, Logger: log.Named("agent"), Clock: c.clock, Dial: n.dial,
	})
	n.agent.Declare(c.targets(n.name), nil)
	c.mu.Lock()
	n.up, c.nodes[i] = true, n
	c.mu.Unlock()
	n.agent.Start()
	return n
}

func simLogger(name string) hclog.Logger {
	if os.Getenv("COFLUX_SIM_LOG") == "" {
		return hclog.NewNullLogger()
	}
	return hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Debug, TimeFormat: "05.000"})
}

func (c *simCluster) settle() []scheduler.Request {
	out := []scheduler.Request{&scheduler.CreateWorkspace{Project: "p", Name: "w", Ensure: true}}
	if c.fence > 0 {
		out = append(out, &scheduler.PutSetting{Name: state.SettingFence, Value: c.fence, Seed: true},
			&scheduler.PutSetting{Name: state.SettingAbandon, Value: c.abandon, Seed: true})
	}
	return out
}

// targets that a node offers: a program whose name ends with the name of a node is that node's alone.
func (c *simCluster) targets(node string) (out []state.DeclaredTarget) {
	for name := range c.programs {
		if _, at, pinned := strings.Cut(name, "@"); pinned && at != node {
			continue
		}
		out = append(out, state.DeclaredTarget{Module: "m", Name: name, Type: state.TypeTask},
			state.DeclaredTarget{Module: "m", Name: name, Type: state.TypeWorkflow})
	}
	return out
}

// dial opens the stream of the node's agent to whoever leads as far as the node knows.
func (n *simNode) dial(ctx context.Context) (stream, error) {
	c := n.c
	if !c.simNet.thawed(n.gone, n.name) {
		return nil, errStreamCut
	}
	id, _, _ := n.host.Leader()
	var to *simNode
	for _, other := range c.live() {
		if other.id == id {
			to = other
		}
	}
	if to == nil {
		return nil, errNoQuorum
	}
	short, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	reach := func() bool {
		return to == n || !c.simNet.cuts[[2]string{n.name, to.name}] && !c.simNet.cuts[[2]string{to.name, n.name}]
	}
	if !c.simNet.until(short.Done(), reach) {
		return nil, fmt.Errorf("connect to %s: %w", to.name, short.Err())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !to.up || !n.up {
		return nil, fmt.Errorf("connect to %s: refused", to.name)
	}
	p := newSimPipe(c.simNet, n, to, c.encoded)
	c.pipes[p] = true
	coord, gone := to.coord, to.gone
	c.wg.Go(func() {
		if c.simNet.thawed(gone, to.name) {
			_ = coord.serveStream(context.Background(), p.ends[1])
		}
		p.ends[1].cut()
		p.wg.Wait()
		c.mu.Lock()
		delete(c.pipes, p)
		c.mu.Unlock()
	})
	if to != n {
		stop := watchLeader(n.sim, id, func() { // as dialLeader does
			if !c.loyal.Load() {
				p.ends[0].cut()
			}
		})
		c.wg.Go(func() { <-p.ends[0].done(); stop() })
	}
	return p.ends[0], nil
}

// kill ends the node as kill -9 does: its guard takes the bodies along.
func (n *simNode) kill() {
	c := n.c
	c.mu.Lock()
	was := n.up
	n.up = false
	c.mu.Unlock()
	if !was {
		return
	}
	c.simNet.change(func() { close(n.gone); delete(c.simNet.frozen, n.name) })
	n.runner.die()
	c.raftNet.Kill(n.name)
	c.cutStreams(n)
	n.sim.stop()
	n.coord.Stop()
	n.host.Stop()
	n.mux.Stop()
	n.agent.Stop()
}

// cutStreams severs all streams of a node.
func (c *simCluster) cutStreams(n *simNode) {
	c.mu.Lock()
	var cut []*simPipe
	for p := range c.pipes {
		if p.ends[0].node == n || p.ends[1].node == n {
			cut = append(cut, p)
		}
	}
	c.mu.Unlock()
	for _, p := range cut {
		p.sever()
	}
}

// freeze stops everything of the node's process but its bodies and its guard, as SIGSTOP does.
func (n *simNode) freeze() {
	n.c.simNet.change(func() { n.c.simNet.frozen[n.name] = true })
	n.c.isolateRaft(n, true)
}

// thaw lets it go on. It reads what lies in its sockets before it learns of anything else.
func (n *simNode) thaw() {
	n.c.simNet.change(func() { delete(n.c.simNet.frozen, n.name) })
	n.c.isolateRaft(n, false)
}

// isolate cuts a node off from all others, or heals that.
func (c *simCluster) isolate(n *simNode, cut bool) {
	c.simNet.change(func() {
		for _, o := range c.all() {
			c.simNet.cuts[[2]string{n.name, o.name}] = cut && o != n
			c.simNet.cuts[[2]string{o.name, n.name}] = cut && o != n
		}
	})
	c.isolateRaft(n, cut)
}

func (c *simCluster) isolateRaft(n *simNode, cut bool) {
	for _, o := range c.all() {
		if o != n {
			c.raftNet.CutBoth(n.name, o.name, cut)
		}
	}
}

// stop ends all nodes.
func (c *simCluster) stop() {
	for _, n := range c.all() {
		n.kill()
	}
	c.simNet.change(func() { c.simNet.cuts = map[[2]string]bool{} })
	c.mu.Lock()
	pipes := maps.Clone(c.pipes)
	c.mu.Unlock()
	for p := range pipes {
		p.sever()
	}
	c.wg.Wait()
	for _, n := range c.all() {
		_ = n.dir.Close()
	}
}
