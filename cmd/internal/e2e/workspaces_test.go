package e2e

import (
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// TestWorkspaces takes workspaces through their life on a mesh of three nodes: each command goes to another node than the
// one that looks at what became of it.
func TestWorkspaces(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.workspace = "there are two"
	n1, n2, n3 := m.add("--repo", "flows"), m.add("--repo", "flows"), m.add("--repo", "flows", "--workspace", "staging")
	m.ready()
	n1.said(`^Created workspace 'team/joe'\.\n$`, "workspaces", "create", "team/joe", "--base", "default")
	n2.said(`^Name +Base\ndefault +\(None\)\nstaging +\(None\)\nteam/joe +default\n$`, "workspaces", "list")
	n3.said(`^Archived workspace 'team/joe'\.\n$`, "workspaces", "archive", "-w", "team/joe")
	n2.said(`^Updated workspace 'staging'\.\n$`, "workspaces", "update", "-w", "staging", "--base", "default")
	m.spacesPause(n1, n2)
	run := m.spacesRerun(n1, n2, n3)
	m.spacesRename(n1, n2, n3)
	m.spacesArchive(n1, n2, n3, run)
}

// spacesPause: what is submitted during a pause begins at its end.
func (m *mesh) spacesPause(n1, n2 *node) {
	m.t.Helper()
	n1.said(`^Paused workspace 'default'\.\n$`, "workspaces", "pause")
	n2.said(`run: R\w+`, "submit", "flows/single", `"paused"`, `""`, "--no-wait")
	n2.said(`^R\w+\n$`, "submit", "flows/single", `"meanwhile"`, `""`, "-w", "staging") // the other one goes on
	if started, _ := m.counts(); started["paused"] != 0 || started["meanwhile"] != 1 {
		m.t.Errorf("while paused the bodies that began were %v", started)
	}
	queue := document[map[string]client.Queued](n1, "queue")
	for id, q := range queue {
		if q.AssignedAt != nil {
			m.t.Errorf("%s was given away while the workspace is paused", id)
		}
	}
	if len(queue) != 1 {
		m.t.Errorf("queue: %v", queue)
	}
	n2.said(`^Resumed workspace 'default'\.\n$`, "workspaces", "resume")
	m.begun("paused")
}

// spacesRerun runs a step again in a workspace that inherits from its own. It gives the run.
func (m *mesh) spacesRerun(n1, n2, n3 *node) string {
	m.t.Helper()
	run := n1.said(`^R\w+\n$`, "submit", "flows/parent", `"p"`, `""`)
	n2.said(`^`+run+`:1:2\n$`, "runs", "rerun", run+":1", "-w", "staging")
	from := func(n *node, workspace string) map[string]*client.Execution {
		doc := document[client.Run](n, "runs", "inspect", run, "--no-wait", "-w", workspace)
		return doc.Steps[run+":1"].Executions
	}
	if seen := from(n2, "default"); len(seen) != 1 {
		m.t.Errorf("from default %d attempts are seen", len(seen))
	}
	seen := from(n1, "staging")
	if len(seen) != 2 || seen["2"] == nil || seen["2"].Node == nil || *seen["2"].Node != n3.name {
		m.t.Errorf("from staging the attempts are %v, want the second one on %s", seen, n3.name)
	}
	if o := n1.cli("workspaces", "create", "alone"); o.status != 0 {
		m.t.Error(o)
	}
	if o := n2.cli("runs", "rerun", run+":1", "-w", "alone"); o.status != 1 || !strings.HasPrefix(o.stderr, "failed to rerun step: not_found: ") {
		m.t.Errorf("re-run in a workspace that does not inherit: %s", o)
	}
	return run
}

// spacesRename: nodes serve on under the new name.
func (m *mesh) spacesRename(n1, n2, n3 *node) {
	m.t.Helper()
	n1.said(`^Updated workspace 'prod'\.\n$`, "workspaces", "update", "-w", "staging", "--name", "prod")
	n2.said(`(?m)^prod +default$`, "workspaces", "list")
	n3.said(`^R\w+\n$`, "submit", "flows/single", `"renamed"`, `""`, "-w", "prod")
	n2.said(`^Updated workspace 'staging'\.\n$`, "workspaces", "update", "-w", "prod", "--name", "staging", "--no-base")
	n1.said(`(?m)^staging +\(None\)$`, "workspaces", "list")
	n2.said(`^Updated workspace 'staging'\.\n$`, "workspaces", "update", "-w", "staging", "--base", "default")
}

// spacesArchive: what runs is killed, nothing is accepted any more, the history stays, the name is free, and the node
// that served it does so again when somebody creates it.
func (m *mesh) spacesArchive(n1, n2, n3 *node, run string) {
	m.t.Helper()
	if o := n1.cli("workspaces", "archive"); o.status != 1 || !strings.Contains(o.stderr, `(details: {"workspaceId":"has_dependencies"})`) {
		m.t.Errorf("archive a base: %s", o)
	}
	workspaces, err := n1.client.Workspaces(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	old := ""
	for id, w := range workspaces.Value {
		if w.Name == "staging" {
			old = id
		}
	}
	n1.said(`run: R\w+`, "submit", "flows/single", `"doomed"`, `"never"`, "-w", "staging", "--no-wait")
	body := m.begun("doomed")
	n2.said(`^Archived workspace 'staging'\.\n$`, "workspaces", "archive", "-w", "staging")
	if list := n1.cli("workspaces", "list"); strings.Contains(list.stdout, "staging") {
		m.t.Errorf("after the archive: %s", list)
	}
	if o := n1.cli("runs", "list", "-w", "staging"); o.status != 1 || !strings.HasPrefix(o.stderr, "workspace not found: staging") {
		m.t.Errorf("after the archive: %s", o)
	}
	lost, _, _ := strings.Cut(body.Execution, ":")
	await(m.t, patience, func() string {
		doc, err := n1.client.Run(m.t.Context(), old, lost)
		if err != nil {
			return err.Error()
		}
		if r := doc.Value.Steps[lost+":1"].Executions["1"].Result; r == nil || r.Type != "abandoned" {
			return "the run that was running has not been abandoned"
		}
		if alive(body.PID) {
			return "its process lives on"
		}
		return ""
	})
	if doc, err := n2.client.Run(m.t.Context(), old, run); err != nil || len(doc.Value.Steps[run+":1"].Executions) != 2 {
		m.t.Errorf("the history: %v", err)
	}
	await(m.t, patience, func() string {
		if !strings.Contains(n3.tail(50), "nothing is served here for now") {
			return "the node does not say that it serves nothing: " + n3.tail(50)
		}
		return ""
	})
	n1.said(`^Created workspace 'staging'\.\n$`, "workspaces", "create", "staging")
	await(m.t, patience, func() string {
		if o := n1.cli("manifests", "inspect", "-w", "staging"); !strings.Contains(o.stdout, "single(token, gate)") {
			return "what the node serves is not registered in the new workspace: " + o.String()
		}
		return ""
	})
	n2.said(`^R\w+\n$`, "submit", "flows/single", `"again"`, `""`, "-w", "staging")
}
