package node

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/oklog/ulid/v2"
)

// leader is a live node that a majority confirms and whose leader runs; nil when there is none just now.
func (c *simCluster) leader() *simNode {
	for _, n := range c.live() {
		if n.coord.leader() == nil || c.isFrozen(n) {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := n.coord.readIndex(ctx)
		cancel()
		if err == nil {
			return n
		}
	}
	return nil
}

func (c *simCluster) isFrozen(n *simNode) bool {
	c.simNet.mu.Lock()
	defer c.simNet.mu.Unlock()
	return c.simNet.frozen[n.name]
}

// led waits for a leader.
func (c *simCluster) led() *simNode {
	c.t.Helper()
	var l *simNode
	c.eventually("a leader", 30*time.Second, func() bool { l = c.leader(); return l != nil })
	return l
}

// eventually polls in virtual time.
func (c *simCluster) eventually(what string, within time.Duration, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.dump()
			c.t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// trigger starts a run as a client does: the same request to whoever leads until it is answered.
func (c *simCluster) trigger(target, arg string) state.ExecutionID {
	c.t.Helper()
	text, _ := json.Marshal(arg)
	r := &scheduler.SubmitRun{RequestID: ulid.Make().String(), Module: "m", Target: target, Arguments: []state.Value{{Data: text}}}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		l := c.leader()
		if l == nil {
			continue
		}
		if r.Workspace == "" {
			w := l.store.View().WorkspaceByName("p", "w")
			if w == nil {
				continue
			}
			r.Workspace = w.ID
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		reply, err := l.coord.do(ctx, r)
		cancel()
		if err != nil {
			continue
		}
		if reply.Err != nil {
			c.t.Fatal(reply.Err)
		}
		id, _ := state.ParseExecutionID(reply.Answer.ExecutionID)
		return id
	}
	c.t.Fatal("a run could not be triggered within a minute")
	return state.ExecutionID{}
}

// await waits for an execution's result.
func (c *simCluster) await(id state.ExecutionID, within time.Duration) *state.Result {
	c.t.Helper()
	var result *state.Result
	c.eventually(fmt.Sprintf("execution %s has its result", id), within, func() bool {
		if l := c.leader(); l != nil {
			result = scheduler.Outcome(l.store.View(), id)
		}
		return result != nil
	})
	return result
}

// value waits for a result that must be a value.
func (c *simCluster) value(id state.ExecutionID, within time.Duration, want string) {
	c.t.Helper()
	r := c.await(id, within)
	if r.Type != state.ResultValue || string(r.Value.Data) != want {
		c.dump()
		c.t.Fatalf("execution %s ended with %v %+v %+v %s, want %s", id, r.Type, r.Error, r.Value, r.Reason, want)
	}
}

// dump logs what is left to do.
func (c *simCluster) dump() {
	for _, n := range c.live() {
		_, term, self := n.host.Leader()
		c.t.Logf("%s index %d term %d raft-leader %v leads %v frozen %v", n.name, n.store.Index(), term, self, n.coord.leader() != nil, c.isFrozen(n))
		if l := n.coord.leader(); l != nil {
			for id, s := range l.hub.soft().Sessions {
				c.t.Logf("   session %s running %d roots %d", id, s.Running, s.Roots)
			}
			open := 0
			for e := range n.store.View().Unfinished(n.store.View().WorkspaceByName("p", "w").ID) {
				if open++; open < 30 {
					c.t.Logf("   open %s session %q due %v", e.ID(), e.Session, e.Due)
				}
			}
		}
	}
}
