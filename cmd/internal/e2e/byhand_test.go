package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// cli runs the command line against a node, as a user does.
func (n *node) cli(args ...string) output {
	n.m.t.Helper()
	return exe(n.m.t, n.m.dir, []string{"COFLUX_HOST=" + n.host()}, patience, "coflux", args...)
}

// said checks what a command said on stdout, and its exit status 0.
func (n *node) said(want string, args ...string) string {
	n.m.t.Helper()
	o := n.cli(args...)
	if o.status != 0 || !regexp.MustCompile(want).MatchString(o.stdout) {
		n.m.t.Errorf("coflux %s: no match of %s\n%s", strings.Join(args, " "), want, o)
	}
	return strings.TrimSpace(o.stdout)
}

// document runs a command with -o json and decodes what it prints.
func document[T any](n *node, args ...string) (doc T) {
	n.m.t.Helper()
	o := n.cli(append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(o.stdout), &doc); err != nil || o.status != 0 {
		n.m.t.Errorf("coflux %s -o json: %v\n%s", strings.Join(args, " "), err, o)
	}
	return doc
}

// TestByHand does on one node what README says.
func TestByHand(t *testing.T) {
	t.Parallel()
	examples, err := filepath.Abs("../../../examples")
	if err != nil {
		t.Fatal(err)
	}
	m := newMesh(t)
	n := m.add("--path", examples, "--repo", "example1.repo", "--repo", "flows")
	m.ready()

	run := n.said(`^R\w+\n$`, "workflow.run", "example1.repo", "my_workflow", `"Joe"`)
	n.said(`^R\w+\n$`, "submit", "example1.repo/my_workflow", `"Joe"`)
	n.said(`^None\n$`, "runs", "result", run)
	n.said(`(?m)^`+run+` +example1\.repo/my_workflow .* completed +2$`, "runs", "list")
	n.said(`^$`, "runs", "inspect", run)
	n.said(`(?m) STDOUT  ?Hello, Joe!$`, "logs", run)
	await(t, patience, func() string { // a slot is given back when the process is gone
		if o := n.cli("nodes"); !regexp.MustCompile(`(?m)^n1 \* +127\.0\.0\.1:\d+ +leader +alive +\S+ +0/\d+ +example1\.repo, flows$`).MatchString(o.stdout) {
			return "coflux nodes: " + o.String()
		}
		return ""
	})
	n.said(`(?m)^example1\.repo\n  my_workflow\(name\)$`, "manifests", "inspect")

	doc := document[struct {
		Steps map[string]struct {
			Target     string
			Executions map[string]struct{ Node string }
		}
	}](n, "submit", "example1.repo/my_workflow", `"Ann"`)
	if len(doc.Steps) != 2 {
		t.Errorf("submit -o json: %+v", doc)
	}
	m.byHandWatched(n)
	m.byHandJSON(n, run)
	m.byHandFailures(n)
	n.stopped()
}

// byHandWatched follows a run that goes on, and cancels another one.
func (m *mesh) byHandWatched(n *node) {
	t := m.t
	t.Helper()
	run := document[struct{ RunID, StepID, ExecutionID string }](n, "submit", "--no-wait", "flows/talk", `"a"`, `"talk"`).RunID
	follow := launch(t, filepath.Join(m.dir, "follow"), m.dir, []string{bin + "/coflux", "--host", n.host(), "logs", "-f", run})
	await(t, patience, func() string {
		if text, _ := os.ReadFile(filepath.Join(m.dir, "follow")); !strings.Contains(string(text), "begin a") {
			return "logs -f does not show the line of a run that goes on"
		}
		return ""
	})
	if o := n.cli("runs", "result", run); o.status != 1 || !strings.HasPrefix(o.stderr, "no result yet\n") {
		t.Errorf("the result of a run that goes on: %s", o)
	}
	m.open("talk")
	await(t, patience, func() string {
		if text, _ := os.ReadFile(filepath.Join(m.dir, "follow")); !strings.Contains(string(text), "end a") {
			return "logs -f does not show the last line"
		}
		return ""
	})
	follow.kill(t)
	n.said(`^$`, "runs", "inspect", run)
	if got := document[struct{ Type string }](n, "runs", "result", run); got.Type != "value" {
		t.Errorf("runs result -o json: %+v", got)
	}

	said := n.said(`^Workflow submitted \(run: R\w+\)\.\n$`, "submit", "--no-wait", "flows/parent", `"c"`, `"never"`)
	run = regexp.MustCompile(`R\w+`).FindString(said)
	child := m.begun("c.1")
	n.said(`^Execution cancelled\.\n$`, "runs", "cancel", run)
	await(t, 5*time.Second, func() string {
		if alive(child.PID) {
			return "the child of a cancelled run is alive (I9)"
		}
		return ""
	})
	if o := n.cli("runs", "inspect", run); o.status != 1 || o.stderr != "Cancelled\n" {
		t.Errorf("runs inspect of a cancelled run: %s", o)
	}
	n.said(`(?m)^`+run+` .* cancelled +2$`, "runs", "list")
}

// byHandJSON looks at the documents of the views.
func (m *mesh) byHandJSON(n *node, run string) {
	t := m.t
	t.Helper()
	runs := document[struct {
		Runs []struct{ RunID, Status string }
	}](n, "runs", "list")
	if len(runs.Runs) != 5 {
		t.Errorf("runs list -o json: %+v", runs)
	}
	if doc := document[struct{ Steps map[string]any }](n, "runs", "inspect", run); len(doc.Steps) != 2 {
		t.Errorf("runs inspect -o json: %+v", doc)
	}
	logs := document[struct {
		Logs []struct {
			ExecutionID, Template string
			Level                 int
		}
	}](n, "logs", run)
	if len(logs.Logs) != 1 || logs.Logs[0].Template != "Hello, Joe!" || logs.Logs[0].ExecutionID != run+":1:1" {
		t.Errorf("logs -o json: %+v", logs)
	}
	nodes := document[struct {
		Leader string
		Nodes  []struct{ ID, Name, Role, State string }
	}](n, "nodes")
	if len(nodes.Nodes) != 1 || nodes.Nodes[0].ID != nodes.Leader || nodes.Nodes[0].Role != "leader" {
		t.Errorf("nodes -o json: %+v", nodes)
	}
	if got := document[map[string]map[string]any](n, "manifests", "inspect"); len(got["example1.repo"]) != 1 || len(got["flows"]) < 4 {
		t.Errorf("manifests inspect -o json: %+v", got)
	}
	if got := document[map[string]any](n, "queue"); len(got) != 0 {
		t.Errorf("queue -o json: %+v", got)
	}
	if got := document[map[string]any](n, "sessions", "list"); len(got) != 1 {
		t.Errorf("sessions list -o json: %+v", got)
	}
}

// byHandFailures looks at what is said of what cannot work, and at the exit status.
func (m *mesh) byHandFailures(n *node) {
	m.t.Helper()
	o := n.cli("submit", "flows/fails", `"word"`)
	want := `(?s)^Traceback \(most recent call last\):\n.*flows\.py", line \d+, in fails\n    deeper\(\)\n.*line \d+, in deeper\n    raise ValueError\("bad " \+ word\)\nValueError: bad word\n$`
	if o.status != 1 || !regexp.MustCompile(want).MatchString(o.stderr) {
		m.t.Errorf("a target that raises: %s", o)
	}
	for _, tt := range []struct {
		stderr string
		args   []string
	}{
		{`^failed to get workflow: not_found: `, []string{"submit", "flows/missing"}},
		{`^failed to submit workflow: bad_request: argument 1 is not JSON: Joe `, []string{"submit", "flows/hello", "Joe"}},
		{`^failed to get run: not_found: `, []string{"runs", "result", "Rnothing"}},
		{`^failed to get run: not_found: `, []string{"logs", "Rnothing"}},
		{`^failed to cancel execution: not_found: `, []string{"runs", "cancel", "Rnothing"}},
		{`^unknown command "walk"\n`, []string{"walk"}},
	} {
		if o := n.cli(tt.args...); o.status != 1 || !regexp.MustCompile(tt.stderr).MatchString(o.stderr) || o.stdout != "" {
			m.t.Errorf("coflux %s: %s", strings.Join(tt.args, " "), o)
		}
	}
}

// TestTriggerThroughEach triggers through each of three nodes, which agree on what they can run.
func TestTriggerThroughEach(t *testing.T) {
	t.Parallel()
	m := startMesh(t, 3)
	var manifests map[string]map[string]any
	for i, n := range m.nodes {
		run := n.said(`^R\w+\n$`, "workflow.run", "flows", "parent", `"`+n.name+`"`, `""`)
		for _, other := range m.nodes {
			if got := compact(m.value(other, run)); got != `["`+n.name+`","`+n.name+`.1"]` {
				t.Errorf("%s says of the run that was triggered through %s: %s", other.name, n.name, got)
			}
		}
		got := document[map[string]map[string]any](n, "manifests", "inspect")
		if len(got["flows"]) == 0 {
			t.Errorf("%s knows no workflows: %v", n.name, got)
		}
		if i == 0 {
			manifests = got
		}
		if diff := cmp.Diff(manifests, got); diff != "" {
			t.Errorf("%s and %s know other workflows:\n%s", m.nodes[0].name, n.name, diff)
		}
		n.said(`(?m)^n`+n.name[1:]+` \* `, "nodes")
	}
	started, ended := m.counts()
	for token, k := range started {
		if k != 1 || ended[token] != 1 {
			t.Errorf("the body of %s began %d times and ended %d times", token, k, ended[token])
		}
	}
	if len(started) != 2*len(m.nodes) {
		t.Errorf("%d bodies, want %d", len(started), 2*len(m.nodes))
	}
}
