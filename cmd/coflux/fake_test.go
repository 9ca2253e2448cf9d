package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// fakeNode answers the HTTP interface from a table of documents. A request with project "minority" finds
// no quorum.
type fakeNode struct {
	*httptest.Server
	mu        sync.Mutex
	submitted map[string]any // the last submission, without its request id
	cancelled string
	created   string
	changed   []string // paths and bodies, without request ids
}

const (
	fakeCreated = 1795417523552
	valueOK     = `{"type":"value","createdBy":null,"value":{"type":"raw","data":"Hello, Joe!","references":[]}}`
	valueError  = `{"type":"error","createdBy":null,"retry":null,"retryable":null,"error":{"type":"builtins.ValueError","message":"bad name",
		"frames":[{"file":"repo.py","line":9,"name":"my_workflow","code":"check(name)"},{"file":"repo.py","line":4,"name":"check","code":null}]}}`
)

// fakeStep is a step with one attempt per result; "" = without result, "queued" = not given to a node.
func fakeStep(run string, n int, target, parent, children string, results ...string) string {
	var executions []string
	for i, r := range results {
		assigned, completed := fmt.Sprint(fakeCreated+10), fmt.Sprint(fakeCreated+10+143*n)
		switch r {
		case "":
			r, completed = "null", "null"
		case "queued":
			r, completed, assigned = "null", "null", "null"
		}
		executions = append(executions, fmt.Sprintf(`"%d":{"executionId":"%s:%d:%d","workspaceId":"W1","createdAt":%d,"executeAfter":null,
			"assignedAt":%s,"completedAt":%s,"groups":{"0":"greetings"},"assets":{},"dependencies":{},"children":[%s],"inputs":{},"result":%s,"metrics":{},"node":"n%d"}`,
			i+1, run, n, i+1, fakeCreated, assigned, completed, children, r, n))
	}
	return fmt.Sprintf(`"%s:%d":{"stepNumber":%d,"module":"example1.repo","target":"%s","parentId":%s,"arguments":[],"timeout":0,"createdAt":%d,"executions":{%s}}`,
		run, n, n, target, parent, fakeCreated, strings.Join(executions, ","))
}

func fakeRun(steps ...string) string {
	return fmt.Sprintf(`{"createdAt":%d,"createdBy":null,"parent":null,"requires":{},"steps":{%s}}`, fakeCreated, strings.Join(steps, ","))
}

func fakeValue(data, references string) string {
	return `{"type":"value","createdBy":null,"value":{"type":"raw","data":` + data + `,"references":[` + references + `]}}`
}

var blobKey = strings.Repeat("ab", 32)

// fakeRuns are the runs of workspace W1.
func fakeRuns() map[string]string {
	return map[string]string{
		"Rgood": fakeRun(fakeStep("Rgood", 1, "my_workflow", "null", `{"stepId":"Rgood:2","attempt":1,"groupId":null}`, valueOK),
			fakeStep("Rgood", 2, "build_greeting", `"Rgood:1:1"`, "", valueOK)),
		"Rbad":  fakeRun(fakeStep("Rbad", 1, "fails", "null", "", valueError)),
		"Rgone": fakeRun(fakeStep("Rgone", 1, "lost", "null", "", `{"type":"abandoned","retry":null,"createdBy":null}`)),
		"Rstop": fakeRun(fakeStep("Rstop", 1, "stopped", "null", "", `{"type":"cancelled","createdBy":null}`)),
		"Rmany": fakeRun(fakeStep("Rmany", 1, "retried", "null", "",
			valueError, valueError, valueError, valueError, valueError, valueError, valueError, valueError, valueError, valueOK)),
		"Rwait": fakeRun(fakeStep("Rwait", 1, "slow", "null", "", ""), fakeStep("Rwait", 2, "later", `"Rwait:1:1"`, "")),
		"Rblob": fakeRun(fakeStep("Rblob", 1, "large", "null", "",
			`{"type":"value","createdBy":null,"value":{"type":"blob","key":"`+blobKey+`","size":14,"references":[]}}`)),
		"Rdict": fakeRun(fakeStep("Rdict", 1, "values", "null", "", fakeValue(
			`{"type":"dict","items":["a",{"type":"dict","items":["b",3.0]},"c",[1,{"type":"tuple","items":[true,null]}],"d",{"type":"ref","index":0}]}`,
			`{"type":"execution","executionId":"Rgood:2:1","module":"m","target":"t"}`))),
	}
}

const fakeLogs = `{"logs":[
 {"executionId":"Rgood:1:1","workspaceId":"W1","timestamp":1795417523879,"level":1,"template":"Hello, Joe!","values":{}},
 {"executionId":"Rgood:2:1","workspaceId":"W1","timestamp":1795417523900,"level":2,"template":"hello {n}","values":{"n":{"type":"raw","data":"x","references":[]},"k":{"type":"raw","data":2,"references":[]}}},
 {"executionId":"Rgood:2:1","workspaceId":"W1","timestamp":1795504000000,"level":5,"template":"\u001b[31mred","values":{}}],
 "cursor":":1795504000000:1"}`

const fakeNodes = `{"leader":"id1","quorum":true,"term":3,"index":99,"nodes":[
 {"id":"id1","name":"alpha","address":"127.0.0.1:7946","http":"127.0.0.1:7777","peer":"127.0.0.1:7947","role":"leader","state":"alive","version":"0.1.0","slots":8,"used":2,"modules":[{"name":"example1.repo","targets":2,"error":null,"serving":true}],"self":true,"since":1795417523552},
 {"id":"id2","name":"beta","address":"127.0.0.1:8946","http":"127.0.0.1:8777","peer":"127.0.0.1:8947","role":"voter","state":"suspect","version":"0.1.0","slots":null,"used":null,"modules":[{"name":"broken","targets":0,"error":"ImportError: no module named x\nline two","serving":false}],"self":false,"since":1795417523552}]}`

// fakeTopics are the documents below /topics/workspaces/W1/.
var fakeTopics = map[string]string{
	"manifests": `{"example1.repo":{"my_workflow":{"parameters":[{"name":"name","default":null,"annotation":null},{"name":"n","default":"1","annotation":"int"}],"waitFor":[],"cache":null,"defer":null,"delay":0,"retries":null,"requires":{},"limits":{"memory":536870912,"cpu":60}}}}`,
	"inputs":    `{"Rwait/i2":{"runId":"Rwait","createdAt":1795417523552,"title":null,"requires":{}},"Rask/i1":{"runId":"Rask","createdAt":1795417523551,"title":"Ship it?","requires":{"team":["eu","us"]}}}`,
	"queue":     `{"Rwait:1:1":{"module":"example1.repo","target":"slow","runId":"Rwait","stepId":"Rwait:1","stepNumber":1,"attempt":1,"executeAfter":null,"createdAt":1795417523552,"assignedAt":1795417523560,"dependencies":[],"requires":{}},"Rwait:2:1":{"module":"example1.repo","target":"later","runId":"Rwait","stepId":"Rwait:2","stepNumber":2,"attempt":1,"executeAfter":null,"createdAt":1795417523553,"assignedAt":null,"dependencies":["Rwait:1:1"],"requires":{"gpu":["a","b"]},"reason":null},"Rwait:3:1":{"module":"example1.repo","target":"later","runId":"Rwait","stepId":"Rwait:3","stepNumber":3,"attempt":1,"executeAfter":null,"createdAt":1795417523554,"assignedAt":null,"dependencies":[],"requires":{"gpu":["c"]},"reason":"no node that serves the task example1.repo/later provides gpu:c"}}`,
	"sessions":  `{"7vZHRdsHcFtSl":{"connected":true,"executing":1,"concurrency":8,"poolName":null,"targets":{"example1.repo":["build_greeting","my_workflow"]},"provides":{},"accepts":{},"workerState":"active","executions":1}}`,
}

func newFakeNode() *fakeNode {
	n := &fakeNode{}
	mux := http.NewServeMux()
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Project") == "minority" && r.URL.Query().Get("consistency") != "stale" {
				refuse(w, 503, `{"error":"no_quorum","message":"this node hears no majority","hint":"?consistency=stale"}`)
				return
			}
			w.Header().Set("Coflux-Index", "99")
			w.Header().Set("Coflux-Stale-For", "2500")
			_, _ = io.WriteString(w, s)
		}
	}
	mux.HandleFunc("GET /topics/workspaces", text(`{"W1":{"name":"default","baseId":null,"state":"active"},"W2":{"name":"old","baseId":null,"state":"archived"},"W3":{"name":"staging","baseId":"W1","state":"active"}}`))
	for name, doc := range fakeTopics {
		mux.HandleFunc("GET /topics/workspaces/W1/"+name, text(doc))
		mux.HandleFunc("GET /topics/workspaces/W3/"+name, text("{}"))
	}
	mux.HandleFunc("GET /topics/workspaces/{w}/workflows/example1.repo/{target}", n.workflow)
	mux.HandleFunc("GET /topics/workspaces/{w}/runs/{run}", n.run)
	mux.HandleFunc("GET /api/runs", text(`{"runs":[{"runId":"Rwait","module":"example1.repo","target":"slow","createdAt":1795417523552,"completedAt":null,"status":"running","steps":2},{"runId":"Rgood","module":"example1.repo","target":"my_workflow","createdAt":1795417523552,"completedAt":1795417523705,"status":"completed","steps":2}],"cursor":"c2"}`))
	mux.HandleFunc("GET /api/nodes", text(fakeNodes))
	mux.HandleFunc("GET /api/await_run", n.await)
	mux.HandleFunc("GET /logs", func(w http.ResponseWriter, r *http.Request) {
		page := fakeLogs
		if q := r.URL.Query(); q.Get("level") == "4" && q.Get("grep") == "red" {
			page = `{"logs":[` + fakeLogs[strings.LastIndex(fakeLogs, ` {"executionId"`):]
		}
		if r.URL.Query().Get("after") != "" { // there is one page
			page = `{"logs":[],"cursor":":1795504000000:1"}`
		}
		text(page)(w, r)
	})
	mux.HandleFunc("GET /blobs/510b7163135eb64a7447cff9da3bf9d3928223885ac9bf29766bbd9fe8084af1", text("[\"large\", 1.50]\n"))
	mux.HandleFunc("PUT /blobs/510b7163135eb64a7447cff9da3bf9d3928223885ac9bf29766bbd9fe8084af1", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /blobs/"+blobKey, text(`["large", 1.50]`))
	mux.HandleFunc("GET /topics/asset/{asset}", func(w http.ResponseWriter, r *http.Request) {
		doc, ok := fakeAssets[r.PathValue("asset")]
		if !ok {
			refuse(w, 404, `{"error":"not_found","message":""}`)
			return
		}
		_, _ = io.WriteString(w, doc)
	})
	mux.HandleFunc("POST /api/submit_workflow", n.submit)
	mux.HandleFunc("POST /api/cancel_execution", n.cancel)
	mux.HandleFunc("POST /api/create_workspace", n.create)
	mux.HandleFunc("POST /api/get_input", n.input)
	mux.HandleFunc("POST /api/respond_input", n.endInput)
	mux.HandleFunc("POST /api/dismiss_input", n.endInput)
	for _, path := range []string{"update_workspace", "pause_workspace", "resume_workspace", "archive_workspace", "rerun_step",
		"register_manifests", "archive_module"} {
		mux.HandleFunc("POST /api/"+path, n.change)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, 404, `{"error":"not_found","message":""}`) })
	n.Server = httptest.NewServer(mux)
	return n
}

func refuse(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func (n *fakeNode) workflow(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("target") == "unknown" {
		refuse(w, 404, `{"error":"not_found","message":"no workflow example1.repo/unknown"}`)
		return
	}
	_, _ = io.WriteString(w, `{"parameters":[],"instruction":null,"configuration":{"waitFor":[],"cache":null,"defer":null,"delay":0,"retries":{"limit":2,"backoffMin":5,"backoffMax":5},"recurrent":false,"timeout":60000,"requires":{"disk":["ssd"]},"memo":true},"runs":{}}`)
}

func (n *fakeNode) run(w http.ResponseWriter, r *http.Request) {
	doc, ok := fakeRuns()[r.PathValue("run")]
	if !ok {
		refuse(w, 404, `{"error":"not_found","message":""}`)
		return
	}
	if r.Header.Get("Accept") != "text/event-stream" {
		_, _ = io.WriteString(w, doc)
		return
	}
	doc = strings.ReplaceAll(strings.ReplaceAll(doc, "\n", " "), "\t", " ")
	_, _ = fmt.Fprintf(w, "data: {\"index\":1,\"document\":%s}\n\n", doc)
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func (n *fakeNode) await(w http.ResponseWriter, r *http.Request) {
	var doc struct {
		Steps map[string]struct {
			Executions map[string]struct{ Result json.RawMessage }
		}
	}
	id := r.URL.Query().Get("runId")
	text, ok := fakeRuns()[id]
	if err := json.Unmarshal([]byte(text), &doc); err != nil || !ok {
		refuse(w, 404, `{"error":"not_found","message":""}`)
		return
	}
	executions := doc.Steps[id+":1"].Executions
	result := executions[fmt.Sprint(len(executions))].Result
	_, _ = fmt.Fprintf(w, `{"done":true,"index":9,"result":%s}`, result)
}

func (n *fakeNode) submit(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.submitted = nil
	if err := json.NewDecoder(r.Body).Decode(&n.submitted); err != nil {
		refuse(w, 400, `{"error":"bad_request","details":"invalid_json"}`)
		return
	}
	if id, _ := n.submitted["requestId"].(string); len(id) != 26 {
		refuse(w, 400, `{"error":"bad_request","message":"no request id"}`)
		return
	}
	delete(n.submitted, "requestId")
	id, ok := map[string]string{"my_workflow": "Rgood", "fails": "Rbad", "lost": "Rgone"}[fmt.Sprint(n.submitted["target"])]
	if !ok {
		refuse(w, 400, `{"error":"not_supported","message":"caching is not built yet","hint":"leave the cache option out","details":{"cache":"not_supported"}}`)
		return
	}
	_, _ = fmt.Fprintf(w, `{"runId":"%[1]s","stepId":"%[1]s:1","executionId":"%[1]s:1:1"}`, id)
}

func (n *fakeNode) cancel(w http.ResponseWriter, r *http.Request) {
	var body struct{ ExecutionID string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cancelled = body.ExecutionID; strings.Contains(n.cancelled, "Rnone") {
		refuse(w, 404, `{"error":"not_found","message":""}`)
		return
	}
	_, _ = io.WriteString(w, "{}")
}

func (n *fakeNode) create(w http.ResponseWriter, r *http.Request) {
	var body struct{ Name, BaseID, RequestID string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case len(body.RequestID) != 26:
		refuse(w, 400, `{"error":"bad_request","message":"no request id"}`)
		return
	case body.Name == "default":
		refuse(w, 400, `{"error":"bad_request","message":"","details":{"name":"exists"}}`)
		return
	}
	n.created = strings.TrimSpace(body.Name + " " + body.BaseID)
	_, _ = io.WriteString(w, `{"id":"W9"}`)
}

// change notes a change. The first workspace cannot be archived, another one is based on it; only the first run's steps
// can be run again.
func (n *fakeNode) change(w http.ResponseWriter, r *http.Request) {
	var body map[string]any
	_ = json.NewDecoder(r.Body).Decode(&body)
	if id, _ := body["requestId"].(string); len(id) != 26 {
		refuse(w, 400, `{"error":"bad_request","message":"no request id"}`)
		return
	}
	delete(body, "requestId")
	text, _ := json.Marshal(body)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.changed = append(n.changed, strings.TrimPrefix(r.URL.Path, "/api/")+" "+string(text))
	step, _ := body["stepId"].(string)
	switch {
	case r.URL.Path == "/api/archive_workspace" && body["workspaceId"] == "W1":
		refuse(w, 400, `{"error":"bad_request","message":"","details":{"workspaceId":"has_dependencies"}}`)
	case step == "":
		w.WriteHeader(http.StatusNoContent)
	case !strings.HasPrefix(step, "Rgood:"):
		refuse(w, 404, `{"error":"not_found","message":""}`)
	default:
		_, _ = fmt.Fprintf(w, `{"executionId":"%s:2","attempt":2}`, step)
	}
}

// report is what the node was asked to do, for the scripts.
func (n *fakeNode) report(t testing.TB) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	doc := map[string]any{"submitted": n.submitted, "cancelled": n.cancelled, "created": n.created}
	if n.changed != nil {
		doc["changed"] = n.changed
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}
