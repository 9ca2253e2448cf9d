package consensus

import (
	"fmt"
	"math/rand"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
)

// voterNames are the voters as the leader sees them.
func (c *testCluster) voterNames() []string {
	ids := c.leader().host.voterIDs()
	slices.Sort(ids)
	return ids
}

func TestReplicasBecomeVotersInPairs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		defer c.stop()
		c.grow(1)
		c.write("a")
		c.add("n1").start()
		time.Sleep(30 * time.Second)
		if diff := cmp.Diff([]string{"n0"}, c.voterNames()); diff != "" {
			t.Fatalf("with two nodes: %s", diff)
		}
		if n := len(c.leader().host.Servers()); n != 2 {
			t.Fatalf("%d servers, want 2", n)
		}
		if diff := cmp.Diff([]string{"a"}, c.nodes[1].machine.snapshot()); diff != "" {
			t.Fatalf("the replica: %s", diff)
		}
		c.add("n2").start()
		eventually(t, "three voters", 30*time.Second, func() bool { return c.voterCount() == 3 })
		if a, b := c.nodes[0].host.ClusterID(), c.nodes[2].host.ClusterID(); a != b || a == "" {
			t.Fatalf("the clusters are %q and %q", a, b)
		}
	})
}

func TestDeadVoterIsReplacedAndNeverJustRemoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		c.voters = 3
		c.tune = func(_ string, cfg *Config) { cfg.ReplaceAfter = 15 * time.Second }
		defer c.stop()
		c.grow(3)
		c.write("a")
		dead := c.nodes[2]
		dead.kill()
		time.Sleep(40 * time.Second)
		if diff := cmp.Diff([]string{"n0", "n1", "n2"}, c.voterNames()); diff != "" {
			t.Fatalf("without a replacement: %s", diff)
		}
		c.add("n3").start()
		eventually(t, "the replacement", 5*time.Minute, func() bool {
			return slices.Equal(c.voterNames(), []string{"n0", "n1", "n3"})
		})
		c.write("b")
		dead.start()
		time.Sleep(20 * time.Second)
		if diff := cmp.Diff([]string{"n0", "n1", "n3"}, c.voterNames()); diff != "" {
			t.Fatalf("after the return: %s", diff)
		}
		if diff := cmp.Diff([]string{"a", "b"}, dead.machine.snapshot()); diff != "" {
			t.Fatalf("the one that returned is no replica: %s", diff)
		}
	})
}

func TestShortAbsenceChangesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		c.voters = 3
		defer c.stop()
		c.grow(3)
		c.add("n3").start()
		time.Sleep(20 * time.Second)
		for _, n := range c.nodes[:3] { // a rolling restart
			n.kill()
			time.Sleep(10 * time.Second)
			n.start()
			time.Sleep(10 * time.Second)
		}
		if diff := cmp.Diff([]string{"n0", "n1", "n2"}, c.voterNames()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestRemovedIDNeverComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		defer c.stop()
		c.grow(3)
		c.add("n3").start()
		eventually(t, "four servers", 30*time.Second, func() bool { return len(c.leader().host.Servers()) == 4 })
		gone := c.leader() // the hardest case: the leader itself
		c.mu.Lock()
		c.removed[gone.name] = true
		c.mu.Unlock()
		eventually(t, "the removal", time.Minute, func() bool {
			return !slices.ContainsFunc(c.leader().host.Servers(), func(s Server) bool { return s.ID == gone.name })
		})
		eventually(t, "the sentence", time.Minute, func() bool { return len(gone.fatals()) == 1 })
		if got := gone.fatals()[0].Error(); !strings.Contains(got, "was removed") || !strings.Contains(got, "--join") {
			t.Fatal(got)
		}
		gone.kill()
		gone.start()
		time.Sleep(20 * time.Second)
		if slices.ContainsFunc(c.leader().host.Servers(), func(s Server) bool { return s.ID == gone.name }) {
			t.Fatal("the removed id is back")
		}
		if !gone.dir.current().Removed {
			t.Fatal("the removed node has not written it down")
		}
		c.write("a")
	})
}

func TestVotersFollowTheSetting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		defer c.stop()
		c.grow(5)
		c.mu.Lock()
		c.voters = 4 // counts as 3
		c.mu.Unlock()
		eventually(t, "three voters", time.Minute, func() bool { return c.voterCount() == 3 })
		c.mu.Lock()
		c.voters = 5
		c.mu.Unlock()
		eventually(t, "five voters", time.Minute, func() bool { return c.voterCount() == 5 })
	})
}

// A follower so far behind that the log is cut gets the snapshot.
func TestFreshNodeGetsTheSnapshot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		c.tune = func(_ string, cfg *Config) {
			cfg.SnapshotThreshold, cfg.SnapshotInterval, cfg.TrailingLogs = 50, time.Second, 10
		}
		defer c.stop()
		c.grow(3)
		var want []string
		for i := range 300 {
			want = append(want, fmt.Sprint("w", i))
			c.write(want[i])
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(3 * time.Second)
		if s := c.leader().host.Stats(); s.FirstIndex < 100 || s.LastIndex-s.FirstIndex > 150 {
			t.Fatalf("the log was not cut: %+v", s)
		}
		fresh := c.add("n3")
		fresh.start()
		eventually(t, "the fresh node", 30*time.Second, func() bool { return fresh.machine.Index() == 300 })
		if diff := cmp.Diff(want, fresh.machine.snapshot()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Leader kills while nodes come and go: acknowledged writes stay, once and in order.
func TestChurn(t *testing.T) {
	t.Parallel()
	for seed := range seeds(4) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { churn(t, rand.New(rand.NewSource(seed))) })
		})
	}
}

// seeds is n, and ten times that where there is time.
func seeds(n int64) int64 {
	if os.Getenv("COFLUX_SLOW") == "1" {
		return 10 * n
	}
	return n
}

func churn(t *testing.T, rng *rand.Rand) {
	c := newTestCluster(t)
	c.tune = func(_ string, cfg *Config) {
		cfg.SnapshotThreshold, cfg.SnapshotInterval, cfg.TrailingLogs = 40, time.Second, 10
	}
	defer c.stop()
	c.grow(5)
	var want []string
	for i := range 60 {
		want = append(want, fmt.Sprint("w", i))
		c.write(want[i])
		n := c.nodes[rng.Intn(5)]
		other := c.nodes[rng.Intn(5)]
		switch rng.Intn(4) {
		case 0:
			n.kill()
			time.Sleep(time.Duration(rng.Intn(2000)) * time.Millisecond)
			n.start()
		case 1:
			c.net.Cut(n.name, other.name, true)
			time.Sleep(time.Duration(rng.Intn(3000)) * time.Millisecond)
			c.net.Cut(n.name, other.name, false)
		case 2:
			n := c.leader()
			n.kill()
			time.Sleep(time.Duration(rng.Intn(500)) * time.Millisecond)
			n.start()
		}
	}
	eventually(t, "all nodes are level", time.Minute, func() bool {
		return !slices.ContainsFunc(c.nodes, func(n *testNode) bool { return n.machine.Index() != 60 })
	})
	for _, n := range c.nodes {
		if diff := cmp.Diff(want, n.machine.snapshot()); diff != "" {
			t.Fatalf("node %s: %s", n.name, diff)
		}
		if f := n.fatals(); len(f) > 0 {
			t.Fatalf("node %s: %v", n.name, f)
		}
	}
}

// A leader without gossip does not take itself for dead.
func TestLeaderNeverDemotesItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		c.voters = 3
		c.tune = func(_ string, cfg *Config) { cfg.ReplaceAfter = 15 * time.Second }
		defer c.stop()
		c.grow(3)
		c.add("n3").start()
		time.Sleep(15 * time.Second)
		l := c.leader()
		c.mu.Lock()
		c.hidden[[2]string{l.name, l.name}] = true
		c.mu.Unlock()
		time.Sleep(30 * time.Second)
		if got := c.leader(); got != l || !slices.Contains(c.voterNames(), l.name) {
			t.Fatalf("%s leads, voters %v", got.name, c.voterNames())
		}
	})
}

func TestVoterChanges(t *testing.T) {
	t.Parallel()
	ids := func(s string) (out []raft.ServerID) {
		for _, id := range strings.Fields(s) {
			out = append(out, raft.ServerID(id))
		}
		return out
	}
	for name, tc := range map[string]struct {
		target, voters, healthy      int
		dead, spare, candidates      string
		wantPromotions, wantDemotion string
	}{
		"one spare node waits for its pair":    {target: 5, voters: 1, healthy: 1, candidates: "b"},
		"a pair":                               {target: 5, voters: 1, healthy: 1, candidates: "b c", wantPromotions: "b c"},
		"one of three is left out":             {target: 5, voters: 1, healthy: 1, candidates: "b c d", wantPromotions: "b c"},
		"an interrupted pair is completed":     {target: 3, voters: 2, healthy: 2, spare: "b", candidates: "c", wantPromotions: "c"},
		"enough":                               {target: 3, voters: 3, healthy: 3, spare: "b c", candidates: "d e"},
		"dead without replacement":             {target: 3, voters: 3, healthy: 2, dead: "c", spare: "b"},
		"dead, the replacement first":          {target: 3, voters: 3, healthy: 2, dead: "c", spare: "b", candidates: "d", wantPromotions: "d"},
		"dead, the replacement votes":          {target: 3, voters: 4, healthy: 3, dead: "c", spare: "b d", wantDemotion: "c"},
		"two dead of five are replaced singly": {target: 5, voters: 5, healthy: 3, dead: "d e", spare: "b c", candidates: "f g", wantPromotions: "f"},
		"two dead, one replacement votes":      {target: 5, voters: 6, healthy: 4, dead: "d e", spare: "b c f", candidates: "g", wantDemotion: "d"},
		"never below a healthy majority":       {target: 3, voters: 4, healthy: 2, dead: "c d", spare: "b"},
		"too many: the dead go first":          {target: 3, voters: 5, healthy: 4, dead: "e", spare: "b c d", wantDemotion: "e"},
		"too many: never the leader":           {target: 3, voters: 5, healthy: 5, spare: "b c d e", wantDemotion: "d e"},
		"too many: down to one":                {target: 1, voters: 3, healthy: 3, spare: "b c", wantDemotion: "b c"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := changes(tc.target, tc.voters, tc.healthy, ids(tc.dead), ids(tc.spare), ids(tc.candidates))
			want := autopilot.RaftChanges{Promotions: ids(tc.wantPromotions), Demotions: ids(tc.wantDemotion)}
			if !slices.Equal(got.Promotions, want.Promotions) || !slices.Equal(got.Demotions, want.Demotions) {
				t.Fatalf("got %+v, want %+v", got, want)
			}
		})
	}
}
