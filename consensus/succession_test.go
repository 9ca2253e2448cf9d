package consensus

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// heir adds a node that says it was once the given one.
func (c *testCluster) heir(name string, former ...string) *testNode {
	n := c.add(name)
	n.dir.lineage.Former = former
	n.start()
	return n
}

// watchVoters fails when there are ever fewer voters than least, until the test ends it.
func (c *testCluster) watchVoters(least int) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c.mu.Lock()
			nodes := slices.Clone(c.nodes)
			c.mu.Unlock()
			for _, n := range nodes {
				if _, _, leads := n.host.Leader(); leads && len(n.host.voterIDs()) < least {
					c.t.Errorf("%s leads %d voters", n.name, len(n.host.voterIDs()))
				}
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

func (c *testCluster) serverNames() (ids []string) {
	for _, s := range c.leader().host.Servers() {
		ids = append(ids, s.ID)
	}
	slices.Sort(ids)
	return ids
}

func (c *testCluster) isRemoved(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.removed[id]
}

// An id that was given up is replaced at once, by a voter more before it is one less, and is gone for ever.
func TestGivenUpVoterIsReplacedAndLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		c.voters = 3
		defer c.stop()
		c.grow(3)
		c.write("a")
		defer c.watchVoters(3)()
		old := c.nodes[2]
		old.kill()
		c.heir("n3", "n2")
		eventually(t, "the heir in its place", 30*time.Second, func() bool {
			return slices.Equal(c.serverNames(), []string{"n0", "n1", "n3"}) && c.voterCount() == 3 && c.isRemoved("n2")
		})
		c.write("b")
		// Late: the old one, were it to come back all the same, is sent away.
		old.start()
		eventually(t, "the sentence", 30*time.Second, func() bool { return len(old.fatals()) == 1 })
		if got := old.fatals()[0].Error(); !strings.Contains(got, "was removed") {
			t.Fatal(got)
		}
		if diff := cmp.Diff([]string{"n0", "n1", "n3"}, c.serverNames()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// A given up id that votes stays until a replacement votes; one that does not goes at once.
func TestGivenUpVoterIsNeverJustRemoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		c.voters = 3
		defer c.stop()
		c.grow(3)
		c.add("n3").start()
		eventually(t, "a replica", 30*time.Second, func() bool { return len(c.serverNames()) == 4 })
		c.nodes[2].kill()
		m := c.leader().host.members
		for _, id := range []string{"n2", "n3"} {
			want := []string{"n0", "n1", "n2"}
			if id == "n2" {
				want = append(want, "n3")
			}
			m.mu.Lock()
			m.heirs = map[string]string{id: "heir"}
			m.mu.Unlock()
			if changed := m.retire(m.h.Servers()); changed != (id == "n3") {
				t.Fatalf("the configuration changed for %s: %v", id, changed)
			}
			if diff := cmp.Diff(want, c.serverNames()); diff != "" {
				t.Fatal(diff)
			}
			if c.isRemoved(id) {
				t.Fatalf("%s was struck off while it was in the configuration", id)
			}
		}
	})
}

// Claims that must not be believed.
func TestFalseClaimsChangeNothing(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		kill, strangers bool
		former          func(c *testCluster) []string
	}{
		"of all that live, the leader too": {former: func(*testCluster) []string { return []string{"n0", "n1", "n2"} }},
		"of itself":                        {former: func(*testCluster) []string { return []string{"n3"} }},
		"of a node of another name":        {kill: true, strangers: true, former: func(*testCluster) []string { return []string{"n2"} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newTestCluster(t)
				c.voters, c.strangers = 3, tc.strangers
				defer c.stop()
				c.grow(3)
				if tc.kill {
					c.nodes[2].kill()
				}
				c.heir("n3", tc.former(c)...)
				time.Sleep(40 * time.Second)
				if diff := cmp.Diff([]string{"n0", "n1", "n2"}, c.voterNames()); diff != "" {
					t.Fatal(diff)
				}
				if diff := cmp.Diff([]string{"n0", "n1", "n2", "n3"}, c.serverNames()); diff != "" {
					t.Fatal(diff)
				}
				if len(c.removed) > 0 {
					t.Fatalf("removed %v", c.removed)
				}
			})
		})
	}
}

// One that gossip does not see, but that answers, lives.
func TestClaimOfANodeThatGossipLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		c.voters = 3
		defer c.stop()
		c.grow(3)
		c.mu.Lock()
		for _, of := range []string{"n0", "n1", "n3"} {
			c.hidden[[2]string{of, "n2"}] = true
		}
		c.mu.Unlock()
		c.heir("n3", "n2")
		time.Sleep(40 * time.Second)
		if diff := cmp.Diff([]string{"n0", "n1", "n2"}, c.voterNames()); diff != "" || len(c.removed) > 0 {
			t.Fatal(diff, c.removed)
		}
	})
}

// Nodes give their ids up, one after the other, while leaders are killed at every moment: acknowledged writes stay, the
// voters are never fewer than three, and in the end only the heirs are left.
func TestChurnOfIdentities(t *testing.T) {
	t.Parallel()
	for seed := range seeds(4) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { churnIdentities(t, rand.New(rand.NewSource(seed))) })
		})
	}
}

func churnIdentities(t *testing.T, rng *rand.Rand) {
	c := newTestCluster(t)
	c.voters = 3
	c.tune = func(_ string, cfg *Config) { cfg.StableFor = 3 * time.Second }
	defer c.stop()
	c.grow(3)
	defer c.watchVoters(3)()
	var want []string
	put := func() {
		want = append(want, fmt.Sprint("w", len(want)))
		c.write(want[len(want)-1])
	}
	alive := slices.Clone(c.nodes)
	for i := range 4 {
		put()
		k := rng.Intn(len(alive))
		old := alive[k]
		old.kill()
		put()
		alive[k] = c.heir(fmt.Sprint("h", i), append(slices.Clone(old.dir.lineage.Former), old.name)...)
		for range rng.Intn(5) { // the leader ends in the middle of it
			time.Sleep(time.Duration(rng.Intn(2000)) * time.Millisecond)
			l := c.leader()
			l.kill()
			l.start()
		}
		put()
		eventually(t, "the heir votes and the old id is gone", 2*time.Minute, func() bool {
			return c.voterCount() == 3 && len(c.serverNames()) == 3 && c.isRemoved(old.name)
		})
	}
	put()
	for _, n := range alive {
		eventually(t, "all are level", 10*time.Second, func() bool { return n.machine.Index() == uint64(len(want)) })
		if diff := cmp.Diff(want, n.machine.snapshot()); diff != "" {
			t.Fatalf("node %s: %s", n.name, diff)
		}
	}
}
