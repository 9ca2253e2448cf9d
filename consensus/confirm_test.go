package consensus

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// A caller that arrives while a round is under way must not be served by that round: its answers may be older than the
// call. Here the first round asks in term 1 and ends after the voters have moved on.
func TestCallersDuringARoundShareTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		rounds := make(chan int, 10)
		n := 0
		c := &confirmer{
			self: "a", wake: make(chan struct{}, 1), timeout: time.Minute,
			leading: func() (uint64, bool) { return 1, true },
			voters:  func() []string { n++; rounds <- n; return []string{"a", "b", "c"} },
			ask: func(ctx context.Context, id string, term uint64) (answer, error) {
				if n == 1 {
					<-release // this yes was given long ago
					return answer{Yes: true, Term: 1}, nil
				}
				return answer{Term: 2}, nil
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		c.start(ctx)
		early := make(chan error, 1)
		go func() { _, err := c.confirm(ctx); early <- err }()
		<-rounds
		late := make(chan error, 2)
		for range 2 {
			go func() { _, err := c.confirm(ctx); late <- err }()
		}
		synctest.Wait()
		close(release)
		if err := <-early; err != nil {
			t.Fatalf("the first caller: %v", err)
		}
		for range 2 {
			if err := <-late; !errors.Is(err, ErrNotLeader) {
				t.Fatalf("a later caller got %v, want ErrNotLeader", err)
			}
		}
		synctest.Wait()
		if len(rounds) != 1 {
			t.Fatalf("two callers that came together took %d rounds", len(rounds))
		}
		cancel()
		c.wg.Wait()
		if _, err := c.confirm(t.Context()); !errors.Is(err, ErrStopped) {
			t.Fatalf("after the end: %v", err)
		}
	})
}

func TestConfirmNeedsAMajority(t *testing.T) {
	t.Parallel()
	yes := answer{Yes: true, Term: 4}
	for name, tc := range map[string]struct {
		voters  []string
		answers map[string]answer
		want    error
		clocks  int
	}{
		"alone":           {voters: []string{"a"}, clocks: 1},
		"both of two":     {voters: []string{"a", "b"}, answers: map[string]answer{"b": yes}, clocks: 2},
		"one of two":      {voters: []string{"a", "b"}, want: ErrNoQuorum},
		"two of three":    {voters: []string{"a", "b", "c"}, answers: map[string]answer{"c": yes}, clocks: 2},
		"a later term":    {voters: []string{"a", "b", "c"}, answers: map[string]answer{"b": {Term: 5}}, want: ErrNotLeader},
		"an earlier term": {voters: []string{"a", "b", "c"}, answers: map[string]answer{"b": {Term: 3}, "c": {Term: 3}}, want: ErrNoQuorum},
		"not a voter":     {voters: []string{"b", "c", "d"}, answers: map[string]answer{"b": yes}, want: ErrNoQuorum},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &confirmer{
				self: "a", timeout: time.Minute,
				leading: func() (uint64, bool) { return 4, true },
				voters:  func() []string { return tc.voters },
				ask: func(_ context.Context, id string, _ uint64) (answer, error) {
					if a, ok := tc.answers[id]; ok {
						return a, nil
					}
					return answer{}, errors.New("unreachable")
				},
			}
			conf, err := c.round(t.Context())
			c.wg.Wait()
			if !errors.Is(err, tc.want) || len(conf.Clocks) != tc.clocks {
				t.Fatalf("got %v with %d clocks, want %v with %d", err, len(conf.Clocks), tc.want, tc.clocks)
			}
		})
	}
}

// The interleaving of rules A5: a leader that was frozen wakes with the replies of its followers in its buffers, although
// they follow another leader by now. hashicorp/raft counts such a reply for a VerifyLeader that was called after it was
// sent; ConfirmTerm must not.
func TestBufferedRepliesConfirmNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		defer c.stop()
		// Leases of 6 s let the old leader believe in itself for as long as a freeze would.
		c.tune = func(_ string, cfg *Config) { cfg.Multiplier = 20 }
		for _, name := range []string{"n0", "n1", "n2"} {
			c.add(name).start()
		}
		if err := c.nodes[0].host.Bootstrap(); err != nil {
			t.Fatal(err)
		}
		old := c.nodes[0].host
		eventually(t, "three voters", 10*time.Minute, func() bool { return len(old.voterIDs()) == 3 })
		time.Sleep(5 * time.Second)
		if _, err := old.ConfirmTerm(t.Context()); err != nil {
			t.Fatalf("while all is well: %v", err)
		}

		c.net.Cut("n1", "n0", true) // replies to the old leader wait in its buffers from now on
		c.net.Cut("n2", "n0", true)
		time.Sleep(2 * time.Second) // a heartbeat to each is answered
		c.net.Cut("n0", "n1", true)
		c.net.Cut("n0", "n2", true)
		forceElection(t, c, c.nodes[1])
		next := c.nodes[1].host
		eventually(t, "another leader", 2*time.Second, func() bool { _, err := next.ConfirmTerm(t.Context()); return err == nil })

		verify := old.raft.VerifyLeader()
		synctest.Wait()
		c.net.Cut("n2", "n0", false) // the old leader wakes
		if err := verify.Error(); err != nil {
			t.Logf("this version of raft is not taken in: %v", err)
		}
		if _, leads := old.leadingTerm(); !leads {
			t.Fatal("the old leader has noticed: the test shows nothing")
		}
		c.net.Cut("n0", "n2", false)
		if _, err := old.ConfirmTerm(t.Context()); !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrNoQuorum) {
			t.Fatalf("ConfirmTerm of the old leader: %v", err)
		}
	})
}

// testerTransport calls as a node of n's cluster would.
func testerTransport(c *testCluster, n *testNode) *raft.NetworkTransport {
	stream := newStreamLayer("tester", n.host.ClusterID, &subListener{done: make(chan struct{})}, c.net.Host("tester"), c.lookup)
	close(stream.voice)
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: stream, Timeout: time.Minute, Logger: hclog.NewNullLogger()})
}

// forceElection makes a node a candidate at once, as the target of a transfer of leadership.
func forceElection(t *testing.T, c *testCluster, n *testNode) {
	t.Helper()
	trans := testerTransport(c, n)
	defer trans.Close()
	var resp raft.TimeoutNowResponse
	req := &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3}}
	if err := trans.TimeoutNow(raft.ServerID(n.name), raft.ServerAddress(n.name), req, &resp); err != nil {
		t.Fatal(err)
	}
}
