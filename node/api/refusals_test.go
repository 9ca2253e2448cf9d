package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
)

// refusal is the document of an error.
type refusal struct {
	Code    string `json:"error"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
	Details any    `json:"details"`
}

// checkRefusal checks that a reply is a refusal with this status and code, in a sentence.
func checkRefusal(t *testing.T, w *httptest.ResponseRecorder, status int, code string, details any) {
	t.Helper()
	var doc refusal
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatalf("no error document: %d %s", w.Code, w.Body)
	}
	if w.Code != status || doc.Code != code {
		t.Errorf("%d %s, want %d %s (%s)", w.Code, doc.Code, status, code, doc.Message)
	}
	if len(strings.Fields(doc.Message)) < 3 || strings.ContainsAny(doc.Message, "\n\x00") || strings.HasSuffix(doc.Message, ".") {
		t.Errorf("message %q is no sentence of the house", doc.Message)
	}
	if diff := cmp.Diff(details, doc.Details); diff != "" {
		t.Error(diff)
	}
}

type fields = map[string]any

// TestBadBodies: each bad input is answered with a stable code and a sentence, and changes nothing.
func TestBadBodies(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	submit := func(extra string) string {
		return `{"workspaceId":"` + w + `","module":"m","target":"t","arguments":[]` + extra + `}`
	}
	long := strings.Repeat("x", 300)
	tests := []struct {
		name, path, body string
		status           int
		code             string
		details          any
	}{
		{"empty", "submit_workflow", ``, 400, "bad_request", "invalid_json"},
		{"no json", "submit_workflow", `{`, 400, "bad_request", "invalid_json"},
		{"two documents", "submit_workflow", `{}{}`, 400, "bad_request", "invalid_json"},
		{"list", "submit_workflow", `[]`, 400, "bad_request", "invalid_json"},
		{"null", "submit_workflow", `null`, 400, "bad_request", "invalid_json"},
		{"deep", "submit_workflow", `{"a":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`, 400, "bad_request", "invalid_json"},
		{"nothing", "submit_workflow", `{}`, 400, "bad_request", fields{"workspaceId": "required", "module": "required", "target": "required", "arguments": "required"}},
		{"null and false", "submit_workflow", `{"workspaceId":null,"module":false,"target":"t","arguments":null}`, 400, "bad_request",
			fields{"workspaceId": "required", "module": "required", "arguments": "required"}},
		{"kinds", "submit_workflow", `{"workspaceId":1,"module":[],"target":{},"arguments":"x"}`, 400, "bad_request",
			fields{"workspaceId": "invalid", "module": "invalid", "target": "invalid", "arguments": "invalid"}},
		{"nul in module", "submit_workflow", `{"workspaceId":"` + w + `","module":"m\u0000x","target":"t","arguments":[]}`, 400, "bad_request", fields{"module": "invalid"}},
		{"long target", "submit_workflow", `{"workspaceId":"` + w + `","module":"m","target":"` + long + `","arguments":[]}`, 400, "bad_request", fields{"target": "invalid"}},
		{"argument not json", "submit_workflow", `{"workspaceId":"` + w + `","module":"m","target":"t","arguments":[["json","1"],["json","joe"]]}`, 400, "bad_request",
			fields{"arguments.1": "not_json"}},
		{"argument too deep", "submit_workflow", `{"workspaceId":"` + w + `","module":"m","target":"t","arguments":[["json","` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `"]]}`, 400, "bad_request",
			fields{"arguments.0": "too_deep"}},
		{"argument of another kind", "submit_workflow", `{"workspaceId":"` + w + `","module":"m","target":"t","arguments":[["pickle","gAS"],["json"]]}`, 400, "bad_request",
			fields{"arguments.0": "invalid", "arguments.1": "invalid"}},
		{"negative delay", "submit_workflow", submit(`,"delay":-1`), 400, "bad_request", fields{"delay": "invalid"}},
		{"fraction", "submit_workflow", submit(`,"timeout":1.5`), 400, "bad_request", fields{"timeout": "invalid"}},
		{"huge number", "submit_workflow", submit(`,"delay":1e400`), 400, "bad_request", fields{"delay": "invalid"}},
		{"control in key", "submit_workflow", submit(`,"idempotencyKey":"a\u0000b"`), 400, "bad_request", fields{"idempotencyKey": "invalid"}},
		{"no ulid", "submit_workflow", submit(`,"requestId":"7"`), 400, "bad_request", fields{"requestId": "invalid"}},
		{"waitFor", "submit_workflow", submit(`,"waitFor":[-1]`), 400, "bad_request", fields{"waitFor": "invalid"}},
		{"waitFor of a wrong kind", "submit_workflow", submit(`,"waitFor":true`), 400, "bad_request", fields{"waitFor": "invalid"}},
		{"cache without params", "submit_workflow", submit(`,"cache":{"maxAge":-1}`), 400, "bad_request",
			fields{"cache.params": "invalid", "cache.maxAge": "invalid"}},
		{"cache with a long namespace", "submit_workflow", submit(`,"cache":{"params":[],"namespace":"` + strings.Repeat("n", 201) + `"}`), 400, "bad_request",
			fields{"cache.namespace": "invalid"}},
		{"defer of a wrong kind", "submit_workflow", submit(`,"defer":true`), 400, "bad_request", fields{"defer": "invalid"}},
		{"defer without params", "submit_workflow", submit(`,"defer":{}`), 400, "bad_request", fields{"defer.params": "invalid"}},
		{"defer by nothing", "submit_workflow", submit(`,"defer":{"params":[-1]}`), 400, "bad_request", fields{"defer.params": "invalid"}},
		{"retries of a wrong kind", "submit_workflow", submit(`,"retries":2`), 400, "bad_request", fields{"retries": "invalid"}},
		{"retries below zero", "submit_workflow", submit(`,"retries":{"limit":-1,"backoffMin":-5,"backoffMax":1e13}`), 400, "bad_request",
			fields{"retries": "invalid"}},
		{"negative retries", "submit_workflow", submit(`,"retries":{"limit":-1,"backoffMin":-5,"backoffMax":9999999999999}`), 400, "bad_request",
			fields{"retries.limit": "invalid", "retries.backoffMin": "invalid", "retries.backoffMax": "invalid"}},
		{"requires", "submit_workflow", submit(`,"requires":{"g p":true}`), 400, "bad_request", fields{"requires": "invalid"}},
		{"requires a number", "submit_workflow", submit(`,"requires":{"gpu":1}`), 400, "bad_request", fields{"requires": "invalid"}},
		{"requires nothing", "submit_workflow", submit(`,"requires":{"gpu":null}`), 400, "bad_request", fields{"requires": "invalid"}},
		{"requires mixed", "submit_workflow", submit(`,"requires":{"gpu":["a",true]}`), 400, "bad_request", fields{"requires": "invalid"}},
		{"requires text", "submit_workflow", submit(`,"requires":"gpu"`), 400, "bad_request", fields{"requires": "invalid"}},
		{"options of a wrong kind", "submit_workflow", submit(`,"waitFor":1,"memo":"x","cache":2`), 400, "bad_request",
			fields{"waitFor": "invalid", "memo": "invalid", "cache": "invalid"}},
		{"unknown workspace", "submit_workflow", `{"workspaceId":"Wnone","module":"m","target":"t","arguments":[]}`, 404, "not_found", nil},
		{"too large", "submit_workflow", submit(`,"x":"` + strings.Repeat("x", maxBody) + `"`), 413, "too_large", fields{"limit": float64(maxBody)}},
		{"workspace exists", "create_workspace", `{"name":"default"}`, 400, "bad_request", fields{"name": "exists"}},
		{"workspace name", "create_workspace", `{"name":"a b"}`, 400, "bad_request", fields{"name": "invalid"}},
		{"workspace without name", "create_workspace", `{}`, 400, "bad_request", fields{"name": "required"}},
		{"workspace with an unknown base", "create_workspace", `{"name":"x","baseId":"W"}`, 400, "bad_request", fields{"baseId": "invalid"}},
		{"base of a wrong kind", "create_workspace", `{"name":"x","baseId":7}`, 400, "bad_request", fields{"baseId": "invalid"}},
		{"update nothing", "update_workspace", `{}`, 400, "bad_request", fields{"workspaceId": "required"}},
		{"update an unknown one", "update_workspace", `{"workspaceId":"Wx","name":"y"}`, 404, "not_found", nil},
		{"update to a bad name", "update_workspace", `{"workspaceId":"` + w + `","name":"a b"}`, 400, "bad_request", fields{"name": "invalid"}},
		{"update to an unknown base", "update_workspace", `{"workspaceId":"` + w + `","baseId":"Wx"}`, 400, "bad_request", fields{"baseId": "invalid"}},
		{"update to itself as base", "update_workspace", `{"workspaceId":"` + w + `","baseId":"` + w + `"}`, 400, "bad_request", fields{"baseId": "invalid"}},
		{"update without ulid", "update_workspace", `{"workspaceId":"` + w + `","requestId":"7"}`, 400, "bad_request", fields{"requestId": "invalid"}},
		{"pause nothing", "pause_workspace", `{}`, 400, "bad_request", fields{"workspaceId": "required"}},
		{"pause an unknown one", "pause_workspace", `{"workspaceId":"Wx"}`, 404, "not_found", nil},
		{"resume an unknown one", "resume_workspace", `{"workspaceId":"Wx"}`, 404, "not_found", nil},
		{"archive an unknown one", "archive_workspace", `{"workspaceId":"Wx"}`, 404, "not_found", nil},
		{"register nothing", "register_manifests", `{}`, 400, "bad_request", fields{"workspaceId": "required", "manifests": "required"}},
		{"register in an unknown workspace", "register_manifests", `{"workspaceId":"Wx","manifests":{}}`, 404, "not_found", nil},
		{"archive no module", "archive_module", `{"workspaceId":"` + w + `"}`, 400, "bad_request", fields{"moduleName": "required"}},
		{"archive a module in an unknown workspace", "archive_module", `{"workspaceId":"Wx","moduleName":"m"}`, 404, "not_found", nil},
		{"cancel nothing", "cancel_execution", `{}`, 400, "bad_request", fields{"workspaceId": "required", "executionId": "required"}},
		{"cancel a malformed id", "cancel_execution", `{"workspaceId":"` + w + `","executionId":"R:x"}`, 404, "not_found", nil},
		{"cancel an unknown one", "cancel_execution", `{"workspaceId":"` + w + `","executionId":"Rx:1:1"}`, 404, "not_found", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := m.store.Index()
			checkRefusal(t, ask(s, "POST", "/api/"+tt.path, tt.body), tt.status, tt.code, tt.details)
			if m.store.Index() != before {
				t.Error("the state changed")
			}
		})
	}
}

func TestBadPaths(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	other := ask(s, "POST", "/api/create_workspace", `{"name":"a"}`, "X-Project", "acme")
	if other.Code != 200 {
		t.Fatal(other.Body)
	}
	var made struct{ ID string }
	_ = json.Unmarshal(other.Body.Bytes(), &made)
	key := strings.Repeat("ab", 32)
	tests := []struct {
		method, path string
		header       []string
		status       int
		code         string
		details      any
	}{
		{"GET", "/", nil, 404, "not_found", nil},
		{"GET", "/api/nothing", nil, 404, "not_found", nil},
		{"GET", "/topics/nothing", nil, 404, "not_found", nil},
		{"GET", "/api/submit_workflow", nil, 405, "method_not_allowed", nil},
		{"DELETE", "/api/runs", nil, 405, "method_not_allowed", nil},
		{"POST", "/topics/workspaces", nil, 405, "method_not_allowed", nil},
		{"DELETE", "/blobs/" + key, nil, 405, "method_not_allowed", nil},
		{"GET", "/api/runs", nil, 400, "bad_request", fields{"workspaceId": "required"}},
		{"GET", "/api/runs?workspaceId=" + w + "&limit=0", nil, 400, "bad_request", fields{"limit": "invalid"}},
		{"GET", "/api/runs?workspaceId=" + w + "&limit=x", nil, 400, "bad_request", fields{"limit": "invalid"}},
		{"GET", "/api/runs?workspaceId=" + w + "&before=x", nil, 400, "bad_request", fields{"before": "invalid"}},
		{"GET", "/api/runs?workspaceId=" + w + "&before=5.%00", nil, 400, "bad_request", fields{"before": "invalid"}},
		{"GET", "/api/runs?workspaceId=" + w + "&consistency=best", nil, 400, "bad_request", fields{"consistency": "invalid"}},
		{"GET", "/api/runs?workspaceId=Wx", nil, 404, "not_found", nil},
		{"GET", "/api/runs?workspaceId=" + made.ID, nil, 404, "not_found", nil},
		{"GET", "/api/await_run?workspaceId=" + w, nil, 400, "bad_request", fields{"runId": "required"}},
		{"GET", "/api/await_run?workspaceId=" + w + "&runId=R&timeoutMs=-1", nil, 400, "bad_request", fields{"timeoutMs": "invalid"}},
		{"GET", "/api/await_run?workspaceId=" + w + "&runId=Rx", nil, 404, "not_found", nil},
		{"GET", "/api/trace", nil, 400, "bad_request", fields{"execution": "required"}},
		{"GET", "/topics/workspaces/" + w + "/runs/Rx", nil, 404, "not_found", nil},
		{"GET", "/topics/workspaces/" + w + "/runs/Rx", []string{"Accept", "text/event-stream"}, 404, "not_found", nil},
		{"GET", "/topics/workspaces/" + w + "/runs/R%00x", nil, 404, "not_found", nil},
		{"GET", "/topics/workspaces/" + w + "/workflows/m/t", nil, 404, "not_found", nil},
		{"GET", "/topics/workspaces/" + made.ID + "/queue", nil, 404, "not_found", nil},
		{"GET", "/topics/workspaces/" + w + "/queue", []string{"X-Project", "acme"}, 404, "not_found", nil},
		{"GET", "/topics/workspaces/" + w + "/queue", []string{"Host", "acme.localhost:7777"}, 404, "not_found", nil},
		{"GET", "/topics/workspaces", []string{"Host", "acme.localhost", "X-Project", "shop"}, 403, "project_mismatch", nil},
		{"GET", "/topics/workspaces", []string{"X-Project", "a b"}, 400, "bad_request", fields{"project": "invalid"}},
		{"GET", "/logs", nil, 400, "run_required", nil},
		{"GET", "/logs?run=R&after=zz", nil, 400, "bad_request", fields{"after": "invalid"}},
		{"GET", "/logs?run=R&from=x", nil, 400, "bad_request", fields{"from": "invalid"}},
		{"GET", "/blobs/" + key, nil, 404, "not_found", nil},
		{"GET", "/blobs/..%2f..%2fetc%2fpasswd", nil, 404, "not_found", nil},
		{"GET", "/blobs/" + strings.ToUpper(key), nil, 404, "not_found", nil},
		{"PUT", "/blobs/" + key, nil, 400, "hash_mismatch", nil},
		{"PUT", "/blobs/..%2fx", nil, 400, "invalid_key", nil},
		{"PUT", "/blobs/" + key + "%0a", nil, 400, "invalid_key", nil},
	}
	before := m.store.Index()
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			checkRefusal(t, ask(s, tt.method, tt.path, "", tt.header...), tt.status, tt.code, tt.details)
		})
	}
	if m.store.Index() != before {
		t.Error("the state changed")
	}
}

func TestWithoutQuorum(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	run := m.must(&scheduler.SubmitRun{RequestID: ulid.Make().String(), Workspace: w, Module: "m", Target: "t"}).RunID
	m.noQuorum = true
	body := `{"workspaceId":"` + w + `","module":"m","target":"t","arguments":[]}`
	checkRefusal(t, ask(s, "POST", "/api/submit_workflow", body), 503, "no_quorum", nil)
	checkRefusal(t, ask(s, "GET", "/topics/workspaces", ""), 503, "no_quorum", nil)
	stale := ask(s, "GET", "/topics/workspaces?consistency=stale", "")
	if stale.Code != 200 || stale.Header().Get("Coflux-Stale-For") != "1500" || stale.Header().Get("Coflux-Index") != "2" {
		t.Errorf("%d %v", stale.Code, stale.Header())
	}
	for _, path := range []string{"/api/nodes", "/healthz", "/readyz", "/api/discover", "/logs?run=" + run} {
		if w := ask(s, "GET", path, ""); w.Code != 200 {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	checkRefusal(t, ask(s, "GET", "/logs?run=R", ""), 503, "no_quorum", nil) // perhaps it is of another project
	m.unready = "no leader is known"
	if w := ask(s, "GET", "/readyz", ""); w.Code != 503 || strings.TrimSpace(w.Body.String()) != `{"ready":false,"reason":"no leader is known"}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	m.noQuorum, m.busy = false, true
	over := ask(s, "POST", "/api/submit_workflow", body)
	checkRefusal(t, over, 503, "overloaded", nil)
	if over.Header().Get("Retry-After") != "1" {
		t.Error("no Retry-After")
	}
}

// TestEveryCodeHasItsStatus guards against a code of the scheduler that would come out as 500.
func TestEveryCodeHasItsStatus(t *testing.T) {
	t.Parallel()
	for _, code := range []string{scheduler.CodeNotFound, scheduler.CodeBadRequest, scheduler.CodeExpired, scheduler.CodeNotSupported,
		scheduler.CodeFenced, scheduler.CodeCancelled, scheduler.CodeTooLarge} {
		if statuses[code] == 0 || statuses[code] == http.StatusInternalServerError {
			t.Errorf("%s has no status", code)
		}
	}
}
