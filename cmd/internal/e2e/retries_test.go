package e2e

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/cmd/internal/checker"
	"github.com/coflux-mesh/coflux/node/api/client"
)

// submitRetried starts a run that is tried so many times more when it fails.
func (m *mesh) submitRetried(n *node, times int, target, token string, more ...any) (run string) {
	m.t.Helper()
	return m.submitTimed(n, times, 0, target, token, more...)
}

// submitTimed starts a run each of whose attempts may take so many milliseconds, 0 = any time.
func (m *mesh) submitTimed(n *node, times, timeout int, target, token string, more ...any) (run string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	m.retries[token] = times
	end := m.hist.invoke(checker.Event{Op: "submit", Client: token, Node: n.name, Token: token})
	got, err := n.client.Submit(ctx, client.SubmitRequest{WorkspaceID: m.workspace, Module: "flows", Target: target,
		Arguments: arguments(append([]any{token}, more...)...), Options: map[string]json.RawMessage{
			"retries": json.RawMessage(`{"limit":` + strconv.Itoa(times) + `}`), "timeout": json.RawMessage(strconv.Itoa(timeout))}})
	end(checker.Event{Run: got.RunID}, err)
	if err != nil {
		m.t.Fatalf("submit %s through %s: %v", token, n.name, err)
	}
	return got.RunID
}

// TestRetries has a body that fails twice, and the node killed that executes one: both runs end with a value.
func TestRetries(t *testing.T) {
	t.Parallel()
	m := startMesh(t, 3)
	leader := m.leader()
	run := m.submitRetried(leader, 3, "flaky", "f", 2)
	if got := m.value(leader, run); got != `"f"` {
		t.Errorf("the run that failed twice gave %s", got)
	}
	doc := m.document(leader, run)
	step := doc.Steps[run+":1"]
	if n, e := step.Latest(); n != 3 || !e.Result.OK() || step.Retries == nil || *step.Retries.Limit != 3 {
		t.Errorf("attempt %d is the latest and ended with %s", n, e.Result.Raw)
	}
	for attempt, next := range map[string]int{"1": 2, "2": 3} {
		if r := step.Executions[attempt].Result; r.Type != client.ResultError || r.Retry == nil || *r.Retry != next {
			t.Errorf("attempt %s: %s", attempt, r.Raw)
		}
	}
	if a, b := step.Executions["1"], step.Executions["2"]; *a.Node == *b.Node {
		t.Errorf("attempts 1 and 2 ran on %s, though other nodes were free", *a.Node)
	}
	m.retries["g"] = 1
	end := m.hist.invoke(checker.Event{Op: "submit", Client: "g", Node: leader.name, Token: "g"})
	o := exe(t, m.dir, nil, patience, "coflux", "--host", leader.host(), "submit", "--retries", "1", "flows/flaky", `"g"`, "2")
	end(checker.Event{Run: strings.TrimSpace(o.stdout)}, nil)
	if o.status != 1 || !strings.Contains(o.stderr, "ValueError: not yet") {
		t.Errorf("two failures with one retry: %s", o)
	}
	m.timesOut(leader)
	m.retries["w"] = 2
	if got := m.value(leader, m.submit(leader, "steady", "w", 2)); got != `"w"` {
		t.Errorf("the call that failed twice gave %s", got)
	}
	m.nodeDiesAndIsTriedAgain()
	m.settle(patience)
	m.verify(false)
}

// timesOut has each attempt of a body take too long: both end as timeouts, with their own time each, and are gone.
func (m *mesh) timesOut(n *node) {
	m.t.Helper()
	run := m.submitTimed(n, 1, 1500, "nap", "z", 600)
	r, err := m.result(n, run, patience)
	if err != nil || r.Type != client.ResultTimeout {
		m.t.Fatalf("a run that takes too long: %v %v", r, err)
	}
	step := m.document(n, run).Steps[run+":1"]
	for _, attempt := range []string{"1", "2"} {
		e := step.Executions[attempt]
		if took := *e.CompletedAt - *e.AssignedAt; e.Result.Type != client.ResultTimeout || took < 1500 {
			m.t.Errorf("attempt %s ended after %d ms with %s", attempt, took, e.Result.Raw)
		}
	}
	for _, e := range m.effects() {
		if e.Token == "z" {
			await(m.t, patience, func() string {
				if alive(e.PID) {
					return "a body that took too long is alive"
				}
				return ""
			})
		}
	}
}

// nodeDiesAndIsTriedAgain kills the node that executes: the run completes on another one.
func (m *mesh) nodeDiesAndIsTriedAgain() {
	m.t.Helper()
	leader := m.leader()
	for i := range 50 {
		token := "k" + strconv.Itoa(i)
		run := m.submitRetried(leader, 1, "single", token, token)
		on := m.where(m.begun(token))
		if on == leader {
			m.open(token)
			m.value(leader, run)
			continue
		}
		began := time.Now()
		on.killed()
		var second effect
		await(m.t, patience, func() string {
			for _, e := range m.effects() {
				if e.Execution == run+":1:2" {
					second = e
					return ""
				}
			}
			return "there is no second attempt"
		})
		m.t.Logf("tried again %s after kill -9 of the executing node", time.Since(began).Round(time.Millisecond))
		if m.where(second) == on {
			m.t.Errorf("the second attempt runs on the dead node")
		}
		m.open(token)
		if got := m.value(leader, run); got != `"`+token+`"` {
			m.t.Errorf("the run whose node died gave %s", got)
		}
		on.start()
		m.ready()
		return
	}
	m.t.Fatal("the leader gets all the work")
}
