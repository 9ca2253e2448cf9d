package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

// options calls with options of its own.
const options = `
import flows
from coflux import workflow

@workflow()
def mixed(token):
    own = flows.leaf.with_requires({"gpu": [], "disk": ["ssd", "nvme"]})
    inherits, own = flows.leaf.submit(token + ".1", ""), own.submit(token + ".2", "")
    return [inherits.result(), own.result()]

@workflow()
def shared(token):
    leaf, first = flows.leaf, token + ".1"
    asked = [leaf.submit(first, ""), leaf.submit(first, ""), leaf.with_memo(["token"]).submit(first, ""),
             leaf.with_memo(False).submit(first, ""), leaf.submit(token + ".2", "")]
    return [handle.result() for handle in asked]
`

// nodesOf gives, by step number, the node that each step's first attempt was given to.
func nodesOf(t *testing.T, document string) map[int]string {
	t.Helper()
	var doc struct {
		Steps map[string]struct {
			StepNumber int
			Executions map[string]struct{ Node *string }
		}
	}
	if err := json.Unmarshal([]byte(document), &doc); err != nil {
		t.Fatalf("%v: %s", err, document)
	}
	nodes := map[int]string{}
	for _, s := range doc.Steps {
		if node := s.Executions["1"].Node; node != nil {
			nodes[s.StepNumber] = *node
		}
	}
	return nodes
}

// TestTags holds work back until a node comes that has its tags, says why, and gives each step to the node that it is
// for.
func TestTags(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.write("options.py", options)
	n := m.add("--repo", "flows", "--repo", "options", "--provides", "disk:ssd,disk:hdd")
	m.ready()
	o := n.cli("submit", "options/mixed", `"m"`, "--requires", "gpu", "--no-wait", "-o", "json")
	var made struct{ RunID string }
	if err := json.Unmarshal([]byte(o.stdout), &made); err != nil || o.status != 0 {
		t.Fatal(o)
	}
	if o := n.cli("submit", "flows/single", `"plain"`, `""`); o.status != 0 {
		t.Fatalf("what requires nothing does not run: %s", o)
	}
	if o := n.cli("queue", "--no-watch"); o.status != 0 || !strings.Contains(o.stdout, "gpu:true") ||
		!strings.Contains(o.stdout, "no session: no node that serves the workflow options/mixed provides gpu:true") {
		t.Fatalf("the queue does not say why the run waits: %s", o)
	}

	m.add("--repo", "flows", "--repo", "options", "--accepts", "gpu")
	m.add() // so that three vote
	m.ready()
	if o := n.cli("runs", "inspect", made.RunID); o.status != 0 {
		t.Fatal(o)
	}
	o = n.cli("runs", "inspect", made.RunID, "--no-wait")
	if got := nodesOf(t, o.stdout); o.status != 0 || len(got) != 3 || got[1] != "n2" || got[2] != "n2" || got[3] != "n1" {
		t.Errorf("the steps ran on %v: %s", got, o)
	}
	if !strings.Contains(compact(o.stdout), `"requires":{"gpu":["true"]}`) || !strings.Contains(compact(o.stdout), `"requires":{"disk":["ssd","nvme"],"gpu":[]}`) {
		t.Errorf("the tags are not shown: %s", o)
	}
	for k := range 4 {
		o := n.cli("submit", "flows/single", `"p`+string(rune('0'+k))+`"`, `""`, "-o", "json")
		if got := nodesOf(t, o.stdout); o.status != 0 || got[1] != "n1" {
			t.Errorf("n2 was given what requires nothing (%v): %s", got, o)
		}
	}
	if o := n.cli("sessions", "list"); o.status != 0 || !strings.Contains(o.stdout, "disk:ssd, disk:hdd") {
		t.Errorf("the sessions do not show their tags: %s", o)
	}
	if o := n.cli("submit", "flows/single", `"x"`, `""`, "--requires", "g p"); o.status != 1 || !strings.Contains(o.stderr, `"g p" cannot name a tag`) {
		t.Errorf("a bad tag: %s", o)
	}
}
