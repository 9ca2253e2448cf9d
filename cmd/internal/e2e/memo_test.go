package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMemo has equal calls share an execution: within a run, also after another node leads, and when the run's root is run
// again.
func TestMemo(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.write("options.py", options)
	for range 3 {
		m.add("--repo", "flows", "--repo", "options")
	}
	m.ready()
	n := m.others(m.leader())[0]
	starts := func(token string) int {
		started, _ := m.counts()
		return started[token]
	}

	if o := n.cli("submit", "options/shared", `"plain"`); o.status != 0 || starts("plain.1") != 4 {
		t.Fatalf("without memo a call of plain.1 ran %d times, want 4 (two keys that nobody shares): %s", starts("plain.1"), o)
	}
	o := n.cli("submit", "options/shared", `"memo"`, "--memo", "-o", "json")
	// The first call is shared by the second; the third has a key of its own, by its first argument; the fourth has none.
	if o.status != 0 || starts("memo.1") != 3 || starts("memo.2") != 1 {
		t.Fatalf("memo.1 ran %d times, memo.2 %d times, want 3 and 1: %s", starts("memo.1"), starts("memo.2"), o)
	}
	var run struct {
		Steps map[string]struct {
			StepNumber int
			MemoKey    *string
			Executions map[string]struct {
				Children []struct{ StepID string }
				Result   struct{ Value struct{ Data any } }
			}
		}
	}
	if err := json.Unmarshal([]byte(o.stdout), &run); err != nil {
		t.Fatal(err)
	}
	id, root := "", run.Steps[""]
	for name, s := range run.Steps {
		if s.StepNumber == 1 {
			id, root = strings.TrimSuffix(name, ":1"), s
		}
	}
	children := func(attempt string) (ids []string) {
		for _, c := range root.Executions[attempt].Children {
			ids = append(ids, strings.TrimPrefix(c.StepID, id))
		}
		return ids
	}
	if diff := cmp.Diff([]string{":2", ":3", ":4", ":5"}, children("1")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]any{"memo.1", "memo.1", "memo.1", "memo.1", "memo.2"}, root.Executions["1"].Result.Value.Data); diff != "" {
		t.Error(diff)
	}
	if root.MemoKey == nil || run.Steps[id+":2"].MemoKey == nil || run.Steps[id+":4"].MemoKey != nil {
		t.Errorf("memo keys: %s", o)
	}

	m.leader().killed()
	n = m.leader()
	post(t, n, "rerun_step", `{"workspaceId":"`+m.workspace+`","stepId":"`+id+`:1"}`)
	o = n.cli("runs", "inspect", id, "-o", "json")
	if err := json.Unmarshal([]byte(o.stdout), &run); err != nil || o.status != 0 {
		t.Fatal(err, o)
	}
	root = run.Steps[id+":1"]
	if diff := cmp.Diff([]string{":2", ":3", ":6", ":5"}, children("2")); diff != "" {
		t.Error("run again, it has other children: ", diff)
	}
	if starts("memo.1") != 4 || starts("memo.2") != 1 {
		t.Errorf("run again, memo.1 has run %d times, memo.2 %d times, want 4 and 1", starts("memo.1"), starts("memo.2"))
	}
}

// post asks a node and expects the answer 200.
func post(t *testing.T, n *node, path, body string) {
	t.Helper()
	rep, err := http.Post("http://"+n.host()+"/api/"+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer rep.Body.Close()
	if text, _ := io.ReadAll(rep.Body); rep.StatusCode != 200 {
		t.Fatalf("%s answered %d: %s", path, rep.StatusCode, text)
	}
}
