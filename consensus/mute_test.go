package consensus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
)

func TestLacks(t *testing.T) {
	t.Parallel()
	me := own{life: "b2", term: 5, logEnd: logEnd{LastTerm: 4, LastIndex: 100}}
	for _, c := range []struct {
		what string
		me   own
		seen sight
		want string // a part of it; "" = nothing is lacking
	}{
		{"nothing was seen", me, sight{}, ""},
		{"just that", me, sight{Boot: "b2", Term: 5, logEnd: logEnd{LastTerm: 4, LastIndex: 100}}, ""},
		{"less", me, sight{Boot: "b1", Term: 4, logEnd: logEnd{LastTerm: 3, LastIndex: 200}}, ""},
		{"a later life", me, sight{Boot: "b3"}, "started since"},
		{"a life, but it comes from before lives were noted", own{term: 5}, sight{Boot: "b3"}, ""},
		{"a later term", me, sight{Boot: "b2", Term: 6}, "was in term 6 and says 5"},
		{"more entries", me, sight{Boot: "b2", Term: 5, logEnd: logEnd{LastTerm: 4, LastIndex: 101}}, "reached entry 101 of term 4"},
		{"an entry of a later term", me, sight{Boot: "b2", Term: 5, logEnd: logEnd{LastTerm: 5, LastIndex: 99}}, "reached entry 99 of term 5"},
	} {
		if got := c.me.lacks(c.seen); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

// What was seen of a server only grows, outlives the process, and is nothing of a server that takes no part.
func TestSightings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, err := OpenDir(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		says := func(boot string, term, lastTerm, lastIndex uint64, mute bool) map[string]answer {
			return map[string]answer{"x": {Term: term, Status: &status{Boot: boot, logEnd: logEnd{LastTerm: lastTerm, LastIndex: lastIndex}, Mute: mute}}}
		}
		s := openSightings(d)
		both := []string{"x", "y"}
		step := func(servers []string, said map[string]answer, live, kept sight) {
			t.Helper()
			if err := s.note(servers, said); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]sight{live, kept}, []sight{s.of("x"), openSightings(d).of("x")}, cmp.AllowUnexported(sight{})); diff != "" {
				t.Fatal(diff)
			}
		}
		first := sight{Boot: "b1", Term: 2, logEnd: logEnd{LastTerm: 2, LastIndex: 9}}
		step(both, says("b1", 2, 2, 9, false), first, first)
		step(both, says("b0", 1, 1, 99, false), first, first)
		step(both, says("b2", 3, 3, 99, true), first, first)
		longer := sight{Boot: "b1", Term: 2, logEnd: logEnd{LastTerm: 2, LastIndex: 12}}
		step(both, says("b1", 2, 2, 12, false), longer, first)
		time.Sleep(keepSightsEvery)
		step(both, says("b1", 2, 2, 11, false), longer, longer)
		voted := sight{Boot: "b1", Term: 3, logEnd: logEnd{LastTerm: 2, LastIndex: 12}}
		step(both, says("b1", 3, 2, 12, false), voted, voted)
		step([]string{"y"}, nil, sight{}, sight{})
	})
}

// rolledBack makes a cluster of three with 30 entries of which n2's directory knows the first ten, because it was put back from a
// copy after n1 had seen it live on. All nodes are down. It returns n2's id, and where the ends of nodes that halt arrive.
func rolledBack(t *testing.T) (c *diskCluster, old string, halts chan error) {
	halts = make(chan error, 3)
	c = newTunedDiskCluster(t, 3, func(cfg *Config) { cfg.Fatal = func(err error) { halts <- err } })
	t.Cleanup(c.stop)
	c.write(0, 10)
	old = c.nodes["n2"].host.ID()
	c.remembered("n2")
	c.kill("n2")
	copied := filepath.Join(c.root, "copy")
	if err := os.CopyFS(copied, os.DirFS(c.dir("n2"))); err != nil {
		t.Fatal(err)
	}
	boot := c.start("n2").dir.Identity().Boot
	eventually(t, "n1 sees the new life of n2", 20*time.Second, func() bool {
		return openSightings(c.nodes["n1"].dir).of(old).Boot == boot
	})
	c.kill("n1")
	c.write(10, 30)
	c.kill("n2")
	c.kill("n0")
	if err := errors.Join(os.RemoveAll(c.dir("n2")), os.Rename(copied, c.dir("n2"))); err != nil {
		t.Fatal(err)
	}
	return c, old, halts
}

// awaitDamage expects that a node halts because its log is older than what was seen of it.
func awaitDamage(t *testing.T, halts chan error) *DamageError {
	t.Helper()
	var damage *DamageError
	select {
	case err := <-halts:
		if !errors.As(err, &damage) || !strings.Contains(err.Error(), "it is older than what the node") {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a node that was put back from a copy takes part")
	}
	return damage
}

// A voter that was put back must not elect, with one that was down, a leader without what a majority had stored.
func TestRolledBackVoterTakesNoPart(t *testing.T) {
	t.Parallel()
	c, old, halts := rolledBack(t)
	c.start("n1")
	c.start("n2")
	damage := awaitDamage(t, halts)
	c.kill("n2")
	if again := c.damaged("n2"); again.Reason != damage.Reason { // nobody is asked again
		t.Fatalf("damage of the next start: %v", again)
	}
	c.start("n0")
	c.write(30, 40)
	if err := c.quarantine("n2", damage, 20*time.Second, nil); err != nil {
		t.Fatal(err)
	}
	n := c.start("n2")
	if n.host.ID() == old {
		t.Fatal("the old id came back")
	}
	for _, n := range c.nodes {
		eventually(t, "the history", 20*time.Second, func() bool { return n.machine.Index() == 40 })
		if diff := cmp.Diff(entries(0, 40), n.machine.snapshot()); diff != "" {
			t.Fatal(diff)
		}
	}
}

// With one of three voters gone the other two start again together, without it; until then the first neither asks for
// votes nor gives any.
func TestTwoOfThreeSpeakUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		defer c.stop()
		c.grow(3)
		c.write("one")
		for _, n := range c.nodes {
			n.kill()
		}
		n := c.nodes[0]
		n.start()
		time.Sleep(10 * hearOut)
		if _, err := n.host.stream.Dial("n1", time.Second); err == nil || !strings.Contains(err.Error(), "takes no part") {
			t.Fatalf("a mute node calls another: %v", err)
		}
		caller := testerTransport(c, n)
		defer caller.Close()
		heard := make(chan error, 1)
		go func() {
			req := &raft.RequestVoteRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("n1"), Addr: []byte("n1")}}
			heard <- caller.RequestVote("n0", "n0", req, &raft.RequestVoteResponse{})
		}()
		time.Sleep(10 * hearOut)
		select {
		case err := <-heard:
			t.Fatalf("a mute node answers for a vote: %v", err)
		default:
		}
		c.nodes[1].start()
		if err := <-heard; err != nil {
			t.Fatal(err)
		}
		c.write("two")
	})
}

// A node that was away while all other voters that it knows were replaced hears those that vote now.
func TestSpeaksUpAmongStrangers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		c.voters = 3
		defer c.stop()
		c.grow(3)
		c.write("one")
		away := c.nodes[0]
		for i, n := range c.nodes {
			spare := c.add(fmt.Sprint("spare", i))
			spare.start()
			n.kill()
			eventually(t, "a spare votes in the place of one that is gone", 10*time.Minute, func() bool {
				ids := c.leader().host.voterIDs()
				return len(ids) == 3 && !slices.Contains(ids, n.name)
			})
		}
		c.write("two")
		away.start()
		eventually(t, "the node that was away knows all", time.Minute, func() bool { return away.machine.Index() == 2 })
	})
}

// A node that takes no part confirms no leader and proves nothing to one that is damaged.
func TestMuteNodeConfirmsNothing(t *testing.T) {
	t.Parallel()
	c := newDiskCluster(t, 3)
	defer c.stop()
	c.write(0, 10)
	for _, name := range []string{"n0", "n1", "n2"} {
		c.kill(name)
	}
	n := c.start("n0")
	for kind, want := range map[string]string{askTerm: "", askWithout: "what was seen of itself"} {
		a := n.host.answer(question{Kind: kind, From: "x", To: n.host.ID(), Cluster: n.host.ClusterID(), Term: n.host.raft.CurrentTerm()})
		if a.Yes || a.View != nil || !strings.Contains(a.Err, want) {
			t.Errorf("%s: %+v", kind, a)
		}
	}
}
