package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// durableSteps is how many steps the workflow of TestDurable makes, each followed by the loss of what runs it.
const durableSteps = 10

// TestDurable runs a durable workflow of ten steps. After each of them what runs the workflow is killed: the node, or the
// process alone. It goes on with the next step each time, and no step is run twice.
func TestDurable(t *testing.T) {
	t.Parallel()
	m := startMesh(t, 3)
	run := m.tunnel(m.nodes[0], "deep", durableSteps)
	for k := range durableSteps {
		body := m.dug("deep", k)
		at := m.where(body)
		if k%3 == 2 {
			if err := syscall.Kill(body.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			m.open(fmt.Sprintf("deep-%d", k))
			continue
		}
		at.killed()
		m.open(fmt.Sprintf("deep-%d", k))
		if k+1 < durableSteps {
			m.dug("deep", k+1) // while the node is down
		}
		at.start()
	}
	sum := strconv.Itoa(durableSteps * (durableSteps - 1) / 2)
	if got := m.value(m.nodes[1], run); got != sum {
		t.Errorf("the workflow gave %s, want %s", got, sum)
	}
	started, ended := m.counts()
	for k := range durableSteps {
		token := fmt.Sprintf("deep.%d", k)
		if started[token] != 1 || ended[token] != 1 {
			t.Errorf("step %d was started %d times and ended %d times", k, started[token], ended[token])
		}
	}
	if started["deep"] != durableSteps+1 {
		t.Errorf("the workflow began %d times, want %d", started["deep"], durableSteps+1)
	}
	doc := m.document(m.nodes[2], run)
	if len(doc.Steps) != durableSteps+1 {
		t.Errorf("the run has %d steps, want %d", len(doc.Steps), durableSteps+1)
	}
}

// TestDurableGivesUp kills the process of a durable workflow that comes no further: the third loss ends it, with a sentence.
func TestDurableGivesUp(t *testing.T) {
	t.Parallel()
	m := startMesh(t, 1)
	n := m.nodes[0]
	run := m.tunnel(n, "stuck", 3)
	for attempt := 1; attempt <= 4; attempt++ { // the first one completes a step
		var body effect
		await(t, patience, func() string {
			for _, e := range m.effects() {
				if e.Event == "dug" && e.Execution == fmt.Sprintf("%s:1:%d", run, attempt) {
					body = e
					return ""
				}
			}
			return fmt.Sprintf("attempt %d has not come to the gate", attempt)
		})
		if err := syscall.Kill(body.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	r, err := m.result(n, run, patience)
	if err != nil {
		t.Fatal(err)
	}
	if r.Type != client.ResultError || !strings.HasPrefix(r.Error.Message, "lost 3 times in a row without completing another step") {
		t.Errorf("the run ended as %s", r.Raw)
	}
}

// dug waits until the workflow has got the result of its step k, and gives the latest line that says so.
func (m *mesh) dug(token string, k int) (line effect) {
	m.t.Helper()
	await(m.t, patience, func() string {
		line = effect{}
		for _, e := range m.effects() {
			if e.Token == token && e.Event == "dug" && e.Value == strconv.Itoa(k) {
				line = e
			}
		}
		if line.PID == 0 {
			return fmt.Sprintf("step %d of %s is not done", k, token)
		}
		return ""
	})
	return line
}

// tunnel starts the durable workflow as people do: the command line sends its options along.
func (m *mesh) tunnel(n *node, token string, steps int) (run string) {
	m.t.Helper()
	said := n.said(`^Workflow submitted \(run: R\w+\)\.\n$`, "submit", "--no-wait", "flows/tunnel", `"`+token+`"`, strconv.Itoa(steps))
	return strings.TrimSuffix(strings.Fields(said)[3], ").")
}
