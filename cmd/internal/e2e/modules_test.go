package e2e

import (
	"os"
	"strings"
	"testing"
	"time"
)

// reloadWithin is when new code is used on an idle machine: a second, and the time of its import.
const reloadWithin = 2 * time.Second

// versioned is a module whose code says which version it is.
func versioned(version string) string {
	return `
import flows
from coflux import workflow

@workflow()
def version(token, gate):
    flows.effect("start", token)
    flows.pass_gate(gate)
    flows.effect("end", token)
    return "` + version + `"
`
}

// call runs versions.version and returns its value.
func (m *mesh) call(n *node, token string) string {
	m.t.Helper()
	o := n.cli("submit", "versions/version", `"`+token+`"`, `""`, "-o", "json")
	if o.status != 0 {
		m.t.Fatalf("submit: %s", o)
	}
	for _, v := range []string{"one", "two", "three"} {
		if strings.Contains(o.stdout, `"`+v+`"`) {
			return v
		}
	}
	m.t.Fatalf("no version in %s", o.stdout)
	return ""
}

// TestReload edits a module: new executions use the new code, a running one finishes on the old, and broken code leaves
// the last good one serving.
func TestReload(t *testing.T) {
	slow(t)
	t.Parallel()
	m := newMesh(t)
	m.write("versions.py", versioned("one"))
	n := m.add("--repo", "flows", "--repo", "versions", "--reload")
	m.ready()
	if got := m.call(n, "v0"); got != "one" {
		t.Fatalf("version %s, want one", got)
	}
	running := launch(t, m.dir+"/running", m.dir, []string{bin + "/coflux", "--host", n.host(), "-o", "json", "submit", "versions/version", `"v1"`, `"reload"`})
	m.begun("v1")

	m.write("versions.py", versioned("two"))
	edited := time.Now()
	k := 0
	await(t, patience, func() string {
		k++
		if got := m.call(n, "v2."+strings.Repeat("x", k)); got != "two" {
			return "new executions use version " + got
		}
		return ""
	})
	took := time.Since(edited)
	t.Logf("the first execution on the new code ended %s after the edit (%s without the load of the machine)", took.Round(time.Millisecond), reloadWithin)
	if took > 5*reloadWithin {
		t.Errorf("new code was used only after %s", took)
	}
	m.open("reload")
	if status := running.wait(t, patience); status != 0 {
		t.Errorf("the run that went on ended with status %d", status)
	}
	if said, _ := os.ReadFile(m.dir + "/running"); !strings.Contains(string(said), `"one"`) || strings.Contains(string(said), `"two"`) {
		t.Errorf("the run that went on did not finish on the old code: %s", said)
	}

	m.write("versions.py", "this is no Python\n")
	await(t, patience, func() string {
		o := n.cli("nodes")
		if !strings.Contains(o.stdout, "n1: module versions failed to load (the last good code is served):") || !strings.Contains(o.stdout, "SyntaxError") {
			return "coflux nodes does not say that the code is broken: " + o.String()
		}
		return ""
	})
	if log := n.tail(50); !strings.Contains(log, "module cannot be imported: module=versions") || !strings.Contains(log, "SyntaxError") {
		t.Errorf("the log does not say that the code is broken:\n%s", log)
	}
	if got := m.call(n, "v3"); got != "two" {
		t.Errorf("broken code left version %s serving, want two", got)
	}

	m.write("versions.py", versioned("three"))
	await(t, patience, func() string {
		k++
		if got := m.call(n, "v4."+strings.Repeat("x", k)); got != "three" {
			return "after the repair version " + got + " is used"
		}
		return ""
	})
	if o := n.cli("nodes"); strings.Contains(o.stdout, "failed") {
		t.Errorf("after the repair: %s", o)
	}
	// Broken code counts as none; that nothing had changed after the start is not said.
	if log := n.tail(1000); strings.Count(log, "module served: module=versions") != 3 || !strings.Contains(log, "generation=3") {
		t.Errorf("the log does not say that the module was served three times:\n%s", log)
	}
}

// TestBrokenModule has a module that cannot be imported: the others are served, and node and command line say why.
func TestBrokenModule(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.write("broken.py", "import no_such_module\n")
	n := m.add("--repo", "broken", "--repo", "flows")
	m.ready()
	n.said(`(?m)^n1 \* .* broken \(failed\), flows$`, "nodes")
	n.said(`(?m)^n1: module broken failed to load \(not served\):\n  .*no_such_module`, "nodes")
	if log := n.tail(100); !strings.Contains(log, "module cannot be imported: module=broken") || !strings.Contains(log, "no_such_module") {
		t.Errorf("the log does not say which module and why:\n%s", log)
	}
	run := n.said(`^R\w+\n$`, "submit", "flows/hello", `"Joe"`)
	n.said(`^"Hello, Joe!"\n$`, "runs", "result", run)
	if o := n.cli("submit", "broken/anything"); o.status != 1 || !strings.HasPrefix(o.stderr, "failed to get workflow: not_found: ") {
		t.Errorf("submit to the broken module: %s", o)
	}
}
