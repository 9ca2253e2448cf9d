package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// old makes runs that are packed, and others that need them.
const old = `
import os

import coflux as cf


def trace(token):
    with open(os.path.join(os.path.dirname(__file__), "old.jsonl"), "a") as f:
        f.write(token + "\n")


@cf.task(cache=True)
def kept(x):
    trace(f"kept {x}")
    return {"x": x, "text": "k" * 600}


@cf.task()
def large(n):
    return "v" * n


@cf.workflow()
def make(x):
    print(f"made {x}")
    return [kept(x)["x"], len(large(9000))]


@cf.workflow()
def parent(x):
    return make(x)


@cf.workflow()
def wait(execution):
    return cf.Execution(execution, "old", "make").result()
`

// packedRuns is how many runs the mesh has packed.
func (m *mesh) packedRuns(n *node) int {
	m.t.Helper()
	doc, err := n.client.History(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	return doc.Value.Workspaces[m.workspace].Runs
}

// TestPackedRuns has runs leave memory, and uses them in every way afterwards: through other nodes, after the node that packed
// them was killed and the whole mesh started again.
func TestPackedRuns(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.write("old.py", old)
	for range 3 {
		m.add("--repo", "old", "--pack-after", "1s")
	}
	m.ready()
	n := m.nodes[0]
	ids := map[string]string{}
	for i, target := range []string{"make", "make", "parent", "make"} {
		o := n.cli("submit", "old/"+target, fmt.Sprint(i), "-o", "json")
		if o.status != 0 {
			t.Fatal(o)
		}
		for name := range decode[client.Run](t, o.stdout).Steps {
			ids[fmt.Sprint(i)] = strings.Split(name, ":")[0]
		}
	}
	const all = 5 // parent called a workflow
	packed := func(want int) {
		t.Helper()
		await(t, patience, func() string {
			if got := m.packedRuns(m.running()[0]); got != want {
				return fmt.Sprintf("%d runs are packed, want %d", got, want)
			}
			return ""
		})
	}
	packed(all)
	before := map[string]string{}
	for _, id := range ids {
		before[id] = m.text(n, id)
	}

	m.leader().killed()
	n = m.others(m.leader())[0]
	for _, id := range ids {
		if got := m.text(n, id); got != before[id] {
			t.Errorf("run %s changed:\n%s\n%s", id, before[id], got)
		}
	}
	n.said(`\[0, 9000\]`, "runs", "result", ids["0"])
	n.said(`(?s)`+ids["3"]+`.*completed.*`+ids["0"], "runs", "list")
	n.said(`true`, "runs", "cancel", ids["1"]+":1:1", "-o", "json")
	if o := n.cli("runs", "inspect", "Rnone", "--no-wait"); o.status == 0 {
		t.Errorf("a run that never was: %s", o)
	}
	for _, args := range [][]string{{"old/wait", `"` + ids["0"] + `:1:1"`}, {"old/make", "0"}} { // brings it back; is given what is kept
		o := n.cli(append([]string{"submit", "-o", "json"}, args...)...)
		if o.status != 0 {
			t.Fatal(o)
		}
		for name, step := range decode[client.Run](t, o.stdout).Steps {
			if _, root := step.Latest(); strings.HasSuffix(name, ":1") && compact(string(root.Result.Value.Data)) != "[0,9000]" {
				t.Errorf("%s gave %s", args[0], root.Result.Value.Data)
			}
			if _, e := step.Latest(); e.Result.Execution != nil && e.Result.Execution.Target != "kept" {
				t.Errorf("a link to a packed execution names %+v", e.Result.Execution)
			}
		}
	}
	n.said(`:2:2`, "runs", "rerun", ids["2"]+":2", "--no-wait")
	if got := strings.Count(m.read("old.jsonl"), "kept 0\n"); got != 1 {
		t.Errorf("what is kept was computed %d times", got)
	}

	for _, n := range m.running() {
		n.killed()
	}
	for _, n := range m.nodes {
		n.start()
	}
	m.ready()
	packed(all + 2 + 1) // a workflow that was called again is a run of its own
	for _, id := range []string{ids["0"], ids["1"], ids["3"]} {
		if got := m.text(m.nodes[0], id); got != before[id] {
			t.Errorf("run %s changed:\n%s\n%s", id, before[id], got)
		}
	}
	n = m.nodes[1]
	n.said(`changed`, "history", "set", "--keep-runs", "2")
	n.said(`changed`, "history", "set", "-w", "nowhere", "--pack-after", "2s") // is of the mesh
	for _, bad := range [][]string{{"--keep", "1h"}, {"--keep", "soon"}, {"-w", "nowhere", "--keep-runs", "5"}, {}, {"--mesh", "--workflow", "old/make", "--keep", "3d"}} {
		if o := n.cli(append([]string{"history", "set"}, bad...)...); o.status == 0 || o.stderr == "" {
			t.Errorf("history set %v: %s", bad, o)
		}
	}
	packed(2)
	if o := n.cli("runs", "inspect", ids["0"], "--no-wait"); o.status == 0 || !strings.Contains(o.stderr, "was removed") {
		t.Errorf("a run that was removed: %s", o)
	}
	n.said(`(?m)^default +2 +`, "history")
}

func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// text is a run's document.
func (m *mesh) text(n *node, run string) string {
	m.t.Helper()
	var text string
	await(m.t, patience, func() string {
		o := n.cli("runs", "inspect", run, "--no-wait")
		if text = o.stdout; o.status != 0 {
			return o.stderr
		}
		return ""
	})
	return text
}

func (m *mesh) read(file string) string {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.code, file))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}
