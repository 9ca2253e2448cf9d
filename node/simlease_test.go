package node

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// The lease that the tests run with.
const (
	simFence   = defaultFence * time.Millisecond
	simAbandon = defaultAbandon * time.Millisecond
)

// spread starts a run whose child works on another node than its parent and neither is the leader's.
func (c *simCluster) spread(each string) (root state.ExecutionID, child effect) {
	c.t.Helper()
	l := c.led()
	others := slices.DeleteFunc(c.all(), func(n *simNode) bool { return n == l })
	root = c.trigger("flow@"+others[0].name, others[1].name+" "+each)
	c.eventually("the child runs", 5*time.Second, func() bool { return len(c.effects.of(root.Run+":2:1")) == 1 })
	return root, c.effects.of(root.Run + ":2:1")[0]
}

func (c *simCluster) node(name string) *simNode {
	for _, n := range c.all() {
		if n.name == name {
			return n
		}
	}
	c.t.Fatalf("there is no node %s", name)
	return nil
}

// completed is when an execution got its result, as time since boot.
func (c *simCluster) completed(id string) time.Duration {
	parsed, _ := state.ParseExecutionID(id)
	return time.UnixMilli(c.led().store.View().Execution(parsed).CompletedAt).Sub(c.began)
}

// A node dies for good: what ran on it is abandoned within T_abandon + 5 s and not before its lease is over (A5, I7).
func TestSimNodeDies(t *testing.T) {
	inCluster(t, 3, 2, simPrograms, func(t *testing.T, c *simCluster) {
		root, child := c.spread("1m")
		died := c.clock()
		c.node(child.node).kill()
		r := c.await(root, simAbandon+5*time.Second)
		if r.Type != state.ResultError || !strings.Contains(r.Error.Message, "abandoned") {
			t.Errorf("the parent ended with %v %+v", r.Type, r.Error)
		}
		if after := c.completed(child.execution) - died; after < simAbandon-2*renewEvery || after > simAbandon+5*time.Second {
			t.Errorf("abandoned %v after the death", after)
		}
	})
}

// A node dies and what it ran may be tried again: another node does, and the caller sees only the value (A15, I10).
func TestSimRetryOnAnotherNode(t *testing.T) {
	inCluster(t, 3, 2, simPrograms, func(t *testing.T, c *simCluster) {
		l := c.led()
		var root state.ExecutionID
		var first effect
		for first.node == "" || first.node == l.name {
			root = c.trigger("sturdy@"+l.name, "3s")
			c.eventually("the child runs", 5*time.Second, func() bool { return len(c.effects.of(root.Run+":2:1")) == 1 })
			first = c.effects.of(root.Run + ":2:1")[0]
		}
		c.node(first.node).kill()
		c.value(root, simAbandon+10*time.Second, `"3s"`)
		again := c.effects.of(root.Run + ":2:2")
		if first = c.effects.of(first.execution)[0]; len(again) != 1 || again[0].node == first.node || again[0].start < first.end {
			t.Errorf("first %+v, then %+v", first, again)
		}
	})
}

// Whoever waits for an attempt that failed is told how the one after it ended.
func TestSimRetrySeenByOthers(t *testing.T) {
	inCluster(t, 3, 2, simPrograms, func(t *testing.T, c *simCluster) {
		c.value(c.trigger("pair", "500ms"), 5*time.Second, `"500ms"`)
	})
}

// Of three calls within their waiting time the last is made, and all callers get its value.
func TestSimDefer(t *testing.T) {
	inCluster(t, 3, 2, simPrograms, func(t *testing.T, c *simCluster) {
		var roots []state.ExecutionID
		for range 3 {
			roots = append(roots, c.trigger("late", "10ms"))
			time.Sleep(100 * time.Millisecond)
		}
		ran := 0
		for _, root := range roots {
			c.value(root, 5*time.Second, `"10ms"`)
			ran += len(c.effects.of(root.Run + ":2:1"))
		}
		if last := c.effects.of(roots[2].Run + ":2:1"); ran != 1 || len(last) != 1 {
			t.Errorf("%d of the calls were made, of the last one %d", ran, len(last))
		}
	})
}

// A frozen node: its guard kills what runs in time, its late words change nothing, and it comes back (A5, A6, I6).
func TestSimFrozenAgent(t *testing.T) {
	for name, length := range map[string]string{"the body outlives the lease": "1m", "the result waits": "3s"} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, 3, 2, simPrograms, func(t *testing.T, c *simCluster) {
				root, child := c.spread(length)
				n := c.node(child.node)
				frozen := c.clock()
				n.freeze()
				r := c.await(root, simAbandon+5*time.Second)
				if r.Type != state.ResultError || !strings.Contains(r.Error.Message, "abandoned") {
					t.Errorf("the parent ended with %v %+v", r.Type, r.Error)
				}
				end, abandoned := c.effects.of(child.execution)[0].end, c.completed(child.execution)
				if end == 0 || end > frozen+simFence || end >= abandoned {
					t.Errorf("frozen at %v: the body ended at %v, it was abandoned at %v", frozen, end, abandoned)
				}
				time.Sleep(5 * time.Second)
				n.thaw()
				c.serves(n)
				id, _ := state.ParseExecutionID(child.execution)
				if got := c.await(id, time.Second); got.Type != state.ResultAbandoned {
					t.Errorf("a late result was taken: %v", got.Type)
				}
			})
		})
	}
}

// serves waits until a node executes again.
func (c *simCluster) serves(n *simNode) {
	c.t.Helper()
	c.eventually(n.name+" executes again", 30*time.Second, func() bool {
		id := c.trigger("work", "50ms")
		c.value(id, 20*time.Second, `"50ms"`)
		return c.effects.of(id.String())[0].node == n.name
	})
}

// A pause that is shorter than the lease hurts nobody.
func TestSimShortFreeze(t *testing.T) {
	inCluster(t, 3, 2, simPrograms, func(t *testing.T, c *simCluster) {
		for _, n := range c.all() {
			root := c.trigger("wide", "6 10s")
			time.Sleep(time.Second)
			n.freeze()
			time.Sleep(5 * time.Second)
			n.thaw()
			c.value(root, time.Minute, `"6"`)
		}
	})
}

// The leader freezes for long: agents on other nodes move to the next leader, and no process of theirs is touched (A4, A5).
func TestSimFrozenLeaderTouchesNobody(t *testing.T) {
	inCluster(t, 3, 2, simPrograms, func(t *testing.T, c *simCluster) {
		var ids []state.ExecutionID
		for range 6 {
			ids = append(ids, c.trigger("work", "30s"))
		}
		time.Sleep(time.Second)
		l := c.led()
		l.freeze()
		time.Sleep(12 * time.Second)
		l.thaw()
		for _, id := range ids {
			if e := c.effects.of(id.String())[0]; e.node != l.name {
				c.value(id, 40*time.Second, `"30s"`)
			}
		}
		c.serves(l)
	})
}

// The same for a leader that is cut off without a word.
func TestSimIsolatedLeaderTouchesNobody(t *testing.T) {
	inCluster(t, 3, 2, simPrograms, func(t *testing.T, c *simCluster) {
		var ids []state.ExecutionID
		for range 6 {
			ids = append(ids, c.trigger("work", "30s"))
		}
		time.Sleep(time.Second)
		l := c.led()
		c.isolate(l, true)
		time.Sleep(20 * time.Second)
		c.isolate(l, false)
		for _, id := range ids {
			e := c.effects.of(id.String())[0]
			if r := c.await(id, 40*time.Second); e.node != l.name && r.Type != state.ResultValue {
				t.Errorf("%s on %s: %v", id, e.node, r.Type)
			} else if e.node == l.name && (r.Type != state.ResultAbandoned || e.end > c.completed(id.String())) {
				t.Errorf("%s on the cut-off node ended at %v and got %v at %v", id, e.end, r.Type, c.completed(id.String()))
			}
		}
		c.serves(l)
	})
}

// A deposed leader that does not know it yet answers no renewal (A5).
func TestSimDeposedLeaderExtendsNoLease(t *testing.T) {
	inCluster(t, 3, 2, simPrograms, func(t *testing.T, c *simCluster) {
		l := c.led()
		var others []*simNode
		for _, n := range c.all() {
			if n != l {
				others = append(others, n)
			}
		}
		for _, a := range others {
			for _, b := range others { // the agents reach no other leader
				c.simNet.change(func() { c.simNet.cuts[[2]string{a.name, b.name}] = true })
			}
		}
		c.loyal.Store(true)
		l.freeze()
		time.Sleep(2500 * time.Millisecond)
		if next := c.leader(); next == nil || next == l {
			t.Fatal("nobody else leads")
		}
		before := map[*simNode]time.Duration{}
		for _, n := range others {
			before[n] = n.fenceAt()
		}
		l.thaw()
		time.Sleep(staleFor / 2)
		for _, n := range others {
			if at := n.fenceAt(); at != before[n] {
				t.Errorf("the lease of %s moved from %v to %v", n.name, before[n], at)
			}
		}
	})
}

func (n *simNode) fenceAt() time.Duration {
	n.agent.mu.Lock()
	defer n.agent.mu.Unlock()
	return n.agent.lease.fenceAt
}

// The lease is renewed in the moment in which it ends: whatever the guard has done by then, bodies can run again (A5, A6).
func TestSimLeaseRenewedAsItEnds(t *testing.T) {
	inCluster(t, 1, 2, simPrograms, func(t *testing.T, c *simCluster) {
		n := c.nodes[0]
		self := [2]string{n.name, n.name}
		for offset := -40 * time.Millisecond; offset <= 80*time.Millisecond; offset += 10 * time.Millisecond {
			id := c.trigger("work", "20s")
			time.Sleep(time.Second)
			c.simNet.change(func() { c.simNet.cuts[self] = true })
			time.Sleep(n.fenceAt() - c.clock() + offset)
			c.simNet.change(func() { clear(c.simNet.cuts) })
			c.value(c.trigger("flow", "1ms"), 5*time.Second, `"1ms"`)
			if r := c.await(id, 30*time.Second); r.Type != state.ResultValue && r.Type != state.ResultAbandoned {
				t.Errorf("offset %v: %v %+v", offset, r.Type, r.Error)
			}
		}
	})
}

// The lease counts from the moment at which the answered renewal was sent, however late the answer is read (A5).
func TestSimLeaseCountsFromTheSending(t *testing.T) {
	for _, offset := range []time.Duration{0, 300 * time.Millisecond, 600 * time.Millisecond} {
		t.Run(offset.String(), func(t *testing.T) {
			inCluster(t, 3, 2, simPrograms, func(t *testing.T, c *simCluster) {
				_, child := c.spread("1m")
				n := c.node(child.node)
				c.simNet.change(func() { c.simNet.latency = 300 * time.Millisecond })
				time.Sleep(2*time.Second + offset)
				n.freeze()
				time.Sleep(6 * time.Second)
				c.isolate(n, true)
				n.thaw()
				c.isolateRaft(n, true)
				id, _ := state.ParseExecutionID(child.execution)
				c.await(id, simAbandon)
				if end, at := c.effects.of(child.execution)[0].end, c.completed(child.execution); end == 0 || end > at {
					t.Errorf("the body ended at %v, it was abandoned at %v", end, at)
				}
				c.isolate(n, false)
			})
		})
	}
}

// An agent whose guard does nothing fences itself (A5).
func TestSimAgentFencesWithoutItsGuard(t *testing.T) {
	inCluster(t, 3, 2, simPrograms, func(t *testing.T, c *simCluster) {
		_, child := c.spread("1m")
		n := c.node(child.node)
		n.runner.disarm()
		c.isolate(n, true)
		id, _ := state.ParseExecutionID(child.execution)
		c.await(id, simAbandon+5*time.Second)
		if end, at := c.effects.of(child.execution)[0].end, c.completed(child.execution); end == 0 || end > at {
			t.Errorf("the body ended at %v, it was abandoned at %v", end, at)
		}
		c.isolate(n, false)
	})
}
