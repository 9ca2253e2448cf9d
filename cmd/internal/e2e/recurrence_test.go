package e2e

import (
	"strings"
	"testing"
)

// recurrences counts its starts in the effects and gives nothing until the third.
const recurrences = `
import json, os
import flows
from coflux import workflow, task

def begun(token):
    with open(os.path.join(flows.HERE, "effects")) as file:
        return sum(1 for line in file if json.loads(line)["token"] == token)

@task(recurrent=True, delay=0.1)
def until_third(token):
    flows.effect("start", token)
    flows.effect("end", token)
    return token if begun(token) >= 6 else None

@workflow(recurrent=True, delay=0.05)
def void(token):
    flows.effect("start", token)
    flows.effect("end", token)

@workflow()
def polls(token):
    return until_third(token)
`

// TestRecurrence has a task run again until it gives something; its caller sees that alone. A run recurs until it is
// cancelled.
func TestRecurrence(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.write("recurrences.py", recurrences)
	n := m.add("--repo", "flows", "--repo", "recurrences")
	m.ready()
	o := n.cli("submit", "recurrences/polls", `"p"`, "-o", "json")
	text := compact(o.stdout)
	if started, _ := m.counts(); o.status != 0 || started["p"] != 3 {
		t.Fatalf("it ran %d times, want 3: %s", started["p"], o)
	}
	if strings.Count(text, `"successor":2,"type":"recurred"`) != 1 || strings.Count(text, `"successor":3,"type":"recurred"`) != 1 || strings.Count(text, `"data":"p"`) < 2 || !strings.Contains(text, `"recurrent":true`) {
		t.Errorf("the document does not show it: %s", o)
	}

	run := document[struct{ RunID string }](n, "submit", "recurrences/void", `"v"`, "--no-wait").RunID
	await(t, patience, func() string {
		if started, _ := m.counts(); started["v"] < 3 {
			return "the run does not recur"
		}
		return ""
	})
	n.said(`^Execution cancelled\.\n$`, "runs", "cancel", run+":1:1")
	n.said(`^Cancelled\n$`, "runs", "result", run)
	before, _ := m.counts()
	n.said(`^R\w+\n$`, "submit", "flows/nap", `"n"`, "0.5")
	if after, _ := m.counts(); after["v"] > before["v"]+1 {
		t.Errorf("it goes on after it was cancelled: %d starts, then %d", before["v"], after["v"])
	}
}
