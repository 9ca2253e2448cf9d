package e2e

import (
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// TestWorkflowCallsWorkflow runs a workflow that calls another: that is a run of its own, and ends with its caller's.
func TestWorkflowCallsWorkflow(t *testing.T) {
	t.Parallel()
	m := startMesh(t, 1)
	n := m.leader()
	run := m.submit(n, "outer", "o", "o")
	m.begun("o.1")
	doc := m.document(n, run)
	_, call := doc.Steps[run+":2"].Latest()
	if call.Result == nil || call.Result.Type != client.ResultSpawned || call.Result.Execution == nil || !call.Result.Open() {
		t.Fatalf("the call is %+v", call.Result)
	}
	inner, _, _ := strings.Cut(call.Result.Execution.ExecutionID, ":")
	if child := m.document(n, inner); child.Parent == nil || child.Parent.ExecutionID != call.ExecutionID {
		t.Errorf("the run of the call has the parent %+v", child.Parent)
	}
	m.open("o")
	if got := m.value(n, run); got != `["o","o.1"]` {
		t.Errorf("the caller gave %s", got)
	}
	if _, call := m.document(n, run).Steps[run+":2"].Latest(); !call.Result.OK() || call.Result.Result == nil {
		t.Errorf("the call ended with %s", call.Result.Raw)
	}

	run = m.submit(n, "outer", "c", "never")
	body := m.begun("c.1")
	o := exe(t, m.dir, nil, patience, "coflux", "--host", n.host(), "runs", "cancel", run)
	if o.status != 0 {
		t.Errorf("runs cancel: %s", o)
	}
	m.settle(patience)
	await(t, patience, func() string {
		if alive(body.PID) {
			return "the body of the called workflow lives on"
		}
		return ""
	})
	inner, _, _ = strings.Cut(body.Execution, ":")
	if got := m.runs(n)[inner].Status; got != "cancelled" {
		t.Errorf("the called run is %s", got)
	}
}
