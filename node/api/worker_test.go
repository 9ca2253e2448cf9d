package api

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coder/websocket"
	"github.com/coflux-mesh/coflux/consensus/state"
)

// TestWorkerConnects over a real socket, in the project that it names; a web page of another origin does not.
func TestWorkerConnects(t *testing.T) {
	t.Parallel()
	s, _ := newMemory(t).server(nil)
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	tests := []struct {
		name   string
		header http.Header
		status int
	}{
		{"worker", http.Header{"X-Project": {"acme"}}, 101},
		{"another version", http.Header{"X-Api-Version": {"9.9"}}, 409},
		{"a page of another origin", http.Header{"Origin": {"http://evil.test"}}, 403},
		{"no project's name", http.Header{"X-Project": {"a b"}}, 400},
	}
	for _, tt := range tests {
		conn, res, err := websocket.Dial(t.Context(), srv.URL+"/api/worker", &websocket.DialOptions{HTTPHeader: tt.header})
		if res == nil || res.StatusCode != tt.status {
			t.Fatalf("%s: %v, %v", tt.name, res, err)
		}
		if err != nil {
			continue
		}
		if _, project, err := conn.Read(t.Context()); err != nil || string(project) != "acme" {
			t.Errorf("%s: project %q, %v", tt.name, project, err)
		}
		s.Stop() // ends it, without a word of the worker
		if _, _, err := conn.Read(t.Context()); err == nil {
			t.Errorf("%s: the connection goes on", tt.name)
		}
		_ = conn.CloseNow()
		s, _ = newMemory(t).server(nil)
		srv.Config.Handler = s.Handler()
	}
	checkRefusal(t, ask(s, "GET", "/api/worker", ""), 400, "bad_request", nil)
}

// TestWorkerDied: a guard's statement ends a worker's session, once, and no other one.
func TestWorkerDied(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, _ := m.server(nil)
	m.openSession("Sworker", "worker-a", "alpha", taskTarget("m", "task"))
	m.openSession("Snode", "n1", "beta", taskTarget("m", "task"))
	died := func(session, project string) *httptest.ResponseRecorder {
		return ask(s, "POST", "/api/worker_died", `{"sessionId":"`+session+`"}`, "X-Project", project)
	}
	checkRefusal(t, died("Sworker", "acme"), 404, "not_found", nil)
	checkRefusal(t, died("Snode", "default"), 404, "not_found", nil)
	checkRefusal(t, ask(s, "POST", "/api/worker_died", `{}`), 400, "bad_request", map[string]any{"sessionId": "required"})
	for _, id := range []string{"Sworker", "Snode"} {
		if row := m.store.View().Session(id); row == nil || row.State != state.SessionOpen {
			t.Errorf("session %s became %+v", id, row)
		}
	}
	for range 2 {
		if w := died("Sworker", "default"); w.Code != 204 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if row := m.store.View().Session("Sworker"); row != nil && row.State != state.SessionLost {
		t.Errorf("the session is %+v", row)
	}
	if w := died("Sunknown", "default"); w.Code != 204 {
		t.Errorf("a session that is gone: %d", w.Code)
	}
}

// TestPostLogs keeps lines of executions, and refuses what is none.
func TestPostLogs(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	m.openSession("S1", "n1", "alpha", workflowTarget("m", "flow"))
	a := m.submit(w, "m", "flow")
	line := func(run, execution string) string {
		return `{"runId":"` + run + `","executionId":"` + execution + `","workspaceId":"` + w + `","timestamp":5,"level":2,"template":"x","seq":99}`
	}
	good := `{"batch":"b","messages":[` + line(a.RunID, a.ExecutionID) + `]}`
	if r := ask(s, "POST", "/logs", good); r.Code != 200 || r.Body.String() != "{\"ok\":true}\n" {
		t.Errorf("%d %s", r.Code, r.Body)
	}
	for body, details := range map[string]any{
		`{}`:                map[string]any{"messages": "required"},
		`{"messages":"x"}`:  map[string]any{"messages": "invalid"},
		`{"messages":[{}]}`: map[string]any{"messages.0.executionId": "invalid"},
		`{"messages":[` + line("Rother", a.ExecutionID) + `]}`: map[string]any{"messages.0.executionId": "invalid"},
	} {
		checkRefusal(t, ask(s, "POST", "/logs", body), 400, "bad_request", details)
	}
	checkRefusal(t, ask(s, "POST", "/logs", good, "X-Project", "acme"), 404, "not_found", nil)
	if len(m.entries) != 1 || m.entries[0].Seq != 0 || m.entries[0].ExecutionID != a.ExecutionID {
		t.Errorf("kept: %+v", m.entries)
	}
}
