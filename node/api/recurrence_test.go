package api

import (
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// TestRecurrence shows which attempt follows a round that gave nothing, and waits for the one that gives something.
func TestRecurrence(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	m.openSession("s1", "n1", "alpha", workflowTarget("m", "t"))
	got := submit(t, s, map[string]any{"workspaceId": w, "module": "m", "target": "t", "arguments": [][]string{}, "recurrent": true})
	null := state.Result{Type: state.ResultValue, Value: &state.Value{Data: []byte("null")}}
	m.finish("s1", got.ExecutionID, null)
	doc := ask(s, "GET", "/topics/workspaces/"+w+"/runs/"+got.RunID, "").Body.String()
	if !strings.Contains(doc, `"result":{"type":"recurred","createdBy":null,"successor":2}`) || !strings.Contains(doc, `"recurrent":true`) {
		t.Error(doc)
	}
	await := "/api/await_run?timeoutMs=0&workspaceId=" + w + "&runId=" + got.RunID
	if doc := ask(s, "GET", await, "").Body.String(); !strings.Contains(doc, `"done":false`) {
		t.Error(doc)
	}
	m.finish("s1", got.StepID+":2", state.Result{Type: state.ResultValue, Value: &state.Value{Data: []byte("7")}})
	if doc := ask(s, "GET", await, "").Body.String(); !strings.Contains(doc, `"done":true`) || !strings.Contains(doc, `"data":7`) {
		t.Error(doc)
	}
}
