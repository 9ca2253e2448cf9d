package consensus

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// diskCluster is a cluster on real directories and ports, in real time; its gossip is a table.
type diskCluster struct {
	t    testing.TB
	root string
	tune func(*Config)

	mu      sync.Mutex // guards the rest
	nodes   map[string]*diskNode
	removed map[string]bool
}

func (c *diskCluster) lookup(id string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if n.dir.Identity().NodeID == id {
			return n.mux.Addr().String(), true
		}
	}
	return "", false
}

func (c *diskCluster) members() (out []MemberInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		out = append(out, MemberInfo{ID: n.host.ID(), ClusterID: n.host.ClusterID(), HasState: n.host.HasState()})
	}
	return out
}

func (c *diskCluster) start(name string) *diskNode {
	c.t.Helper()
	n, err := c.tryStart(name)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

func (c *diskCluster) dir(name string) string { return filepath.Join(c.root, name) }

func (c *diskCluster) tryStart(name string) (*diskNode, error) {
	n, err := openDisk(c.t, c.dir(name), func(cfg *Config) {
		cfg.Lookup, cfg.Members = c.lookup, c.members
		cfg.Removed = func(id string) bool { c.mu.Lock(); defer c.mu.Unlock(); return c.removed[id] }
		cfg.GaveUp = func(old, _ string) { c.mu.Lock(); defer c.mu.Unlock(); c.removed[old] = true }
		cfg.StableFor = time.Second
		if c.tune != nil {
			c.tune(cfg)
		}
	})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[name] = n
	return n, nil
}

func (c *diskCluster) kill(name string) {
	c.mu.Lock()
	n := c.nodes[name]
	delete(c.nodes, name)
	c.mu.Unlock()
	n.stop()
}

func (c *diskCluster) stop() {
	for name := range c.nodes {
		c.kill(name)
	}
}

// leader waits for a confirmed one.
func (c *diskCluster) leader() (found string, n *diskNode) {
	c.t.Helper()
	eventually(c.t, "a leader", 20*time.Second, func() bool {
		for name, m := range c.nodes {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_, err := m.host.ConfirmTerm(ctx)
			cancel()
			if err == nil && m.host.Barrier(context.Background()) == nil {
				found, n = name, m
				return true
			}
		}
		return false
	})
	return found, n
}

// write commits entries through whoever leads, once each: an election under load is no failure.
func (c *diskCluster) write(from, to int) {
	c.t.Helper()
	for _, text := range entries(from, to) {
		eventually(c.t, text, 20*time.Second, func() bool {
			_, l := c.leader()
			return slices.Contains(l.machine.snapshot(), text) ||
				l.host.Propose(context.Background(), entryOn(l.machine.Index(), text)) == nil
		})
	}
}

func newDiskCluster(t testing.TB, size int) *diskCluster {
	t.Helper()
	return newTunedDiskCluster(t, size, nil)
}

func newTunedDiskCluster(t testing.TB, size int, tune func(*Config)) *diskCluster {
	t.Helper()
	c := &diskCluster{t: t, root: t.TempDir(), tune: tune, nodes: map[string]*diskNode{}, removed: map[string]bool{}}
	for i := range size {
		c.start(fmt.Sprint("n", i))
	}
	if err := c.nodes["n0"].host.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all voters", 20*time.Second, func() bool {
		_, l := c.leader()
		return len(l.host.voterIDs()) == size
	})
	return c
}

// Three nodes on real disks: a leader ends without a word, all restart on other ports, nothing is lost.
func TestThreeNodesOnDisk(t *testing.T) {
	t.Parallel()
	c := newDiskCluster(t, 3)
	defer c.stop()
	c.write(0, 20)
	name, _ := c.leader()
	begin := time.Now()
	c.kill(name)
	c.leader()
	t.Logf("a new leader after %v", time.Since(begin).Round(time.Millisecond))
	c.write(20, 40)
	c.start(name)
	for i := range 3 {
		c.kill(fmt.Sprint("n", i))
	}
	for i := range 3 {
		c.start(fmt.Sprint("n", i))
	}
	c.write(40, 50)
	eventually(t, "all nodes are level", 10*time.Second, func() bool {
		for _, n := range c.nodes {
			if n.machine.Index() != 50 {
				return false
			}
		}
		return true
	})
	for name, n := range c.nodes {
		if diff := cmp.Diff(entries(0, 50), n.machine.snapshot()); diff != "" {
			t.Fatalf("node %s: %s", name, diff)
		}
	}
}

// BenchmarkPropose is one proposal after another, as the leader loop makes them.
func BenchmarkPropose(b *testing.B) {
	for _, size := range []int{1, 3} {
		b.Run(fmt.Sprint("nodes=", size), func(b *testing.B) {
			c := newDiskCluster(b, size)
			defer c.stop()
			_, l := c.leader()
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				begin := time.Now()
				if err := l.host.Propose(b.Context(), entryOn(l.machine.Index(), fmt.Sprintf("%0300d", i))); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(begin))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		})
	}
}

// BenchmarkConfirm is the quorum question with 1 and 64 callers at a time.
func BenchmarkConfirm(b *testing.B) {
	c := newDiskCluster(b, 3)
	defer c.stop()
	_, l := c.leader()
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			b.SetParallelism(callers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := l.host.ConfirmTerm(context.Background()); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkIdle is the processor time that three idle nodes take.
func BenchmarkIdle(b *testing.B) {
	c := newDiskCluster(b, 3)
	defer c.stop()
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before, begin := used(), time.Now()
	<-time.After(5 * time.Second)
	b.ReportMetric(100*(used()-before).Seconds()/time.Since(begin).Seconds(), "%cpu-of-3-nodes")
}
