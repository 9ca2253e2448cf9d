package api

import (
	"encoding/json"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
)

// made creates a workspace and gives its id.
func made(t *testing.T, s *Server, body string, header ...string) string {
	t.Helper()
	var doc struct{ ID string }
	w := ask(s, "POST", "/api/create_workspace", body, header...)
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != 200 || doc.ID == "" {
		t.Fatal(w.Code, w.Body)
	}
	return doc.ID
}

// changed asks for a change that must be accepted without a body.
func changed(t *testing.T, s *Server, path, body string) {
	t.Helper()
	if w := ask(s, "POST", "/api/"+path, body); w.Code != 204 || w.Body.Len() != 0 {
		t.Errorf("%s %s: %d %s", path, body, w.Code, w.Body)
	}
}

func listed(t *testing.T, s *Server) (doc map[string]workspaceDoc) {
	t.Helper()
	w := ask(s, "GET", "/topics/workspaces", "")
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(w.Body)
	}
	return doc
}

// TestWorkspaceLife takes a workspace through all that can become of it.
func TestWorkspaceLife(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	id := made(t, s, `{"name":"dev/joe","baseId":"`+w+`"}`)
	expect := func(name string, base *string, st string) {
		t.Helper()
		if diff := cmp.Diff(workspaceDoc{name, base, st}, listed(t, s)[id]); diff != "" {
			t.Error(diff)
		}
	}
	this := `{"workspaceId":"` + id + `"`
	expect("dev/joe", &w, "active")
	checkRefusal(t, ask(s, "POST", "/api/archive_workspace", `{"workspaceId":"`+w+`"}`), 400, "bad_request", fields{"workspaceId": "has_dependencies"})
	checkRefusal(t, ask(s, "POST", "/api/update_workspace", `{"workspaceId":"`+w+`","baseId":"`+id+`"}`), 400, "bad_request", fields{"baseId": "invalid"})
	checkRefusal(t, ask(s, "POST", "/api/update_workspace", this+`,"name":"default"}`), 400, "bad_request", fields{"name": "exists"})
	for range 2 {
		changed(t, s, "pause_workspace", this+`}`)
		expect("dev/joe", &w, "paused")
	}
	changed(t, s, "update_workspace", this+`,"name":"dev/jim"}`)
	expect("dev/jim", &w, "paused")
	changed(t, s, "update_workspace", this+`,"baseId":null}`)
	expect("dev/jim", nil, "paused")
	changed(t, s, "update_workspace", this+`}`)
	changed(t, s, "resume_workspace", this+`}`)
	expect("dev/jim", nil, "active")
	run := m.must(&scheduler.SubmitRun{RequestID: ulid.Make().String(), Workspace: id, Module: "m", Target: "t"})
	changed(t, s, "archive_workspace", this+`}`)
	expect("dev/jim", nil, "archived")
	for path, more := range map[string]string{"update_workspace": `,"name":"x"`, "pause_workspace": "", "resume_workspace": "", "archive_workspace": "",
		"submit_workflow": `,"module":"m","target":"t","arguments":[]`, "cancel_execution": `,"executionId":"` + run.ExecutionID + `"`,
		"rerun_step": `,"stepId":"` + run.StepID + `"`} {
		checkRefusal(t, ask(s, "POST", "/api/"+path, this+more+`}`), 404, "not_found", nil)
	}
	// Its history can still be read, and its name is free.
	doc := ask(s, "GET", "/topics/workspaces/"+id+"/runs/"+run.RunID, "")
	if doc.Code != 200 {
		t.Error(doc.Code, doc.Body)
	}
	if again := made(t, s, `{"name":"dev/jim"}`); again == id {
		t.Error("the archived workspace came back")
	}
}

// TestWorkspaceChangesOnce: a repeat is answered as the first time and changes nothing, even after a later change.
func TestWorkspaceChangesOnce(t *testing.T) {
	t.Parallel()
	s, w := newMemory(t).server(nil)
	once := func() string { return `"requestId":"` + ulid.Make().String() + `"` }
	create := `{"name":"x",` + once() + `}`
	id := made(t, s, create)
	if again := made(t, s, create); again != id {
		t.Errorf("created %s, then %s", id, again)
	}
	rename := `{"workspaceId":"` + w + `","name":"first",` + once() + `}`
	changed(t, s, "update_workspace", rename)
	changed(t, s, "update_workspace", `{"workspaceId":"`+w+`","name":"second"}`)
	changed(t, s, "update_workspace", rename)
	if name := listed(t, s)[w].Name; name != "second" {
		t.Errorf("a late repeat renamed it to %s", name)
	}
	archive := `{"workspaceId":"` + id + `",` + once() + `}`
	changed(t, s, "archive_workspace", archive)
	changed(t, s, "archive_workspace", archive)
}

// TestRunSeenFromAWorkspace: a run shows the executions of its own workspace and of the one that it is seen from.
func TestRunSeenFromAWorkspace(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	m.openSession("s1", "n1", "alpha", workflowTarget("m", "flow"))
	run := m.must(&scheduler.SubmitRun{RequestID: ulid.Make().String(), Workspace: w, Module: "m", Target: "flow"})
	m.finish("s1", run.ExecutionID, state.Result{Type: state.ResultValue, Value: &state.Value{Data: []byte("1")}})
	derived, other := made(t, s, `{"name":"derived","baseId":"`+w+`"}`), made(t, s, `{"name":"other"}`)
	foreign := made(t, s, `{"name":"derived"}`, "X-Project", "acme")
	step := `","stepId":"` + run.StepID + `"}`
	checkRefusal(t, ask(s, "POST", "/api/rerun_step", `{"workspaceId":"`+other+step), 404, "not_found", nil)
	if rep := ask(s, "POST", "/api/rerun_step", `{"workspaceId":"`+derived+step); rep.Code != 200 {
		t.Fatal(rep.Code, rep.Body)
	}
	attempts := func(from string, header ...string) map[string]any {
		var doc struct {
			Steps map[string]struct{ Executions map[string]any }
		}
		rep := ask(s, "GET", "/topics/workspaces/"+from+"/runs/"+run.RunID, "", header...)
		if err := json.Unmarshal(rep.Body.Bytes(), &doc); err != nil {
			t.Fatal(rep.Body)
		}
		return doc.Steps[run.StepID].Executions
	}
	for from, want := range map[string]int{w: 1, derived: 2, other: 1} {
		if got := attempts(from); len(got) != want {
			t.Errorf("from %s %d attempts are seen, want %d", from, len(got), want)
		}
	}
	checkRefusal(t, ask(s, "GET", "/topics/workspaces/"+foreign+"/runs/"+run.RunID, "", "X-Project", "acme"), 404, "not_found", nil)
	for from, want := range map[string]bool{w: true, derived: false} {
		var got awaited
		rep := ask(s, "GET", "/api/await_run?timeoutMs=1&runId="+run.RunID+"&workspaceId="+from, "")
		if err := json.Unmarshal(rep.Body.Bytes(), &got); err != nil || got.Done != want {
			t.Errorf("from %s: %v %s", from, err, rep.Body)
		}
	}
}

// TestOtherProjectsDoNotExist asks every route that takes an id for those of another project.
func TestOtherProjectsDoNotExist(t *testing.T) {
	t.Parallel()
	m, s, w, run := example(t)
	mine := made(t, s, `{"name":"mine"}`, "X-Project", "acme")
	ours := `{"workspaceId":"` + w + `"`
	own := `{"workspaceId":"` + mine + `"`
	before := m.store.Index()
	for _, tt := range []struct{ method, path, body string }{
		{"POST", "/api/submit_workflow", ours + `,"module":"m","target":"t","arguments":[]}`},
		{"POST", "/api/cancel_execution", ours + `,"executionId":"` + run + `:1:1"}`},
		{"POST", "/api/cancel_execution", own + `,"executionId":"` + run + `:1:1"}`},
		{"POST", "/api/rerun_step", ours + `,"stepId":"` + run + `:1"}`},
		{"POST", "/api/rerun_step", own + `,"stepId":"` + run + `:1"}`},
		{"POST", "/api/update_workspace", ours + `,"name":"x"}`},
		{"POST", "/api/pause_workspace", ours + `}`},
		{"POST", "/api/resume_workspace", ours + `}`},
		{"POST", "/api/archive_workspace", ours + `}`},
		{"GET", "/api/runs?workspaceId=" + w, ""},
		{"GET", "/api/await_run?workspaceId=" + w + "&runId=" + run, ""},
		{"GET", "/api/await_run?workspaceId=" + mine + "&runId=" + run, ""},
		{"GET", "/api/trace?execution=" + run + ":1:1", ""},
		{"GET", "/logs?run=" + run, ""},
		{"GET", "/topics/workspaces/" + w + "/manifests", ""},
		{"GET", "/topics/workspaces/" + w + "/workflows/shop.flows/checkout", ""},
		{"GET", "/topics/workspaces/" + w + "/queue", ""},
		{"GET", "/topics/workspaces/" + w + "/sessions", ""},
		{"GET", "/topics/workspaces/" + w + "/runs/" + run, ""},
		{"GET", "/topics/workspaces/" + mine + "/runs/" + run, ""},
	} {
		checkRefusal(t, ask(s, tt.method, tt.path, tt.body, "X-Project", "acme"), 404, "not_found", nil)
	}
	for _, path := range []string{"create_workspace", "update_workspace"} {
		rep := ask(s, "POST", "/api/"+path, own+`,"name":"derived","baseId":"`+w+`"}`, "X-Project", "acme")
		checkRefusal(t, rep, 400, "bad_request", fields{"baseId": "invalid"})
	}
	if m.store.Index() != before {
		t.Error("the state changed")
	}
	var doc map[string]workspaceDoc
	rep := ask(s, "GET", "/topics/workspaces", "", "X-Project", "acme")
	if err := json.Unmarshal(rep.Body.Bytes(), &doc); err != nil || len(doc) != 1 {
		t.Error(rep.Body)
	}
}
