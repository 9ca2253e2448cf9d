package consensus

import (
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// clusters returns the ids of all clusters that nodes belong to.
func (c *testCluster) clusters() map[string]int {
	out := map[string]int{}
	for _, n := range c.nodes {
		if l := n.dir.current(); l.Held {
			out[l.ClusterID]++
		}
	}
	return out
}

// Nodes that start at different times, see each other late and crash in between never create two clusters, and when all
// is well again they are one (rules A11).
func TestExpectNeverMakesTwoClusters(t *testing.T) {
	t.Parallel()
	for seed := range seeds(40) {
		synctest.Test(t, func(t *testing.T) { expectScenario(t, seed) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func expectScenario(t *testing.T, seed int64) {
	rng := rand.New(rand.NewSource(seed))
	c := newTestCluster(t)
	c.tune = func(_ string, cfg *Config) { cfg.BootstrapExpect = 3 }
	defer c.stop()
	hide := func(a, b string, hidden bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.hidden[[2]string{a, b}] = hidden
	}
	names := []string{"n0", "n1", "n2", "n3"}
	for _, i := range rng.Perm(4) {
		for _, other := range names {
			hide(names[i], other, other != names[i] && rng.Intn(2) == 0)
			c.net.Cut(names[i], other, rng.Intn(6) == 0)
		}
		c.add(names[i]).start()
		time.Sleep(time.Duration(rng.Intn(1500)) * time.Millisecond)
	}
	for range rng.Intn(12) {
		a, b := names[rng.Intn(4)], names[rng.Intn(4)]
		hide(a, b, a != b && rng.Intn(2) == 0)
		c.net.Cut(a, b, rng.Intn(4) == 0)
		if rng.Intn(3) == 0 {
			n := c.nodes[rng.Intn(4)]
			n.kill()
			time.Sleep(time.Duration(rng.Intn(900)) * time.Millisecond)
			n.start()
		}
		time.Sleep(time.Duration(rng.Intn(1200)) * time.Millisecond)
		if got := c.clusters(); len(got) > 1 {
			t.Fatalf("seed %d: clusters %v", seed, got)
		}
	}
	for _, a := range names {
		for _, b := range names {
			hide(a, b, false)
			c.net.Cut(a, b, false)
		}
	}
	eventually(t, fmt.Sprint("one cluster of four, seed ", seed), 2*time.Minute, func() bool {
		for _, k := range c.clusters() {
			return k == 4
		}
		return false
	})
	c.write("a")
	if got := c.clusters(); len(got) != 1 {
		t.Fatalf("seed %d: clusters %v", seed, got)
	}
}

func TestExpectGivesWayToAClusterThatExists(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		defer c.stop()
		c.grow(1)
		c.tune = func(_ string, cfg *Config) { cfg.BootstrapExpect = 2 }
		c.add("n1").start()
		c.add("n2").start()
		eventually(t, "three voters", time.Minute, func() bool { return c.voterCount() == 3 })
		if got := c.clusters(); len(got) != 1 {
			t.Fatalf("clusters %v", got)
		}
	})
}

func TestExpectNeedsTheSameNumber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		defer c.stop()
		c.tune = func(name string, cfg *Config) { cfg.BootstrapExpect = map[string]int{"n0": 3, "n1": 3, "n2": 2}[name] }
		for i := range 3 {
			c.add(fmt.Sprint("n", i)).start()
		}
		time.Sleep(time.Minute)
		if got := c.clusters(); len(got) != 0 {
			t.Fatalf("clusters %v", got)
		}
	})
}

// A crash between the steps of a creation leaves a node that goes on with the same cluster.
func TestCreationIsResumed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		log bool // the log had begun
	}{"before the log": {}, "after the log": {log: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newTestCluster(t)
				defer c.stop()
				n := c.add("n0")
				n.start()
				if tc.log {
					if err := n.host.Bootstrap(); err != nil {
						t.Fatal(err)
					}
				} else if _, err := n.host.intend(); err != nil {
					t.Fatal(err)
				}
				n.kill()
				want := n.dir.current().Promise.ClusterID
				if err := n.dir.update(func(l *lineage) { l.ClusterID, l.Creating, l.Held = want, true, false }); err != nil {
					t.Fatal(err)
				}
				n.start()
				if err := n.host.Bootstrap(); err != nil && !(tc.log && errors.Is(err, ErrHeldState)) {
					t.Fatal(err)
				}
				c.write("a")
				if got := n.host.ClusterID(); got != want || want == "" {
					t.Fatalf("the cluster is %q, want %q", got, want)
				}
			})
		})
	}
}

// A node that another cluster counts among its servers stops with a sentence.
func TestForeignClusterStopsTheNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		defer c.stop()
		c.grow(3)
		other := newTestCluster(t)
		other.net = c.net
		defer other.stop()
		stranger := other.add("x0")
		stranger.start()
		if err := stranger.host.Bootstrap(); err != nil {
			t.Fatal(err)
		}
		other.write("a")
		asker := newAsker("x0", c.net.Host("x0"), c.lookup)
		defer asker.stop()
		cluster := stranger.host.ClusterID()

		if _, err := asker.ask(t.Context(), "n1", question{Kind: askAdopt, Cluster: cluster}); err == nil || !strings.Contains(err.Error(), "it belongs to the cluster") {
			t.Fatalf("adoption by another cluster: %v", err)
		}
		if f := c.nodes[1].fatals(); len(f) > 0 {
			t.Fatalf("an invitation stopped the node: %v", f)
		}
		if _, err := asker.ask(t.Context(), "n1", question{Kind: askTerm, Cluster: cluster, Term: 1}); err == nil {
			t.Fatal("a question of another cluster was answered")
		}
		eventually(t, "the sentence", time.Second, func() bool { return len(c.nodes[1].fatals()) == 1 })
		if got := c.nodes[1].fatals()[0].Error(); !strings.Contains(got, cluster) || !strings.Contains(got, "--join") {
			t.Fatal(got)
		}
	})
}

// A node that has taken over the address of another one is not taken for it.
func TestSwappedAddressesHarmNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		defer c.stop()
		c.grow(3)
		c.write("a")
		l := c.leader()
		var others []*testNode
		for _, n := range c.nodes {
			if n != l {
				others = append(others, n)
			}
		}
		swap := func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			others[0].addr, others[1].addr = others[1].addr, others[0].addr
		}
		swap() // gossip lies about both
		for _, n := range others {
			c.net.CutBoth(l.name, n.name, true)
		}
		time.Sleep(10 * time.Second)
		for _, n := range others {
			c.net.CutBoth(l.name, n.name, false)
		}
		time.Sleep(20 * time.Second)
		for _, s := range []*streamLayer{l.host.stream, others[0].host.stream} {
			if err := s.check(hello{From: "x", To: "somebody", Cluster: l.host.ClusterID()}); err == nil {
				t.Fatal("a call for another node is taken")
			}
		}
		swap()
		c.write("b")
		eventually(t, "all nodes are level", time.Minute, func() bool { return others[0].machine.Index() == 2 && others[1].machine.Index() == 2 })
	})
}

// Two candidates that do not see each other collect a promise each. Neither creates a cluster; when they see each other
// the lower one does, with the help of those who had promised to the higher one.
func TestRivalCandidatesBecomeOneCluster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		c.tune = func(_ string, cfg *Config) { cfg.BootstrapExpect = 3 }
		defer c.stop()
		apart := func(yes bool) {
			c.mu.Lock()
			c.hidden[[2]string{"n0", "n1"}], c.hidden[[2]string{"n1", "n0"}] = yes, yes
			c.mu.Unlock()
			c.net.CutBoth("n0", "n3", yes)
			c.net.CutBoth("n1", "n2", yes)
		}
		apart(true)
		for i := range 4 {
			c.add(fmt.Sprint("n", i)).start()
		}
		time.Sleep(30 * time.Second)
		if got := c.clusters(); len(got) != 0 {
			t.Fatalf("clusters %v", got)
		}
		if a, b := c.nodes[2].dir.current().Promise.Owner, c.nodes[3].dir.current().Promise.Owner; a != "n0" || b != "n1" {
			t.Fatalf("the promises went to %q and %q: the test shows nothing", a, b)
		}
		apart(false)
		eventually(t, "one cluster of four", time.Minute, func() bool {
			got := c.clusters()
			return len(got) == 1 && got[c.nodes[0].host.ClusterID()] == 4
		})
	})
}

// A candidate that gave its cluster up while the last promise was on its way does not create it.
func TestGivenUpClusterIsNotCreated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		c.tune = func(_ string, cfg *Config) { cfg.BootstrapExpect = 3 }
		defer c.stop()
		for i := 1; i < 4; i++ { // nobody sees anybody: the procedure is driven by hand
			for _, other := range []string{"n1", "n2", "n3"} {
				c.hidden[[2]string{fmt.Sprint("n", i), other}] = true
			}
		}
		for i := 1; i < 4; i++ {
			c.add(fmt.Sprint("n", i)).start()
		}
		n1 := c.nodes[0]
		c.net.Cut("n3", "n1", true)
		done := make(chan struct{})
		go func() {
			defer close(done)
			n1.host.tryCreate([]string{"n2", "n3"})
		}()
		synctest.Wait()
		asker := newAsker("n0", c.net.Host("n0"), c.lookup)
		defer asker.stop()
		a, err := asker.ask(t.Context(), "n1", question{Kind: askPromise, Cluster: "C0", Expect: 3})
		if err != nil || !a.Yes {
			t.Fatalf("the lower candidate is refused: %+v, %v", a, err)
		}
		c.net.Cut("n3", "n1", false)
		<-done
		if owner := c.nodes[2].dir.current().Promise.Owner; owner != "n1" {
			t.Fatalf("the last promise went to %q: the test shows nothing", owner)
		}
		if got := c.clusters(); len(got) != 0 {
			t.Fatalf("clusters %v", got)
		}
	})
}

func TestAllPromisesAreNeeded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		c.tune = func(_ string, cfg *Config) { cfg.BootstrapExpect = 3 }
		defer c.stop()
		c.net.CutBoth("n0", "n2", true) // seen through gossip, not reached
		for i := range 3 {
			c.add(fmt.Sprint("n", i)).start()
		}
		time.Sleep(30 * time.Second)
		if got := c.clusters(); len(got) != 0 {
			t.Fatalf("clusters %v with two promises of three", got)
		}
		c.net.CutBoth("n0", "n2", false)
		eventually(t, "the cluster", 30*time.Second, func() bool { return c.voterCount() == 3 })
	})
}
