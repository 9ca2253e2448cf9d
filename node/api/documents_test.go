package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/node/journal"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a JSON document with testdata/<name>.json.
func golden(t *testing.T, name string, doc []byte) {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, doc, "", "  "); err != nil {
		t.Fatalf("%v: %s", err, doc)
	}
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(path, pretty.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), pretty.String()); diff != "" {
		t.Error(diff)
	}
}

func workflowTarget(module, name string) state.DeclaredTarget {
	return state.DeclaredTarget{Module: module, Name: name, Type: state.TypeWorkflow}
}

func taskTarget(module, name string) state.DeclaredTarget {
	return state.DeclaredTarget{Module: module, Name: name, Type: state.TypeTask}
}

const testStart = 1_795_417_523_000

// clocked gives a node whose log time goes on by a millisecond with each decision.
func clocked(t testing.TB) *memory {
	m := newMemory(t)
	at := int64(testStart)
	m.now = func() int64 { at++; return at }
	return m
}

func (m *memory) submit(workspace, module, target string, arguments ...state.Value) scheduler.Answer {
	var id ulid.ULID
	_ = id.SetTime(uint64(m.now()))
	m.mu.Lock()
	_ = id.SetEntropy([]byte{byte(m.random.IntN(256)), byte(m.random.IntN(256)), 0, 0, 0, 0, 0, 0, 0, 0})
	m.mu.Unlock()
	return m.must(&scheduler.SubmitRun{RequestID: id.String(), Workspace: workspace, Module: module, Target: target, Arguments: arguments})
}

func (m *memory) finish(session, execution string, r state.Result) {
	m.must(&scheduler.ReportResult{Session: session, Execution: execution, Result: r})
}

// example fills a node with one of each thing and gives the id of the run.
func example(t testing.TB) (*memory, *Server, string, string) {
	m := clocked(t)
	s, w := m.server(nil)
	m.openSession("sess1", "n1", "alpha", workflowTarget("shop.flows", "checkout"), taskTarget("shop.flows", "pay"), taskTarget("shop.flows", "ask"))
	big := bytes.Repeat([]byte("1"), 5000)
	a := m.submit(w, "shop.flows", "checkout", state.Value{Data: []byte(`{"type":"dict","items":["order",7.0]}`)},
		state.Value{BlobKey: blob.KeyOf(big), Size: 5000})
	group := 3
	call := func(n int64, target string) string {
		retries := map[string]*state.Retries{"pay": {Limit: ptr(1), BackoffMin: 60_000, BackoffMax: 90_000}}[target]
		return m.must(&scheduler.SubmitStep{Session: "sess1", Parent: a.ExecutionID, Number: n, Module: "shop.flows", Target: target,
			Type: state.TypeTask, Timeout: 2000, Retries: retries, Group: &group}).ExecutionID
	}
	m.must(&scheduler.RegisterGroup{Session: "sess1", Execution: a.ExecutionID, ID: 3, Name: "payments"})
	pay, ask, lost := call(1, "pay"), call(2, "ask"), call(3, "nobody")
	m.must(&scheduler.AddDependency{Session: "sess1", Execution: a.ExecutionID, On: []string{pay, ask}})
	retryable := true
	m.finish("sess1", pay, state.Result{Type: state.ResultError, Error: &state.Error{Type: "shop.Declined", Message: "no <money>",
		Retryable: &retryable, Frames: []state.Frame{{File: "flows.py", Line: 12, Name: "pay", Code: "raise Declined()"}, {File: "x.py", Line: 1}}}})
	m.must(&scheduler.Cancel{Workspace: w, Execution: lost})
	m.finish("sess1", ask, state.Result{Type: state.ResultTimeout})
	m.finish("sess1", a.ExecutionID, state.Result{Type: state.ResultValue, Value: &state.Value{
		Data: []byte(`[{"type":"ref","index":0}]`), References: []state.Reference{{Kind: "execution", ID: pay},
			{Kind: "fragment", Format: "json", BlobKey: "cd", Size: 7, Metadata: []byte(`{"model":"m.M"}`)}, {Kind: "fragment", Format: "bytes", BlobKey: "ef"}}}})
	m.submit(w, "shop.flows", "checkout")
	m.submit(w, "other", "flow")
	m.register(w, "shop.flows", map[string]Workflow{"checkout": {
		Parameters: []Parameter{{Name: "order"}, {Name: "note", Default: ptr(`"x"`), Annotation: ptr("str")}}, WaitFor: []int{0},
		Delay: 5, Instruction: "Checks <out>.", Requires: map[string][]string{"region": {"eu"}},
		Cache: &Cache{Params: json.RawMessage("true"), MaxAge: ptr(int64(60000))}, Retries: &Retries{Limit: ptr(2), BackoffMin: 1, BackoffMax: 2},
	}, "plain": {}})
	m.nodes = Nodes{Leader: ptr("n1"), Quorum: true, Term: 4, Index: 17, Nodes: []Node{
		{ID: "n1", Name: "alpha", Address: "127.0.0.1:7946", HTTP: "127.0.0.1:7777", Peer: "127.0.0.1:7947", Role: "leader", State: "alive",
			Version: "test", Slots: ptr(4), Used: ptr(1), Self: true, Since: testStart, Modules: []NodeModule{{Name: "shop.flows", Targets: 3, Serving: true}}},
		{ID: "n2", Name: "beta", Role: "none", State: "gone"},
	}}
	return m, s, w, a.RunID
}

func ptr[T any](v T) *T { return &v }

func TestDocuments(t *testing.T) {
	t.Parallel()
	m, s, w, run := example(t)
	hello, count := "hello {n}", json.RawMessage(`{"type":"ref","index":0}`)
	m.entries = []journal.Entry{
		{RunID: run, ExecutionID: run + ":1:1", WorkspaceID: w, Timestamp: testStart, Level: 2, Template: &hello, Values: map[string]journal.Value{
			"n": {Type: "raw", Data: count, References: json.RawMessage(`[["execution","` + run + `:2:1","shop.flows","pay"],["input","x"],["fragment","bytes","cd",7,{}]]`)},
			"b": {Type: "blob", Key: "ab", Size: 3}, "bad": {Type: "raw", Data: json.RawMessage(`{`)}}},
		{RunID: run, ExecutionID: run + ":1:1", WorkspaceID: w, Timestamp: testStart + 1, Level: 1},
	}
	for name, path := range map[string]string{
		"run": "/topics/workspaces/" + w + "/runs/" + run, "queue": "/topics/workspaces/" + w + "/queue",
		"sessions": "/topics/workspaces/" + w + "/sessions", "workspaces": "/topics/workspaces",
		"manifests": "/topics/workspaces/" + w + "/manifests", "workflow": "/topics/workspaces/" + w + "/workflows/shop.flows/checkout",
		"modules":               "/topics/workspaces/" + w + "/modules",
		"workflow_unregistered": "/topics/workspaces/" + w + "/workflows/other/flow",
		"workflow_never_run":    "/topics/workspaces/" + w + "/workflows/shop.flows/plain",
		"runs":                  "/api/runs?workspaceId=" + w, "await_run": "/api/await_run?runId=" + run + "&workspaceId=" + w, "nodes": "/api/nodes",
		"logs": "/logs?run=" + run, "discover": "/api/discover", "trace": "/api/trace?execution=R:1:1",
	} {
		t.Run(name, func(t *testing.T) {
			w := ask(s, "GET", path, "")
			if w.Code != 200 || w.Header().Get("Content-Type") != "application/json; charset=utf-8" {
				t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
			}
			golden(t, name, w.Body.Bytes())
		})
	}
}

func TestRunsArePaged(t *testing.T) {
	t.Parallel()
	m := clocked(t)
	s, w := m.server(nil)
	var want []string
	for range 7 {
		want = append([]string{m.submit(w, "m", "t").RunID}, want...)
	}
	var got []string
	cursor := ""
	for range 5 {
		rep := ask(s, "GET", "/api/runs?limit=3&workspaceId="+w+"&before="+cursor, "")
		var page runsPage
		if err := json.Unmarshal(rep.Body.Bytes(), &page); err != nil || rep.Code != 200 {
			t.Fatal(rep.Body)
		}
		for _, r := range page.Runs {
			got = append(got, r.RunID)
		}
		if page.Cursor == nil {
			break
		}
		cursor = *page.Cursor
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	m := clocked(t)
	s, w := m.server(nil)
	for range 5 {
		m.submit(w, "m", "t")
	}
	rep := ask(s, "GET", "/topics/workspaces/"+w+"/queue?limit=2", "")
	var doc map[string]queuedDoc
	if err := json.Unmarshal(rep.Body.Bytes(), &doc); err != nil || len(doc) != 2 || rep.Header().Get("Coflux-Left-Off") != "3" {
		t.Errorf("%v %v %s", err, rep.Header(), rep.Body)
	}
}

func TestRunStatus(t *testing.T) {
	t.Parallel()
	done := func(r state.ResultType) *state.Execution {
		return &state.Execution{Session: "s", Result: &state.Result{Type: r}}
	}
	for want, e := range map[string]*state.Execution{
		"queued": {}, "running": {Session: "s"}, "completed": done(state.ResultValue), "cancelled": done(state.ResultCancelled),
		"abandoned": done(state.ResultAbandoned), "failed": done(state.ResultError),
	} {
		if got := runStatus(e); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if runStatus(done(state.ResultTimeout)) != "failed" || runStatus(nil) != "queued" {
		t.Error("timeout or no execution")
	}
}

// The queue shows what an execution still waits for, not what it has waited for.
func TestQueueShowsOpenDependencies(t *testing.T) {
	t.Parallel()
	m := clocked(t)
	s, w := m.server(nil)
	m.openSession("s1", "n1", "alpha", workflowTarget("m", "flow"), taskTarget("m", "task"))
	root := m.submit(w, "m", "flow").ExecutionID
	call := func(n int64) string {
		return m.must(&scheduler.SubmitStep{Session: "s1", Parent: root, Number: n, Module: "m", Target: "task", Type: state.TypeTask}).ExecutionID
	}
	first, second := call(1), call(2)
	m.must(&scheduler.AddDependency{Session: "s1", Execution: root, On: []string{first, second}})
	m.finish("s1", first, state.Result{Type: state.ResultValue, Value: &state.Value{Data: []byte("1")}})
	var doc map[string]queuedDoc
	rep := ask(s, "GET", "/topics/workspaces/"+w+"/queue", "")
	if err := json.Unmarshal(rep.Body.Bytes(), &doc); err != nil {
		t.Fatal(rep.Body)
	}
	if diff := cmp.Diff([]string{second}, doc[root].Dependencies); diff != "" {
		t.Error(diff)
	}
}
