package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/coflux-mesh/coflux/cmd/internal/checker"
	"github.com/coflux-mesh/coflux/node/api/client"
)

// history records what the clients of a mesh did and saw.
type history struct {
	mu     sync.Mutex
	last   int64
	events []checker.Event
}

func newHistory() *history { return &history{} }

// boottime is the clock that all processes of the machine share.
func boottime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

// invoke notes the begin of an operation; what it returns notes its end, with what e was filled with meanwhile.
func (h *history) invoke(e checker.Event) (end func(seen checker.Event, err error)) {
	h.mu.Lock()
	h.last++
	e.Type, e.ID, e.Phase = checker.TypeOp, h.last, "invoke"
	h.mu.Unlock()
	h.add(e)
	return func(seen checker.Event, err error) {
		e.Phase, e.Status, e.Value, e.Index = "ok", seen.Status, seen.Value, seen.Index
		if seen.Run != "" {
			e.Run = seen.Run
		}
		if err != nil {
			e.Phase, e.Error = "info", err.Error()
			var refused *client.Error
			if errors.As(err, &refused) && refused.Status < 500 {
				e.Phase, e.Error = "fail", refused.Code
			}
		}
		h.add(e)
	}
}

func (h *history) add(e checker.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e.At = boottime()
	h.events = append(h.events, e)
}

// nemesis notes a fault.
func (h *history) nemesis(what string, n *node) {
	h.add(checker.Event{Type: checker.TypeNemesis, Event: what, Node: n.name})
}

// all is the history until now.
func (h *history) all() []checker.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]checker.Event(nil), h.events...)
}

// arguments makes the JSON texts of a call.
func arguments(values ...any) (texts []string) {
	for _, v := range values {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		texts = append(texts, string(b))
	}
	return texts
}

// try submits a run whose first argument is the token, and records it.
func (m *mesh) try(ctx context.Context, n *node, target, token string, more ...any) (run string, err error) {
	end := m.hist.invoke(checker.Event{Op: "submit", Client: token, Node: n.name, Token: token})
	got, err := n.client.Submit(ctx, client.SubmitRequest{WorkspaceID: m.workspace, Module: "flows", Target: target,
		Arguments: arguments(append([]any{token}, more...)...)})
	end(checker.Event{Run: got.RunID}, err)
	return got.RunID, err
}

// trigger submits a run like a client that knows several nodes: what one does not answer it asks of the next, with the
// same request id.
func (m *mesh) trigger(ctx context.Context, nodes []*node, target, token string, more ...any) (run string, err error) {
	return m.triggerWith(ctx, nodes, "", target, token, more...)
}

// triggerWith is trigger with an idempotency key.
func (m *mesh) triggerWith(ctx context.Context, nodes []*node, key, target, token string, more ...any) (run string, err error) {
	end := m.hist.invoke(checker.Event{Op: "submit", Client: token, Node: nodes[0].name, Token: token, Key: key})
	q := client.SubmitRequest{WorkspaceID: m.workspace, Module: "flows", Target: target, RequestID: ulid.Make().String(), IdempotencyKey: key,
		Arguments: arguments(append([]any{token}, more...)...)}
	if target == "trek" {
		q.Options = map[string]json.RawMessage{"durable": json.RawMessage("true")}
	}
	for i := 0; ; i++ {
		short, stop := context.WithTimeout(ctx, 2*time.Second)
		got, err := nodes[i%len(nodes)].client.Submit(short, q)
		stop()
		var refused *client.Error
		if err == nil || ctx.Err() != nil || errors.As(err, &refused) && refused.Status < 500 {
			end(checker.Event{Run: got.RunID}, err)
			return got.RunID, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// submit submits a run that must be taken.
func (m *mesh) submit(n *node, target, token string, more ...any) string {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	run, err := m.try(ctx, n, target, token, more...)
	if err != nil {
		m.t.Fatalf("submit %s through %s: %v", token, n.name, err)
	}
	return run
}

// result waits for the outcome of a run, whatever becomes of leaders meanwhile, and records it.
func (m *mesh) result(n *node, run string, timeout time.Duration) (*client.Result, error) {
	end := m.hist.invoke(checker.Event{Op: "result", Client: run, Node: n.name, Run: run})
	r, err := awaitResult(m.t.Context(), n, m.workspace, run, timeout)
	end(final(r), err)
	return r, err
}

func awaitResult(ctx context.Context, n *node, workspace, run string, timeout time.Duration) (*client.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var last error
	for ctx.Err() == nil {
		got, err := n.client.AwaitRun(ctx, workspace, run, 10*time.Second)
		switch {
		case err == nil && got.Done:
			return got.Result, nil
		case client.IsCode(err, client.CodeNotFound):
			return nil, err
		case err != nil:
			last = err
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
	return nil, fmt.Errorf("no outcome of %s within %s through %s; the last error: %w", run, timeout, n.name, errors.Join(last, ctx.Err()))
}

// outcome is a result in the words of the checker.
func outcome(r *client.Result) checker.Event {
	switch {
	case r == nil:
		return checker.Event{}
	case r.Value != nil:
		return checker.Event{Status: r.Type, Value: compact(string(r.Value.Data))}
	case r.Error != nil:
		return checker.Event{Status: r.Type, Value: r.Error.Type + ": " + r.Error.Message}
	}
	return checker.Event{Status: r.Type}
}

// final is what whoever waits for a result sees: what links lead to, unfinished if that has no outcome yet.
func final(r *client.Result) checker.Event {
	for r != nil && !r.Open() && r.Execution != nil {
		r = r.Result
	}
	if r == nil || r.Open() {
		return checker.Event{Status: "unfinished"}
	}
	return outcome(r)
}

// value waits for a run that must succeed and returns its value's JSON text.
func (m *mesh) value(n *node, run string) string {
	m.t.Helper()
	r, err := m.result(n, run, patience)
	if err != nil {
		m.t.Fatal(err)
	}
	if r.Type != client.ResultValue || r.Value == nil || r.Value.Type != "raw" {
		m.t.Fatalf("run %s ended with %s", run, r.Raw)
	}
	return string(r.Value.Data)
}

// document reads a run from a node as it is now.
func (m *mesh) document(n *node, run string) *client.Run {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	doc, err := n.client.Run(ctx, m.workspace, run)
	if err != nil {
		m.t.Fatalf("read run %s through %s: %v", run, n.name, err)
	}
	return &doc.Value
}
