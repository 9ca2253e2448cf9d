package api

import (
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/oklog/ulid/v2"
)

// asking fills a node with a run that asks three things and waits for the first two.
func asking(t testing.TB) (m *memory, s *Server, workspace, run string) {
	m = clocked(t)
	s, workspace = m.server(nil)
	m.openSession("sess1", "n1", "alpha", workflowTarget("shop.flows", "checkout"), taskTarget("shop.flows", "pay"))
	root := m.submit(workspace, "shop.flows", "checkout")
	question := func(n int64, q scheduler.SubmitInput) string {
		q.Session, q.Execution, q.Number = "sess1", root.ExecutionID, n
		return m.must(&q).InputID
	}
	first := question(1, scheduler.SubmitInput{Key: "ship", Template: "Ship {order} to **{who}**?", Title: "Ship <it>?", Actions: []string{"Ship", "Keep"},
		Schema: `{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}`, Initial: []byte(`{"a":1.0}`), Requires: state.Tags{"team": {"eu", "us"}},
		Placeholders: []state.Placeholder{{Name: "order", Value: state.Value{Data: []byte(`7.0`)}}, {Name: "who", Value: state.Value{Data: []byte(`"Joe"`)}}}})
	second := question(2, scheduler.SubmitInput{Template: "Go on?"})
	question(3, scheduler.SubmitInput{Template: "Nobody waits for this"})
	question(4, scheduler.SubmitInput{Template: "Go on?", Key: "k"})
	question(5, scheduler.SubmitInput{Template: "Go on?", Key: "k"})
	m.must(&scheduler.SubmitStep{Session: "sess1", Parent: root.ExecutionID, Number: 6, Module: "shop.flows", Target: "pay", Type: state.TypeTask,
		Arguments: []state.Value{{Data: []byte(`{"type":"ref","index":0}`), References: []state.Reference{{Kind: "input", ID: first}}}}})
	m.must(&scheduler.AddDependency{Session: "sess1", Execution: root.ExecutionID, On: []string{first, second}})
	return m, s, workspace, root.RunID
}

func TestInputDocuments(t *testing.T) {
	t.Parallel()
	m, s, w, run := asking(t)
	show := func(name, method, path, body string) {
		t.Helper()
		rep := ask(s, method, path, body)
		if rep.Code != 200 {
			t.Fatal(path, rep.Code, rep.Body)
		}
		golden(t, name, rep.Body.Bytes())
	}
	get := func(name, id string) {
		t.Helper()
		show(name, "POST", "/api/get_input", `{"inputId":"`+run+`/`+id+`"}`)
	}
	show("inputs", "GET", "/topics/workspaces/"+w+"/inputs", "")
	get("input", "i1")
	show("input_topic", "GET", "/topics/inputs/"+url.PathEscape(run+"/i3"), "")
	for i, value := range []string{`{"a":3.0,"b":[1e2]}`, `false`} {
		m.must(&scheduler.RespondInput{RequestID: ulidAt(m.now()), Input: run + "/i" + strconv.Itoa(i+1), Value: state.Value{Data: []byte(value)}})
	}
	m.must(&scheduler.DismissInput{RequestID: ulidAt(m.now()), Input: run + "/i3"})
	m.must(&scheduler.CancelHandles{Session: "sess1", Execution: run + ":1:1", Handles: []string{run + "/i4"}})
	get("input_value", "i1")
	get("input_false", "i2")
	get("input_dismissed", "i3")
	show("run_inputs", "GET", "/topics/workspaces/"+w+"/runs/"+run, "")
}

// ulidAt is the id of a request that was made at the time, milliseconds.
func ulidAt(ms int64) string {
	var id ulid.ULID
	_ = id.SetTime(uint64(ms))
	return id.String()
}

func TestAnswering(t *testing.T) {
	t.Parallel()
	_, s, w, run := asking(t)
	body := func(id, more string) string { return `{"inputId":"` + run + `/` + id + `"` + more + `}` }
	post := func(path, body string) int {
		t.Helper()
		rep := ask(s, "POST", path, body)
		if rep.Code == 200 && strings.TrimSpace(rep.Body.String()) != "{}" {
			t.Errorf("%s answered %s", path, rep.Body)
		}
		return rep.Code
	}
	wrong := ask(s, "POST", "/api/respond_input", body("i1", `,"value":{"a":"x"}`))
	if wrong.Code != 422 || !strings.Contains(wrong.Body.String(), `"details":"/a: type; properties"`) || !strings.Contains(wrong.Body.String(), `"error":"validation_failed"`) {
		t.Errorf("a wrong answer: %d %s", wrong.Code, wrong.Body)
	}
	if rep := ask(s, "POST", "/api/respond_input", body("i1", "")); rep.Code != 422 {
		t.Errorf("null, which does not fit: %d %s", rep.Code, rep.Body)
	}
	long := `,"value":{"a":3,"b":"` + strings.Repeat("x", 10_000) + `"}`
	if code := post("/api/respond_input", body("i1", long)); code != 200 {
		t.Error("a large answer:", code)
	}
	if rep := ask(s, "POST", "/api/get_input", body("i1", "")); !strings.Contains(rep.Body.String(), `"value":{"a":3,"b":"xxx`) {
		t.Errorf("the large answer is shown as %.300s", rep.Body)
	}
	for target, value := range map[string]string{"i2": "false", "i3": "null", "i4": "0"} { // answers that look like none
		if code := post("/api/respond_input", body(target, `,"value":`+value)); code != 200 {
			t.Errorf("the answer %s: %d", value, code)
		}
		rep := ask(s, "POST", "/api/get_input", body(target, ""))
		if got := strings.Contains(rep.Body.String(), `"value":`+value); got != (value != "null") || !strings.Contains(rep.Body.String(), `"type":"value"`) {
			t.Errorf("the answer %s is shown as %s", value, rep.Body)
		}
	}
	for _, target := range []string{"i1", "i2", "i3"} {
		checkRefusal(t, ask(s, "POST", "/api/respond_input", body(target, `,"value":{"a":1}`)), 409, "already_responded", nil)
		checkRefusal(t, ask(s, "POST", "/api/dismiss_input", body(target, "")), 409, "already_responded", nil)
	}
	for _, bad := range []string{`{"inputId":"` + run + `/i99"}`, `{"inputId":"` + run + `"}`, `{"inputId":"x"}`} {
		for _, path := range []string{"get_input", "respond_input", "dismiss_input"} {
			checkRefusal(t, ask(s, "POST", "/api/"+path, bad), 404, "not_found", nil)
		}
	}
	for _, path := range []string{"get_input", "respond_input", "dismiss_input"} {
		checkRefusal(t, ask(s, "POST", "/api/"+path, `{}`), 400, "bad_request", fields{"inputId": "required"})
		checkRefusal(t, ask(s, "POST", "/api/"+path, body("i1", ""), "X-Project", "other"), 404, "not_found", nil)
	}
	checkRefusal(t, ask(s, "GET", "/topics/inputs/"+url.PathEscape(run+"/i99"), ""), 404, "not_found", nil)
	checkRefusal(t, ask(s, "GET", "/topics/workspaces/"+w+"/inputs", "", "X-Project", "other"), 404, "not_found", nil)
	if rep := ask(s, "GET", "/topics/workspaces/"+w+"/inputs", ""); strings.TrimSpace(rep.Body.String()) != "{}" {
		t.Errorf("still listed: %s", rep.Body)
	}
}

// TestAnswersOnce: a request that is sent again, as its reply was lost, is answered as the first time.
func TestAnswersOnce(t *testing.T) {
	t.Parallel()
	m, s, _, run := asking(t)
	for path, id := range map[string]string{"/api/respond_input": "i2", "/api/dismiss_input": "i3"} {
		body := `{"inputId":"` + run + `/` + id + `","requestId":"` + ulidAt(m.now()) + `"}`
		for range 2 {
			if rep := ask(s, "POST", path, body); rep.Code != 200 {
				t.Errorf("%s: %d %s", path, rep.Code, rep.Body)
			}
		}
	}
	late := `{"inputId":"` + run + `/i4","requestId":"` + ulidAt(m.now()-2*scheduler.RequestWindow) + `"}`
	if rep := ask(s, "POST", "/api/respond_input", late); rep.Code != 409 || !strings.Contains(rep.Body.String(), `"error":"expired"`) {
		t.Errorf("a request of long ago: %d %s", rep.Code, rep.Body)
	}
}
