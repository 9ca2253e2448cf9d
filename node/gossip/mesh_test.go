package gossip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv("GOSSIP_TEST_SPIN") != "" {
		spin()
		return
	}
	goleak.VerifyTestMain(m)
}

func testLogger(*testing.T) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Error})
}

func sees(id string, want State) func(*Gossip) bool {
	return func(g *Gossip) bool {
		m, ok := g.Lookup(id)
		return ok && m.State == want
	}
}

func hasCode(id, code string) func(*Gossip) bool {
	return func(g *Gossip) bool { return string(g.Manifests()[id]) == code }
}

// TestSeenWithinTwoSeconds: a node that starts, reloads or dies is seen by all.
func TestSeenWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	for _, n := range []int{3, 5} {
		t.Run(fmt.Sprint(n, " nodes"), func(t *testing.T) {
			t.Parallel()
			for trial := range trials(20) {
				synctest.Test(t, func(t *testing.T) { startReloadDie(t, n, trial) })
			}
		})
	}
}

func startReloadDie(t *testing.T, n, trial int) {
	const limit = 2 * time.Second
	m := newMesh(t)
	defer m.stop()
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprint("node", i))
		m.start(ids[i], nil)
	}
	started := m.within(limit, "start", func(g *Gossip) bool {
		return slices.Equal(g.Alive(), ids) && len(g.Manifests()) == n
	})
	time.Sleep(3*time.Second + time.Duration(trial)*37*time.Millisecond)
	last := ids[n-1]
	if err := m.nodes[last].SetManifest([]byte("new code")); err != nil {
		t.Fatal(err)
	}
	reloaded := m.within(limit, "reload", hasCode(last, "new code"))
	time.Sleep(3 * time.Second)
	m.kill(last)
	suspected := false
	died := m.within(limit, "death", func(g *Gossip) bool {
		suspected = suspected || sees(last, Suspect)(g)
		return sees(last, Gone)(g)
	})
	if !suspected {
		t.Error("a dying node was never seen as suspect")
	}
	if got := m.nodes[ids[0]].Manifests(); len(got) != n-1 {
		t.Errorf("manifests of %d members after a death, want %d", len(got), n-1)
	}
	t.Logf("trial %d: start %s, reload %s, death %s", trial, started, reloaded, died)
}

func TestLeaveIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		defer m.stop()
		m.start("a", nil)
		m.start("b", nil)
		m.start("c", nil)
		m.within(2*time.Second, "start", func(g *Gossip) bool { return len(g.Alive()) == 3 })
		m.nodes["c"].Leave(time.Second)
		m.kill("c")
		m.within(500*time.Millisecond, "leave", sees("c", Gone))
	})
}

// TestRestartOnAnotherAddress: the same id comes back elsewhere while its past is still believed alive.
func TestRestartOnAnotherAddress(t *testing.T) {
	t.Parallel()
	for trial := range trials(10) {
		synctest.Test(t, func(t *testing.T) {
			var conflicts []error
			watch := func(c *Config) { c.OnConflict = func(err error) { conflicts = append(conflicts, err) } }
			m := newMesh(t)
			defer m.stop()
			m.start("a", watch)
			m.start("b", watch)
			m.start("c", watch)
			m.within(2*time.Second, "start", func(g *Gossip) bool { return len(g.Alive()) == 3 })
			time.Sleep(time.Duration(trial) * 31 * time.Millisecond)
			m.kill("c")
			c := m.start("c", watch)
			self, _ := c.Lookup("c")
			took := m.within(3*time.Second, "new address", func(g *Gossip) bool {
				got, _ := g.Lookup("c")
				return got.GossipAddr == self.GossipAddr && got.Boot == self.Boot && got.State == Alive
			})
			t.Logf("restart on another address seen after %s", took)
			time.Sleep(20 * time.Second)
			if len(conflicts) > 0 {
				t.Errorf("a restart was told as a conflict: %v", conflicts)
			}
		})
	}
}

func TestTwoLiveNodesWithOneID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		defer m.stop()
		m.start("a", nil)
		defer m.start("b", nil).Stop()
		m.within(2*time.Second, "start", func(g *Gossip) bool { return len(g.Alive()) == 2 })
		told := make(chan error, 8)
		m.start("b", func(c *Config) { c.OnConflict = func(err error) { told <- err } })
		first := m.boots - 1
		select {
		case err := <-told:
			var conflict *ConflictError
			if !errors.As(err, &conflict) || !conflict.Self || conflict.ID != "b" || conflict.OtherBoot != fmt.Sprintf("boot%03d", first) {
				t.Errorf("got %#v", err)
			}
			if !strings.Contains(err.Error(), "two live nodes use the id b") {
				t.Errorf("sentence: %s", err)
			}
		case <-time.After(15 * time.Second):
			t.Error("the conflict was not told")
		}
	})
}

// TestPartitionHeals: after memberlist has forgotten the dead, both sides find each other again.
func TestPartitionHeals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		defer m.stop()
		for i := range 5 {
			m.start(fmt.Sprint("node", i), nil)
		}
		all := func(g *Gossip) bool { return len(g.Alive()) == 5 }
		m.within(2*time.Second, "start", all)
		side := func(addr string) bool { return addr < "10.0.0.4" }
		m.h.setCut(func(from, to string) bool { return side(from) != side(to) })
		m.within(5*time.Second, "partition", func(g *Gossip) bool { return len(g.Alive()) < 4 })
		time.Sleep(3 * time.Minute)
		m.h.setCut(nil)
		took := m.within(15*time.Second, "heal", all)
		t.Logf("healed after %s", took)
	})
}

// TestJoinNamesAreResolvedAtEveryDial: the name moves, the first peers are down.
func TestJoinNamesAreResolvedAtEveryDial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		defer m.stop()
		a, err := New(Config{
			NodeID: "a", Label: "mesh", Logger: testLogger(t), Transport: m.h.port(),
			Join: []string{"seed:7946"},
		})
		if err != nil {
			t.Fatal(err)
		}
		calls := 0
		a.lookup = func(_ context.Context, host string) ([]string, error) {
			if calls++; calls < 4 {
				return nil, errors.New("no such host")
			}
			return []string{"10.0.0.9", "10.0.0.2"}, nil
		}
		if err := a.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.nodes["a"] = a
		time.Sleep(10 * time.Minute)
		m.start("b", func(c *Config) { c.Join = nil })
		m.within(10*time.Second, "join", func(g *Gossip) bool { return len(g.Alive()) == 2 })
	})
}

func TestForeignLabelStaysOutside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		defer m.stop()
		m.start("a", nil)
		m.start("b", func(c *Config) { c.Label = "other" })
		time.Sleep(30 * time.Second)
		for id, g := range m.nodes {
			if diff := cmp.Diff([]string{id}, g.Alive()); diff != "" {
				t.Errorf("%s: %s", id, diff)
			}
		}
	})
}

// TestPushPullAloneCarriesManifests: without a fetch function the state sync does it.
func TestPushPullAloneCarriesManifests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		defer m.stop()
		none := func(c *Config) { c.Fetch = nil }
		m.start("a", none)
		m.start("b", none)
		m.within(2*time.Second, "start", func(g *Gossip) bool { return len(g.Manifests()) == 2 })
		if err := m.nodes["b"].SetManifest([]byte("later")); err != nil {
			t.Fatal(err)
		}
		m.within(25*time.Second, "reload by push/pull", hasCode("b", "later"))
	})
}

func TestMetaChangeAndSubscription(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		defer m.stop()
		a := m.start("a", nil)
		b := m.start("b", nil)
		m.within(2*time.Second, "start", func(g *Gossip) bool { return len(g.Manifests()) == 2 })
		time.Sleep(5 * time.Second)
		changed, cancel := b.Subscribe()
		defer cancel()
		if err := a.SetMeta("cluster", true); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		case <-time.After(2 * time.Second):
			t.Fatal("no signal for a change of metadata")
		}
		got, _ := b.Lookup("a")
		got.Since = time.Time{}
		want := Member{
			ID: "a", Name: "name-a", Boot: "boot001", Version: "1", Addr: "10.0.0.1",
			GossipAddr: "10.0.0.1:7946", PeerAddr: "10.0.0.1:7947", HTTPAddr: "10.0.0.1:7777",
			ClusterID: "cluster", HasState: true, ManifestHash: Hash([]byte("code of a")),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if err := a.SetMeta(strings.Repeat("x", maxCluster+1), true); err == nil {
			t.Error("a cluster id that does not fit was taken")
		}
	})
}

// TestGoneMembersAreKeptForADay, unless another node takes their address.
func TestGoneMembersAreKeptForADay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, err := New(Config{NodeID: "a", Logger: testLogger(t)})
		if err != nil {
			t.Fatal(err)
		}
		g.rows["b"] = &row{Member: Member{ID: "b", State: Gone, Since: time.Now()}}
		time.Sleep(keepGone - time.Minute)
		if g.tidy(); len(g.Members()) != 1 {
			t.Error("a gone member was forgotten too early")
		}
		time.Sleep(2 * time.Minute)
		if g.tidy(); len(g.Members()) != 0 {
			t.Error("a gone member was not forgotten")
		}
	})
}

// trials is all of them when COFLUX_SLOW=1 asks for the long run.
func trials(all int) int {
	if os.Getenv("COFLUX_SLOW") == "1" {
		return all
	}
	return max(1, all/6)
}

// TestSeveralStartAgain: the node that all are told to join and another one start again at once, elsewhere. They find the one
// that went on, which they were never told to join, by what they remember.
func TestSeveralStartAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		defer m.stop()
		m.start("a", func(c *Config) { c.Join = nil })
		m.start("b", nil)
		c, _ := m.start("c", nil).Lookup("c")
		all := func(g *Gossip) bool { return len(g.Alive()) == 3 }
		m.within(2*time.Second, "start", all)
		time.Sleep(2 * time.Minute)
		m.kill("a")
		m.kill("b")
		time.Sleep(time.Second)
		known := []string{"10.0.0.2:7946", c.GossipAddr}
		first, _ := m.start("a", func(c *Config) { c.Join, c.Known = nil, known }).Lookup("a")
		m.start("b", func(c *Config) { c.Join, c.Known = []string{first.GossipAddr}, known })
		t.Logf("together after %s", m.within(3*time.Second, "all", all))
	})
}
