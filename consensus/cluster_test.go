package consensus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/coflux-mesh/coflux/consensus/memnet"
)

// listMachine is a Machine whose state is the list of its entries. An entry is its base index and a text.
type listMachine struct {
	mu   sync.Mutex
	list []string
}

func entryOn(base uint64, text string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, base), text...)
}

func (m *listMachine) Apply(entry []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := string(entry[8:])
	if text == "unknown" {
		return errors.New("an entry of a kind that this node does not know")
	}
	if base := binary.BigEndian.Uint64(entry); base != uint64(len(m.list)) {
		return ErrRefused
	}
	m.list = append(m.list, text)
	return nil
}

func (m *listMachine) Index() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.list))
}

func (m *listMachine) Freeze() io.WriterTo {
	m.mu.Lock()
	defer m.mu.Unlock()
	return frozenList(slices.Clone(m.list))
}

type frozenList []string

func (f frozenList) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, strings.Join(f, "\n"))
	return int64(n), err
}

func (m *listMachine) Restore(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = nil
	if len(raw) > 0 { // the snapshot of no entries is empty
		m.list = strings.Split(string(raw), "\n")
	}
	return nil
}

func (m *listMachine) snapshot() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.list)
}

// testNode is one node of a cluster in virtual time: its disk is memory that outlives its process.
type testNode struct {
	c     *testCluster
	name  string
	dir   *Dir
	store Store
	snaps raft.SnapshotStore

	mux     *Mux
	host    *Host
	machine *listMachine
	addr    string
	fatal   []error
	up      bool
}

type testCluster struct {
	t      *testing.T
	net    *memnet.Net
	voters int
	tune   func(name string, c *Config)

	mu        sync.Mutex // guards the rest
	nodes     []*testNode
	removed   map[string]bool
	strangers bool               // no two ids are of one name
	hidden    map[[2]string]bool // gossip of one name does not see the other
}

func newTestCluster(t *testing.T) *testCluster {
	return &testCluster{t: t, net: memnet.New(), voters: 5, removed: map[string]bool{}, hidden: map[[2]string]bool{}}
}

// memDir is a data directory in memory; its lineage outlives the process.
func memDir(id string) *Dir {
	d := &Dir{path: "memory", nodeID: id, boot: newID()}
	d.save = func(lineage) error { return nil }
	return d
}

func (c *testCluster) add(name string) *testNode {
	n := &testNode{c: c, name: name, dir: memDir(name), store: raft.NewInmemStore(), snaps: raft.NewInmemSnapshotStore()}
	c.mu.Lock()
	c.nodes = append(c.nodes, n)
	c.mu.Unlock()
	return n
}

// members is what gossip of one node sees.
func (c *testCluster) members(of string) []MemberInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []MemberInfo
	for _, n := range c.nodes {
		if n.up && !c.hidden[[2]string{of, n.name}] {
			out = append(out, MemberInfo{ID: n.dir.nodeID, ClusterID: n.host.ClusterID(), HasState: n.host.HasState(), BootstrapExpect: n.host.cfg.BootstrapExpect})
		}
	}
	return out
}

func (c *testCluster) lookup(id string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if n.up && n.dir.nodeID == id {
			return n.addr, true
		}
	}
	return "", false
}

func (n *testNode) start() {
	n.c.t.Helper()
	network := n.c.net.Host(n.name)
	ln, err := network.Listen("")
	if err != nil {
		n.c.t.Fatal(err)
	}
	n.dir.boot = newID()
	n.machine = &listMachine{}
	n.mux = NewMux(ln, hclog.NewNullLogger())
	cfg := Config{
		Dir: n.dir, Machine: n.machine, Mux: n.mux, Network: network, Logger: hclog.NewNullLogger(),
		Lookup: n.c.lookup, Members: func() []MemberInfo { return n.c.members(n.name) },
		Removed:  func(id string) bool { n.c.mu.Lock(); defer n.c.mu.Unlock(); return n.c.removed[id] },
		Succeeds: func(old, by string) bool { n.c.mu.Lock(); defer n.c.mu.Unlock(); return !n.c.strangers },
		GaveUp:   func(old, by string) { n.c.mu.Lock(); defer n.c.mu.Unlock(); n.c.removed[old] = true },
		Voters:   func() int { n.c.mu.Lock(); defer n.c.mu.Unlock(); return n.c.voters },
		Fatal:    func(err error) { n.c.mu.Lock(); defer n.c.mu.Unlock(); n.fatal = append(n.fatal, err) },
		Store:    n.store, Snapshots: n.snaps,
	}
	if n.c.tune != nil {
		n.c.tune(n.name, &cfg)
	}
	host, err := Open(cfg)
	if err != nil {
		n.c.t.Fatal(err)
	}
	n.host = host
	if err := host.Start(); err != nil {
		n.c.t.Fatal(err)
	}
	n.mux.Start()
	n.c.mu.Lock()
	n.addr, n.up = ln.Addr().String(), true
	n.c.mu.Unlock()
}

// kill ends the node as kill -9 does: nothing of it reaches the network any more.
func (n *testNode) kill() {
	n.c.mu.Lock()
	was := n.up
	n.up = false
	n.c.mu.Unlock()
	if was {
		n.c.net.Kill(n.name)
		n.host.Stop()
		n.mux.Stop()
	}
}

func (c *testCluster) stop() {
	// A change of the configuration that is under way has to end first: Raft may never answer it after its shutdown, which a
	// host waits for with a limit, while the bubble of a test waits for ever.
	time.Sleep(2 * time.Second)
	for _, n := range c.nodes {
		n.kill()
	}
}

func (n *testNode) fatals() []error {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return slices.Clone(n.fatal)
}

// eventually polls in virtual time.
func eventually(t testing.TB, what string, within time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(max(within/500, 5*time.Millisecond)) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, within)
		}
	}
}

// leader waits for a node that a majority confirms.
func (c *testCluster) leader() *testNode {
	c.t.Helper()
	var found *testNode
	eventually(c.t, "a leader", 30*time.Second, func() bool {
		for _, n := range c.nodes {
			if !n.up {
				continue
			}
			ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
			_, err := n.host.ConfirmTerm(ctx)
			cancel()
			if err == nil {
				found = n
				return true
			}
		}
		return false
	})
	return found
}

// write commits one text as the leader loop does: Barrier, then decide on what is applied, again until it is certain.
func (c *testCluster) write(text string) {
	c.t.Helper()
	for range 1000 {
		n := c.leader()
		err := n.host.Barrier(c.t.Context())
		if err != nil {
			continue
		}
		if slices.Contains(n.machine.snapshot(), text) {
			return
		}
		if err := n.host.Propose(c.t.Context(), entryOn(n.machine.Index(), text)); err == nil {
			return
		}
	}
	c.t.Fatalf("%q was not committed", text)
}

func (c *testCluster) voterCount() int {
	k := 0
	for _, s := range c.leader().host.Servers() {
		if s.Voter {
			k++
		}
	}
	return k
}

// grow makes a cluster of n voters named n0, n1, ...
func (c *testCluster) grow(n int) {
	c.t.Helper()
	for i := range n {
		c.add(fmt.Sprintf("n%d", i)).start()
	}
	if err := c.nodes[0].host.Bootstrap(); err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, "all voters", time.Minute, func() bool { return c.voterCount() == n })
}
