package api

import (
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// TestSuspension shows which attempt follows, in the queue what it waits for, and waits for its outcome.
func TestSuspension(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	m.openSession("s1", "n1", "alpha", workflowTarget("m", "t"))
	got := submit(t, s, map[string]any{"workspaceId": w, "module": "m", "target": "t", "arguments": [][]string{}})
	child := m.must(&scheduler.SubmitStep{Session: "s1", Parent: got.ExecutionID, Number: 1, Module: "m", Target: "other", Type: state.TypeTask}).ExecutionID
	m.must(&scheduler.Suspend{Session: "s1", Execution: got.ExecutionID, Handles: []state.Reference{{Kind: state.KindExecution, ID: child}}})
	doc := ask(s, "GET", "/topics/workspaces/"+w+"/runs/"+got.RunID, "").Body.String()
	if !strings.Contains(doc, `"result":{"type":"suspended","createdBy":null,"successor":2}`) {
		t.Error(doc)
	}
	queue := ask(s, "GET", "/topics/workspaces/"+w+"/queue", "").Body.String()
	if !strings.Contains(queue, `"attempt":2`) || !strings.Contains(queue, `"dependencies":["`+child+`"]`) {
		t.Error(queue)
	}
	await := "/api/await_run?timeoutMs=0&workspaceId=" + w + "&runId=" + got.RunID
	if doc := ask(s, "GET", await, "").Body.String(); !strings.Contains(doc, `"done":false`) {
		t.Error(doc)
	}
	m.must(&scheduler.Cancel{Workspace: w, Execution: child})
	queue = ask(s, "GET", "/topics/workspaces/"+w+"/queue", "").Body.String()
	if !strings.Contains(queue, `"dependencies":[]`) {
		t.Error(queue)
	}
}
