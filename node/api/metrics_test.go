package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/node/journal"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	m.openSession("S1", "n1", "alpha", workflowTarget("m", "flow"))
	a := m.submit(w, "m", "flow")
	point := func(execution, key, value, at string) string {
		return `{"runId":"` + a.RunID + `","executionId":"` + execution + `","workspaceId":"` + w + `","key":` + key + `,"value":` + value + `,"at":` + at + `}`
	}
	good := `{"entries":[` + point(a.ExecutionID, `"loss"`, "0.5", "2") + `,` + point(a.ExecutionID, `"loss"`, "0.9", "1") + `]}`
	if r := ask(s, "POST", "/metrics", good); r.Code != 200 || r.Body.String() != "{\"ok\":true}\n" {
		t.Fatalf("%d %s", r.Code, r.Body)
	}
	checkRefusal(t, ask(s, "POST", "/metrics", good, "X-Project", "acme"), 404, "not_found", nil)
	for body, details := range map[string]any{
		`{}`: map[string]any{"entries": "required"},
		`{"entries":[` + point(a.ExecutionID, `""`, "1", "1") + `]}`:     map[string]any{"entries.0": "invalid"},
		`{"entries":[` + point(a.ExecutionID, `"k"`, "null", "1") + `]}`: map[string]any{"entries.0": "invalid"},
		`{"entries":[` + point("Rother:1:1", `"k"`, "1", "1") + `]}`:     map[string]any{"entries.0.executionId": "invalid"},
	} {
		checkRefusal(t, ask(s, "POST", "/metrics", body), 400, "bad_request", details)
	}
	want := `{"metrics":[{"executionId":"` + a.ExecutionID + `","workspaceId":"` + w + `","key":"loss","value":0.9,"at":1},` +
		`{"executionId":"` + a.ExecutionID + `","workspaceId":"` + w + `","key":"loss","value":0.5,"at":2}],"cursor":"end"}`
	for _, path := range []string{"/metrics?run=" + a.RunID, "/metrics?execution=" + a.ExecutionID, "/metrics?run=Rother&execution=" + a.ExecutionID + "&keys=loss,x"} {
		if r := ask(s, "GET", path, ""); r.Code != 200 || strings.TrimSpace(r.Body.String()) != want {
			t.Errorf("%s: %d %s", path, r.Code, r.Body)
		}
	}
	if r := ask(s, "GET", "/metrics?run="+a.RunID+"&after=end", ""); strings.TrimSpace(r.Body.String()) != `{"metrics":[],"cursor":null}` {
		t.Errorf("the next page: %s", r.Body)
	}
	checkRefusal(t, ask(s, "GET", "/metrics", ""), 400, "run_or_execution_required", nil)
	checkRefusal(t, ask(s, "GET", "/metrics?execution=x", ""), 404, "not_found", nil)
	checkRefusal(t, ask(s, "GET", "/metrics?run="+a.RunID, "", "X-Project", "acme"), 404, "not_found", nil)
}

// TestRunsShowDefinitionsOfMetrics: per execution, the first of a key.
func TestRunsShowDefinitionsOfMetrics(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	m.openSession("S1", "n1", "alpha", workflowTarget("m", "flow"))
	a := m.submit(w, "m", "flow")
	define := func(execution, text string) journal.Entry {
		return journal.Entry{RunID: a.RunID, ExecutionID: execution, Metric: &journal.Metric{Key: "k", Definition: json.RawMessage(text)}}
	}
	m.points = []journal.Entry{define(a.ExecutionID, `{"progress":true}`), define(a.ExecutionID, `{"progress":false}`), define("Rx:1:1", `{}`)}
	var doc struct {
		Steps map[string]struct {
			Executions map[string]struct {
				Metrics map[string]struct{ Progress bool }
			}
		}
	}
	r := ask(s, "GET", "/topics/workspaces/"+w+"/runs/"+a.RunID, "")
	if err := json.Unmarshal(r.Body.Bytes(), &doc); err != nil {
		t.Fatal(err, r.Body)
	}
	got := doc.Steps[a.RunID+":1"].Executions["1"].Metrics
	if len(got) != 1 || !got["k"].Progress {
		t.Errorf("the document has %v", got)
	}
}
