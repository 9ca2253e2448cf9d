package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
)

// An entry that was decided on before the lead was lost and won back must change nothing (rules A8).
func TestEntryFromBeforeAFlapIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		defer c.stop()
		c.grow(3)
		c.write("a")
		first := c.leader()
		stale := entryOn(first.machine.Index(), "decided before the flap")
		if !<-first.host.LeadershipEvents() {
			t.Fatal("the first event of a leader is not true")
		}

		if err := first.host.TransferLeadership(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.write("b")
		for c.leader() != first {
			if err := c.leader().host.TransferLeadership(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if err := first.host.Propose(t.Context(), stale); !errors.Is(err, ErrRefused) {
			t.Fatalf("the stale entry: %v, want ErrRefused", err)
		}
		if lost, won := <-first.host.LeadershipEvents(), <-first.host.LeadershipEvents(); lost || !won {
			t.Fatalf("the flap is seen as %v, %v", lost, won)
		}
		c.write("c")
		time.Sleep(time.Second)
		for _, n := range c.nodes {
			if diff := cmp.Diff([]string{"a", "b", "c"}, n.machine.snapshot()); diff != "" {
				t.Fatalf("node %s: %s", n.name, diff)
			}
		}
	})
}

// What a cut-off leader proposes is unknown to it, never a success.
func TestProposalWithoutQuorumIsUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		defer c.stop()
		c.grow(3)
		c.write("a")
		old := c.leader()
		for _, n := range c.nodes {
			if n != old {
				c.net.CutBoth(old.name, n.name, true)
			}
		}
		if err := old.host.Propose(t.Context(), entryOn(1, "lost")); !errors.Is(err, ErrUnknown) {
			t.Fatalf("a proposal without a quorum: %v", err)
		}
		if err := old.host.Propose(t.Context(), entryOn(1, "late")); !errors.Is(err, ErrNotLeader) {
			t.Fatalf("a proposal of a former leader: %v", err)
		}
		eventually(t, "a new leader", 10*time.Second, func() bool {
			for _, n := range c.nodes {
				if _, err := n.host.ConfirmTerm(t.Context()); n != old && err == nil {
					return true
				}
			}
			return false
		})
		for _, n := range c.nodes {
			c.net.CutBoth(old.name, n.name, false)
		}
		c.write("b")
		time.Sleep(5 * time.Second)
		if diff := cmp.Diff([]string{"a", "b"}, old.machine.snapshot()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// A node that can not apply an entry halts before it; nothing after it is applied.
func TestUnknownEntryHaltsEveryNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		defer c.stop()
		c.grow(3)
		c.write("a")
		if err := c.leader().host.Propose(t.Context(), entryOn(1, "unknown")); !errors.Is(err, ErrUnknown) {
			t.Fatalf("the proposer is told %v", err)
		}
		time.Sleep(5 * time.Second)
		for _, n := range c.nodes {
			var halt *HaltError
			if f := n.fatals(); len(f) != 1 || !errors.As(f[0], &halt) {
				t.Fatalf("node %s: %v", n.name, f)
			}
			if diff := cmp.Diff([]string{"a"}, n.machine.snapshot()); diff != "" {
				t.Fatalf("node %s: %s", n.name, diff)
			}
		}
	})
}

// faultyStore fails writes on demand.
type faultyStore struct {
	*raft.InmemStore
	err atomic.Value // of error
}

func (s *faultyStore) fault() error {
	if err, ok := s.err.Load().(error); ok && err != syscall.Errno(0) {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func (s *faultyStore) StoreLogs(logs []*raft.Log) error {
	if err := s.fault(); err != nil {
		return err
	}
	return s.InmemStore.StoreLogs(logs)
}

func (s *faultyStore) Set(k, v []byte) error {
	if err := s.fault(); err != nil {
		return err
	}
	return s.InmemStore.Set(k, v)
}

func faultyCluster(t *testing.T) *testCluster {
	c := newTestCluster(t)
	for i := range 3 {
		n := c.add(fmt.Sprintf("n%d", i))
		n.store = &faultyStore{InmemStore: raft.NewInmemStore()}
		n.start()
	}
	if err := c.nodes[0].host.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all voters", time.Minute, func() bool { return c.voterCount() == 3 })
	return c
}

// A full disk refuses the write and gives the lead to another node; with space again the node catches up by itself.
func TestFullDiskStepsDownAndGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := faultyCluster(t)
		defer c.stop()
		c.write("a")
		full := c.leader()
		full.store.(*faultyStore).err.Store(syscall.ENOSPC)
		if err := full.host.Propose(t.Context(), entryOn(1, "refused")); !errors.Is(err, ErrUnknown) {
			t.Fatalf("a proposal on a full disk: %v", err)
		}
		c.write("b")
		if c.leader() == full {
			t.Fatal("the node with the full disk leads")
		}
		full.store.(*faultyStore).err.Store(syscall.Errno(0))
		eventually(t, "the node caught up", 30*time.Second, func() bool { return full.machine.Index() == 2 })
		if f := full.fatals(); len(f) > 0 {
			t.Fatal(f)
		}
	})
}

// After a failed write nobody knows what is on the disk: the node stops itself.
func TestFailedWriteStopsTheNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := faultyCluster(t)
		defer c.stop()
		c.write("a")
		bad := c.leader()
		bad.store.(*faultyStore).err.Store(syscall.EIO)
		if err := bad.host.Propose(t.Context(), entryOn(1, "b")); !errors.Is(err, ErrUnknown) {
			t.Fatalf("a proposal on a failing disk: %v", err)
		}
		eventually(t, "the sentence", time.Second, func() bool { return len(bad.fatals()) == 1 })
		if f := bad.fatals(); !errors.Is(f[0], syscall.EIO) {
			t.Fatal(f)
		}
		bad.kill()
		c.write("c")
	})
}

// The end of a host ends its callers too.
func TestStopEndsWaiters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		defer c.stop()
		c.grow(1)
		n := c.nodes[0]
		done := make(chan error, 1)
		go func() {
			var err error
			for i := uint64(0); err == nil; i++ {
				err = n.host.Propose(context.Background(), entryOn(i, "x"))
				time.Sleep(time.Millisecond)
			}
			done <- err
		}()
		time.Sleep(time.Second)
		n.kill()
		if err := <-done; !errors.Is(err, ErrStopped) && !errors.Is(err, ErrUnknown) {
			t.Fatal(err)
		}
		n.host.Stop()
	})
}
