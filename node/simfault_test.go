package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/oklog/ulid/v2"
)

// The leader freezes with assignments on their way, and what it says after the next one leads starts nothing (A4b).
func TestSimFrozenLeaderHoldsAssignments(t *testing.T) {
	inCluster(t, 3, 4, simPrograms, func(t *testing.T, c *simCluster) {
		l := c.led()
		for _, o := range c.all() {
			if o != l {
				c.simNet.change(func() { c.simNet.cuts[[2]string{l.name, o.name}] = true })
			}
		}
		var ids []state.ExecutionID
		for range 9 {
			ids = append(ids, c.trigger("work", "2s"))
		}
		l.freeze()
		c.simNet.change(func() { clear(c.simNet.cuts) })
		time.Sleep(6 * time.Second)
		l.thaw()
		for _, id := range ids {
			c.value(id, 20*time.Second, `"2s"`)
		}
	})
}

// The node of the leader dies under load: the next one places nothing on it, so no run fails that had nothing there (A3).
func TestSimPlacesOnReconciledSessionsOnly(t *testing.T) {
	inCluster(t, 3, 8, simPrograms, func(t *testing.T, c *simCluster) {
		l := c.led()
		l.kill()
		began := c.clock()
		for range 20 {
			c.value(c.trigger("flow", "5ms"), 5*time.Second, `"5ms"`)
		}
		if took := c.clock() - began; took > simAbandon {
			t.Errorf("twenty short runs took %v", took)
		}
	})
}

// An agent that does not read: its stream is cut when its queue is full, the leader goes on, the agent reconciles (A18).
func TestSimSlowAgentIsCut(t *testing.T) {
	inCluster(t, 3, 2, simPrograms, func(t *testing.T, c *simCluster) {
		root, child := c.spread("4s")
		n, l := c.node(child.node), c.led()
		n.freeze()
		hub, session := l.coord.leader().hub, n.agent.session
		s := hub.stream(session)
		for i := range 2*maxQueuedFrames + 2 {
			s.send(&Frame{Outcome: &Outcome{Execution: fmt.Sprintf("Rnone:%d:1", i+1)}})
			if i == 10 {
				time.Sleep(10 * time.Millisecond) // what the sockets take
			}
		}
		c.value(c.trigger("flow", "1ms"), time.Second, `"1ms"`)
		c.eventually("the leader cuts the stream", time.Second, func() bool {
			_, there := hub.soft().Sessions[session]
			return !there
		})
		time.Sleep(time.Second)
		n.thaw()
		c.value(root, 20*time.Second, `"4s"`)
	})
}

// Waits of many shapes, each of which is decided while it is being made: no wake-up is lost and no slot (A1, A17).
func TestSimWakeUpsAreNotLost(t *testing.T) {
	programs := map[string]program{"work": work, "race": func(b *simBody, arg string) (string, error) {
		r := newProgramRand(arg)
		for range 40 {
			var handles []string
			for range 1 + r.IntN(3) {
				h, err := b.submit("work", fmt.Sprint(r.IntN(3000), "us"))
				if err != nil {
					return "", err
				}
				handles = append(handles, h)
			}
			b.sleep(time.Duration(r.IntN(4000)) * time.Microsecond)
			timeout := []time.Duration{-1, -1, 0, time.Millisecond, 3 * time.Millisecond}[r.IntN(5)]
			if _, err := b.selects(timeout, handles...); err != nil {
				return "", err
			}
			if r.IntN(2) == 0 {
				continue // the others are left alone
			}
			for _, h := range handles {
				if _, err := b.result(h); err != nil {
					return "", err
				}
			}
		}
		return "done", nil
	}}
	inCluster(t, 1, 1, programs, func(t *testing.T, c *simCluster) {
		for seed := range 12 {
			c.value(c.trigger("race", fmt.Sprint(seed)), time.Minute, `"done"`)
		}
		var ids []state.ExecutionID
		for seed := range 8 {
			ids = append(ids, c.trigger("race", fmt.Sprint(100+seed)))
		}
		for _, id := range ids {
			c.value(id, time.Minute, `"done"`)
		}
	})
}

// One of several awaited comes, then something else is awaited: the late ones of the first wait take no slot (A1).
func TestSimAnsweredWaitsHoldNoSlot(t *testing.T) {
	programs := map[string]program{"work": work, "first": func(b *simBody, how string) (string, error) {
		var handles []string
		for _, d := range []string{"10ms", "200ms"} {
			h, err := b.submit("work", d)
			if err != nil {
				return "", err
			}
			handles = append(handles, h)
		}
		timeout := time.Duration(-1)
		if how == "timeout" {
			timeout, handles = 50*time.Millisecond, handles[1:]
		}
		if _, err := b.selects(timeout, handles...); err != nil {
			return "", err
		}
		return b.call("work", "1ms")
	}}
	inCluster(t, 1, 1, programs, func(t *testing.T, c *simCluster) {
		for _, how := range []string{"winner", "timeout"} {
			c.value(c.trigger("first", how), 10*time.Second, `"1ms"`)
		}
	})
}

// What the leader says of an execution that the agent knows starts nothing, at whatever time it comes (A4).
func TestSimKnownExecutionsAreNotStartedAgain(t *testing.T) {
	inCluster(t, 3, 2, simPrograms, func(t *testing.T, c *simCluster) {
		id := c.trigger("work", "1s")
		c.eventually("it runs", time.Second, func() bool { return len(c.effects.of(id.String())) == 1 })
		l, n := c.led(), c.node(c.effects.of(id.String())[0].node)
		again := func() {
			view := l.store.View()
			l.coord.leader().hub.stream(n.agent.session).send(assignFrame(view, view.Execution(id)))
			time.Sleep(100 * time.Millisecond)
		}
		again()
		c.value(id, 5*time.Second, `"1s"`)
		time.Sleep(100 * time.Millisecond)
		again()
		if got := len(c.effects.of(id.String())); got != 1 {
			t.Errorf("%d bodies", got)
		}
	})
}

// stream of a session.
func (h *hub) stream(session string) stream {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.links[session].stream
}

// A cancellation that an agent could not be told of reaches it when it is back (I9, A3).
func TestSimCancelReachesAgentsThatWereAway(t *testing.T) {
	inCluster(t, 3, 2, simPrograms, func(t *testing.T, c *simCluster) {
		root, child := c.spread("1m")
		n, l := c.node(child.node), c.led()
		ways := [][2]string{{l.name, n.name}, {n.name, l.name}}
		c.simNet.change(func() { c.simNet.cuts[ways[0]], c.simNet.cuts[ways[1]] = true, true })
		c.cutStreams(n)
		w := l.store.View().WorkspaceByName("p", "w").ID
		if _, err := l.coord.do(t.Context(), &scheduler.Cancel{Workspace: w, Execution: root.String()}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		c.simNet.change(func() { clear(c.simNet.cuts) })
		c.eventually("the body is dead", 2*time.Second, func() bool { return c.effects.of(child.execution)[0].killed })
	})
}

// A stream on which nothing arrives any more, without an end: the agent opens another one before its lease is over (A5).
func TestSimHungStreamIsLeft(t *testing.T) {
	inCluster(t, 3, 2, simPrograms, func(t *testing.T, c *simCluster) {
		root, child := c.spread("30s")
		n := c.node(child.node)
		c.mu.Lock()
		for p := range c.pipes {
			if p.ends[0].node == n {
				c.simNet.change(func() { p.hung = true })
			}
		}
		c.mu.Unlock()
		c.value(root, time.Minute, `"30s"`)
	})
}

// A leader whose proposals or questions fail for a while without the end of its term goes on leading (I7).
func TestSimLeaderOutlivesPassingErrors(t *testing.T) {
	inCluster(t, 1, 2, simPrograms, func(t *testing.T, c *simCluster) {
		n := c.nodes[0]
		for _, fault := range []string{"propose", "confirm"} {
			n.sim.fail(fault, true)
			triggered := make(chan struct{})
			go func() { c.trigger("flow", "1ms"); close(triggered) }()
			time.Sleep(time.Second)
			// Something that changes nothing has to be confirmed too.
			go func() { _, _ = n.coord.do(t.Context(), &scheduler.LoseSession{Session: "none"}) }()
			time.Sleep(time.Second)
			n.sim.fail(fault, false)
			select {
			case <-triggered:
			case <-time.After(10 * time.Second):
				t.Fatal("the run is not triggered")
			}
		}
		n.sim.fail("confirm", true)
		n.coord.Stop()
		n.coord.Start()
		n.sim.events <- true
		time.Sleep(2 * time.Second)
		n.sim.fail("confirm", false)
		c.value(c.trigger("flow", "1ms"), 5*time.Second, `"1ms"`)
	})
}

// A step is run again while nobody can tell its agent: the new attempt waits until the old one is known to be dead (A15).
func TestSimAttemptsDoNotOverlap(t *testing.T) {
	inCluster(t, 3, 2, simPrograms, func(t *testing.T, c *simCluster) {
		id := c.trigger("work", "1m")
		c.eventually("it runs", time.Second, func() bool { return len(c.effects.of(id.String())) == 1 })
		l := c.led()
		way := [2]string{l.name, c.effects.of(id.String())[0].node}
		c.simNet.change(func() { c.simNet.cuts[way] = true })
		w := l.store.View().WorkspaceByName("p", "w").ID
		again := &scheduler.RerunStep{RequestID: ulid.Make().String(), Workspace: w, Step: id.StepID().String()}
		if reply, err := l.coord.do(t.Context(), again); err != nil || reply.Err != nil {
			t.Fatal(err, reply.Err)
		}
		time.Sleep(time.Second)
		c.simNet.change(func() { clear(c.simNet.cuts) })
		id.Attempt = 2
		c.eventually("the second attempt runs", 5*time.Second, func() bool { return len(c.effects.of(id.String())) == 1 })
		id.Attempt = 1
		first := c.effects.of(id.String())[0]
		id.Attempt = 2
		if second := c.effects.of(id.String())[0]; first.end == 0 || second.start < first.end {
			t.Errorf("the first lived until %v, the second began at %v", first.end, second.start)
		}
	})
}
