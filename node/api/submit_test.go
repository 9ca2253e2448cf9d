package api

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
)

type submitted struct{ RunID, StepID, ExecutionID string }

func submit(t *testing.T, s *Server, body map[string]any) submitted {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	w := ask(s, "POST", "/api/submit_workflow", string(text))
	var out submitted
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != 200 || w.Header().Get("Coflux-Index") == "" {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	return out
}

func TestSubmitKeepsWhatItWasGiven(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	big := `"` + strings.Repeat("x", 5000) + `"`
	got := submit(t, s, map[string]any{"workspaceId": w, "module": "shop.flows", "target": "checkout", "delay": 500, "timeout": 700,
		"arguments": [][]string{{"json", `{"b":1.0,"a":[12345678901234567890]}`}, {"json", big}},
		"waitFor":   []int{1, 7}, "cache": nil, "defer": nil, "retries": map[string]any{"limit": 0}, "recurrent": false, "memo": false, "requires": map[string]any{}})
	if diff := cmp.Diff(submitted{got.RunID, got.RunID + ":1", got.RunID + ":1:1"}, got); diff != "" {
		t.Error(diff)
	}
	step := m.store.View().Step(state.StepID{Run: got.RunID, Number: 1})
	if step.Delay != 500 || step.Timeout != 700 || !slices.Equal(step.WaitFor, []int{1, 7}) || step.Module != "shop.flows" || step.Target != "checkout" {
		t.Errorf("%+v", step)
	}
	if text := string(step.Arguments[0].Data); text != `{"type":"dict","items":["a",[12345678901234567890],"b",1.0]}` {
		t.Error(text)
	}
	if key := step.Arguments[1].BlobKey; string(m.blobs[key]) != big || step.Arguments[1].Size != int64(len(big)) {
		t.Errorf("large argument: %+v", step.Arguments[1])
	}
}

func TestSubmitWithRetries(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	for text, want := range map[string]*state.Retries{
		`null`: nil, `{"limit":0,"backoffMin":5}`: nil, `{}`: {}, `{"limit":null,"backoffMin":1000,"backoffMax":60000}`: {BackoffMin: 1000, BackoffMax: 60000},
		`{"limit":2}`: {Limit: ptr(2)}, `{"limit":1,"backoffMin":5,"backoffMax":6}`: {Limit: ptr(1), BackoffMin: 5, BackoffMax: 6},
	} {
		got := submit(t, s, map[string]any{"workspaceId": w, "module": "m", "target": "t", "arguments": [][]string{}, "retries": json.RawMessage(text)})
		step := m.store.View().Step(state.StepID{Run: got.RunID, Number: 1})
		if diff := cmp.Diff(want, step.Retries); diff != "" {
			t.Error(text, diff)
		}
	}
}

func TestSubmitCached(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	m.openSession("sess1", "n1", "alpha", workflowTarget("m", "t"))
	body := map[string]any{"workspaceId": w, "module": "m", "target": "t", "arguments": [][]string{{"json", "1"}},
		"cache": map[string]any{"params": []int{0}, "maxAge": 60_000, "namespace": "n"}}
	first := submit(t, s, body)
	m.finish("sess1", first.ExecutionID, state.Result{Type: state.ResultValue, Value: &state.Value{Data: []byte("7")}})
	second := submit(t, s, body)
	doc := ask(s, "GET", "/topics/workspaces/"+w+"/runs/"+second.RunID, "").Body.String()
	step := m.store.View().Step(state.StepID{Run: second.RunID, Number: 1})
	for _, want := range []string{`"result":{"type":"cached","createdBy":null,"execution":{"executionId":"` + first.ExecutionID + `","module":"m","target":"t"},"result":{"type":"value"`,
		`"cacheConfig":{"params":[0],"maxAge":60000,"namespace":"n","version":null},"cacheKey":"` + step.CacheKey[:10] + `"`} {
		if !strings.Contains(doc, want) {
			t.Errorf("%s is not in %s", want, doc)
		}
	}
	body["cache"] = map[string]any{"params": false}
	if third := submit(t, s, body); m.store.View().Step(state.StepID{Run: third.RunID, Number: 1}).Cache != nil {
		t.Error("params false is a cache")
	}
}

func TestRunsThatWereCalled(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	m.openSession("sess1", "n1", "alpha", workflowTarget("m", "t"))
	caller := submit(t, s, map[string]any{"workspaceId": w, "module": "m", "target": "t", "arguments": [][]string{}})
	call := m.must(&scheduler.SubmitStep{Session: "sess1", Parent: caller.ExecutionID, Number: 1, Module: "m", Target: "t", Type: state.TypeWorkflow})
	id, _ := state.ParseExecutionID(call.ExecutionID)
	root := m.store.View().Execution(id).Result.Link
	doc := ask(s, "GET", "/topics/workspaces/"+w+"/runs/"+caller.RunID, "").Body.String()
	if want := `"result":{"type":"spawned","createdBy":null,"execution":{"executionId":"` + root + `","module":"m","target":"t"},"result":null}`; !strings.Contains(doc, want) {
		t.Errorf("%s is not in %s", want, doc)
	}
	inner, _, _ := strings.Cut(root, ":")
	doc = ask(s, "GET", "/topics/workspaces/"+w+"/runs/"+inner, "").Body.String()
	if want := `"parent":{"executionId":"` + call.ExecutionID + `","module":"m","target":"t"}`; !strings.Contains(doc, want) {
		t.Errorf("%s is not in %s", want, doc)
	}
}

func TestSubmitDeferred(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	body := map[string]any{"workspaceId": w, "module": "m", "target": "t", "arguments": [][]string{{"json", "1"}}, "delay": 60_000,
		"defer": map[string]any{"params": true}}
	first, second := submit(t, s, body), submit(t, s, body)
	result := func() string {
		var doc struct {
			Steps map[string]struct {
				Executions map[string]struct{ Result json.RawMessage }
			}
		}
		_ = json.Unmarshal(ask(s, "GET", "/topics/workspaces/"+w+"/runs/"+first.RunID, "").Body.Bytes(), &doc)
		return string(doc.Steps[first.StepID].Executions["1"].Result)
	}
	ref := `{"type":"deferred","createdBy":null,"execution":{"executionId":"` + second.ExecutionID + `","module":"m","target":"t"},"result":`
	if got := result(); got != ref+`null}` {
		t.Error(got)
	}
	m.must(&scheduler.Cancel{Workspace: w, Execution: second.ExecutionID})
	if got := result(); !strings.HasPrefix(got, ref+`{"type":"cancelled"`) {
		t.Error(got)
	}
	var page runsPage
	_ = json.Unmarshal(ask(s, "GET", "/api/runs?workspaceId="+w, "").Body.Bytes(), &page)
	if len(page.Runs) != 2 || page.Runs[0].Status != "cancelled" || page.Runs[1].Status != "cancelled" || page.Runs[1].CompletedAt == nil {
		t.Errorf("%+v", page.Runs)
	}
}

func TestSubmitTwiceIsOneRun(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	body := map[string]any{"workspaceId": w, "module": "m", "target": "t", "arguments": [][]string{}, "requestId": ulid.Make().String()}
	if a, b := submit(t, s, body), submit(t, s, body); a != b {
		t.Errorf("same request id: %v and %v", a, b)
	}
	delete(body, "requestId")
	if a, b := submit(t, s, body), submit(t, s, body); a == b {
		t.Errorf("two requests without id: %v twice", a)
	}
	body["idempotencyKey"] = "order 7"
	if a, b := submit(t, s, body), submit(t, s, body); a != b {
		t.Errorf("same key: %v and %v", a, b)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	got := submit(t, s, map[string]any{"workspaceId": w, "module": "m", "target": "t", "arguments": [][]string{}})
	body := `{"workspaceId":"` + w + `","executionId":"` + got.ExecutionID + `"}`
	checkRefusal(t, ask(s, "POST", "/api/cancel_execution", body, "X-Project", "acme"), 404, "not_found", nil)
	for range 2 { // once more for a finished one
		if w := ask(s, "POST", "/api/cancel_execution", body); w.Code != 200 || strings.TrimSpace(w.Body.String()) != "{}" {
			t.Fatal(w.Code, w.Body)
		}
	}
	id, _ := state.ParseExecutionID(got.ExecutionID)
	if r := m.store.View().Execution(id).Result; r == nil || r.Type != state.ResultCancelled {
		t.Errorf("result %+v", r)
	}
}

func TestCreateWorkspaceInAProject(t *testing.T) {
	t.Parallel()
	s, _ := newMemory(t).server(nil)
	w := ask(s, "POST", "/api/create_workspace", `{"name":"staging/eu"}`, "Host", "acme.localhost:7777")
	var made struct{ ID string }
	if err := json.Unmarshal(w.Body.Bytes(), &made); err != nil || !strings.HasPrefix(made.ID, "W") {
		t.Fatal(w.Code, w.Body)
	}
	for _, how := range [][]string{{"Host", "acme.localhost"}, {"X-Project", "acme"}, {"Host", "acme.localhost", "X-Project", "acme"}} {
		var doc map[string]workspaceDoc
		_ = json.Unmarshal(ask(s, "GET", "/topics/workspaces", "", how...).Body.Bytes(), &doc)
		if diff := cmp.Diff(map[string]workspaceDoc{made.ID: {Name: "staging/eu", State: "active"}}, doc); diff != "" {
			t.Error(how, diff)
		}
	}
}

func TestRerun(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	got := submit(t, s, map[string]any{"workspaceId": w, "module": "m", "target": "t", "arguments": [][]string{}})
	m.must(&scheduler.Cancel{Workspace: w, Execution: got.ExecutionID})
	body := `{"workspaceId":"` + w + `","stepId":"` + got.StepID + `"}`
	checkRefusal(t, ask(s, "POST", "/api/rerun_step", body, "X-Project", "acme"), 404, "not_found", nil)
	checkRefusal(t, ask(s, "POST", "/api/rerun_step", `{}`), 400, "bad_request", fields{"workspaceId": "required", "stepId": "required"})
	rep := ask(s, "POST", "/api/rerun_step", body)
	var out struct {
		ExecutionID string
		Attempt     int
	}
	if err := json.Unmarshal(rep.Body.Bytes(), &out); err != nil || out.ExecutionID != got.StepID+":2" || out.Attempt != 2 {
		t.Fatal(rep.Code, rep.Body)
	}
	var page runsPage
	_ = json.Unmarshal(ask(s, "GET", "/api/runs?workspaceId="+w, "").Body.Bytes(), &page)
	if len(page.Runs) != 1 || page.Runs[0].Status != "queued" {
		t.Errorf("the run's status is not that of the latest attempt: %+v", page.Runs)
	}
	doc := ask(s, "GET", "/topics/workspaces/"+w+"/runs/"+got.RunID, "").Body.String()
	if !strings.Contains(doc, `"1":{"executionId"`) || !strings.Contains(doc, `"2":{"executionId"`) {
		t.Error(doc)
	}
}
