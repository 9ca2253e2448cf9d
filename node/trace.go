package node

import (
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/scheduler"
)

// traceRing is how many stages a node remembers.
const traceRing = 1 << 16

// TraceEvent is one stage that an execution reached on this node.
type TraceEvent struct {
	ExecutionID string `json:"executionId"`
	Stage       string `json:"stage"`
	Node        string `json:"node"`
	// At is wall-clock time, nanoseconds; comparable between nodes as far as their clocks agree.
	At int64 `json:"at"`
}

// tracer remembers when executions reached their stages, in a ring: enough to say where the time of a recent call went.
// A nil tracer remembers nothing.
type tracer struct {
	node string

	mu   sync.Mutex // guards the rest
	ring []TraceEvent
	next int
}

func newTracer(node string) *tracer { return &tracer{node: node} }

func (t *tracer) at(execution, stage string) {
	t.noted(execution, stage, time.Now())
}

// noted notes a stage that was reached at a time in the past.
func (t *tracer) noted(execution, stage string, at time.Time) {
	if t == nil || execution == "" {
		return
	}
	e := TraceEvent{execution, stage, t.node, at.UnixNano()}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.ring) < traceRing {
		t.ring = append(t.ring, e)
		return
	}
	t.ring[t.next] = e
	t.next = (t.next + 1) % traceRing
}

// turn notes the stages of one turn of the leader's loop for all calls and results in it.
func (t *tracer) turn(decided []*pending, out scheduler.Output, began, proposed time.Time) {
	if t == nil {
		return
	}
	committed := time.Now()
	for _, e := range out.Events {
		if e.Kind == scheduler.EventAssigned {
			id := e.Execution.String()
			t.noted(id, "batch_started", began)
			t.noted(id, "proposed", proposed)
			t.noted(id, "committed", committed)
		}
	}
	for i, p := range decided {
		switch r := p.request.(type) {
		case *scheduler.SubmitStep:
			t.noted(out.Replies[i].Answer.ExecutionID, "request_queued", p.at)
		case *scheduler.ReportResult:
			t.noted(r.Execution, "result_queued", p.at)
			t.noted(r.Execution, "result_proposed", proposed)
			t.noted(r.Execution, "result_committed", committed)
		}
	}
}

// of gives the stages of one execution, in the order in which they were noted.
func (t *tracer) of(execution string) (events []TraceEvent) {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.ring {
		if e := t.ring[(t.next+i)%len(t.ring)]; e.ExecutionID == execution {
			events = append(events, e)
		}
	}
	return events
}

func (n *Node) traceBody(execution, stage string) {
	if stage == "written" {
		n.trace.at(execution, "execute_written")
	}
}
