package node

import (
	"strings"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// check decides from the bodies' own books and the final state whether the invariants held.
func (n *nemesis) check() {
	l := n.led()
	view := l.store.View()
	n.replicasAgree(l)
	n.acknowledged(view)
	bodies := n.bodies(view)
	for run := range view.RunsByWorkspace(view.WorkspaceByName("p", "w").ID, 0, "") {
		for e := range view.RunExecutions(run.ID, 0) {
			n.execution(e, bodies[e.ID().String()])
		}
		n.attempts(view, run.ID, bodies)
	}
	n.readings(view)
}

// replicasAgree: the same index, the same digest (I14).
func (n *nemesis) replicasAgree(l *simNode) {
	n.t.Helper()
	n.eventually("all replicas reach one index", 10*time.Second, func() bool {
		index, digest := l.store.Digest()
		for _, o := range n.live() {
			i, d := o.store.Digest()
			if i != index {
				return false
			}
			if d != digest {
				n.t.Errorf("replica %s differs from %s at index %d", o.name, l.name, index)
			}
		}
		return true
	})
}

// acknowledged: what a client was told exists (I1).
func (n *nemesis) acknowledged(view *state.View) {
	for _, id := range n.acked {
		if view.Execution(id) == nil {
			n.t.Errorf("run %s was acknowledged and is gone", id.Run)
		}
	}
}

// bodies by execution: at most one each, of executions that exist and were given to that node (I2, I5).
func (n *nemesis) bodies(view *state.View) map[string]effect {
	out := map[string]effect{}
	for _, b := range n.effects.list() {
		if _, twice := out[b.execution]; twice {
			n.t.Errorf("execution %s had two bodies", b.execution)
		}
		out[b.execution] = b
		id, _ := state.ParseExecutionID(b.execution)
		e := view.Execution(id)
		if e == nil {
			n.t.Errorf("execution %s ran on %s and does not exist", b.execution, b.node)
			continue
		}
		for _, o := range n.live() {
			if o.name == b.node && o.id != e.Node {
				n.t.Errorf("execution %s ran on %s and was given to node %s", b.execution, b.node, e.Node)
			}
		}
		if b.end == 0 {
			n.t.Errorf("the body of %s on %s is still alive", b.execution, b.node)
		}
	}
	return out
}

// execution: its result is what its body said, or its body was dead before the result was recorded (I4, I6).
func (n *nemesis) execution(e *state.Execution, b effect) {
	if e.Result == nil {
		n.t.Errorf("execution %s has no result", e.ID())
		return
	}
	ran, id := b.execution != "", e.ID().String()
	switch e.Result.Type {
	case state.ResultValue:
		if !ran || b.killed && b.said == "" || string(e.Result.Value.Data) != `"`+id+`"` || b.said != id {
			n.t.Errorf("execution %s has the value %s; its body: %+v", id, e.Result.Value.Data, b)
		}
	case state.ResultError:
		if !ran || b.said != "!"+e.Result.Error.Message || e.Result.Error.Type == "internal" {
			n.t.Errorf("execution %s has the error %+v; its body: %+v", id, e.Result.Error, b)
		}
		if !strings.Contains(e.Result.Error.Message, "raised by "+id) {
			n.t.Errorf("the body of %s heard of a fault that is none of its business: %s", id, e.Result.Error.Message)
		}
	case state.ResultAbandoned:
		at := time.UnixMilli(e.CompletedAt + 1).Sub(n.began)
		if ran && b.end > at {
			n.t.Errorf("execution %s was abandoned at %v and its body lived until %v", id, at, b.end)
		}
		if ran && !n.hurt[b.node] {
			n.t.Errorf("execution %s on %s was abandoned although nothing had happened there: %s", id, b.node, e.Result.Reason)
		}
	}
}

// attempts of a step never overlap (A15, I10).
func (n *nemesis) attempts(view *state.View, run string, bodies map[string]effect) {
	for s := range view.Steps(run) {
		var last effect
		for e := range view.Attempts(s.ID()) {
			b, ran := bodies[e.ID().String()]
			if !ran {
				continue
			}
			if last.execution != "" && b.start < last.end {
				n.t.Errorf("%s began at %v while %s lived until %v", b.execution, b.start, last.execution, last.end)
			}
			last = b
		}
		n.retried(view, s)
	}
}

// retried: a failure is followed by another attempt while there are retries left, and by none after that (I10).
func (n *nemesis) retried(view *state.View, s *state.Step) {
	row := 0
	for e := range view.Attempts(s.ID()) {
		if !e.Result.Type.Failed() {
			row = 0
			continue
		}
		if more := s.Retries != nil && (s.Retries.Limit == nil || row < *s.Retries.Limit); more != (e.Result.Retry != 0) {
			n.t.Errorf("execution %s is failure %d in a row of %+v and is followed by attempt %d", e.ID(), row+1, s.Retries, e.Result.Retry)
		}
		row++
	}
}

// readings: whatever a body was told of another execution is what is recorded of it (I8).
func (n *nemesis) readings(view *state.View) {
	status := map[state.ResultType]string{state.ResultValue: "ok", state.ResultError: "error", state.ResultAbandoned: "abandoned",
		state.ResultCancelled: "cancelled", state.ResultTimeout: "timeout"}
	n.effects.mu.Lock()
	defer n.effects.mu.Unlock()
	for _, r := range n.effects.read {
		id, _ := state.ParseExecutionID(r.execution)
		e := view.Execution(id)
		for e != nil && e.Result != nil && (e.Result.Retry != 0 || e.Result.Link != "") {
			if id.Attempt = e.Result.Retry; e.Result.Link != "" {
				id, _ = state.ParseExecutionID(e.Result.Link)
			}
			e = view.Execution(id)
		}
		if e == nil || e.Result == nil || status[e.Result.Type] != r.status {
			n.t.Errorf("%s was told that %s ended with %s, which is not recorded", r.reader, r.execution, r.status)
		} else if e.Result.Type == state.ResultValue && r.value != string(e.Result.Value.Data) {
			n.t.Errorf("%s was given %s as the value of %s", r.reader, r.value, r.execution)
		}
	}
}
