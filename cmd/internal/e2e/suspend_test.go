package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// suspensions counts its starts in the effects: an attempt that was suspended begins anew.
const suspensions = `
import json, os, time
import flows
import coflux as cf
from coflux import workflow, task

def begun(token):
    with open(os.path.join(flows.HERE, "effects")) as file:
        return sum(1 for line in file if json.loads(line)["token"] == token)

@task(memo=True)
def leaf(token, gate):
    flows.effect("start", token)
    flows.pass_gate(gate)
    flows.effect("end", token)
    return token

@task(memo=True)
def failing(token):
    raise KeyError(token)

@workflow()
def sleeps(token, delay):
    flows.effect("start", token)
    if begun(token) < 3:
        cf.suspend(delay)
    flows.effect("end", token)
    return begun(token)

@workflow()
def waits(token, timeout, one, two):
    flows.effect("start", token)
    handles = [leaf.submit(f"{token}.{gate}", gate) for gate in (one, two)]
    with cf.suspense(timeout):
        winner, rest = cf.select(handles)
    value = winner.result()
    flows.effect("read", token, child=winner.id, value=json.dumps(value))
    flows.effect("end", token)
    return value

@task(wait=True)
def both(token, handles):
    flows.effect("start", token)
    values = [handle.poll() for handle in handles]
    flows.effect("end", token)
    return values

@workflow()
def collects(token, one, two):
    return both(token, [leaf.submit(f"{token}.{gate}", gate) for gate in (one, two)])

@workflow()
def selects(token):
    out = {}
    slow, quick = leaf.submit(token + ".slow", "never"), leaf.submit(token + ".quick", None)
    winner, rest = cf.select([slow, quick], cancel_remaining=True)
    out["winner"], out["rest"] = winner is quick, rest == [slow]
    for name, handle in [("slow", slow), ("quick", quick), ("failed", failing.submit(token))]:
        try:
            out[name] = handle.result()
        except Exception as exc:
            out[name] = type(exc).__name__
    later = leaf.submit(token + ".later", "never")
    out["poll"] = later.poll(default="nothing")
    began = time.monotonic()
    out["timeout"] = later.poll(0.3, "nothing") == "nothing" and time.monotonic() - began >= 0.3
    winner, rest = cf.select([later, quick, slow])
    out["lowest"] = winner is quick
    try:
        cf.select([later, cf.Execution("Rnone:1:1", "m", "t"), quick])
        out["unknown"] = None
    except RuntimeError as exc:
        out["unknown"] = str(exc)
    later.cancel()
    return out
`

// suspendedMesh serves the module, on so many nodes.
func suspendedMesh(t *testing.T, nodes int) *mesh {
	m := newMesh(t)
	m.write("suspensions.py", suspensions)
	for range nodes {
		m.add("--repo", "flows", "--repo", "suspensions")
	}
	m.ready()
	return m
}

// TestSuspension has bodies give their processes up, for a while and until others are over.
func TestSuspension(t *testing.T) {
	t.Parallel()
	m := suspendedMesh(t, 1)
	n := m.nodes[0]
	began := time.Now()
	o := n.cli("submit", "suspensions/sleeps", `"s"`, "0.4", "-o", "json")
	if text := compact(o.stdout); o.status != 0 || strings.Count(text, `"type":"suspended"`) != 2 || !strings.Contains(text, `"data":4`) || time.Since(began) < 800*time.Millisecond {
		t.Errorf("it took %s: %s", time.Since(began), o)
	}

	m.suspends(n, "w", "0", "one", "two")
	m.suspends(n, "x", "0.2", "three", "four")

	run := document[struct{ RunID string }](n, "submit", "suspensions/collects", `"c"`, `"five"`, `"six"`, "--no-wait").RunID
	m.begun("c.five")
	m.open("six")
	await(t, patience, func() string {
		if _, ended := m.counts(); ended["c.six"] != 1 {
			return "the second child does not end"
		}
		return ""
	})
	if started, _ := m.counts(); started["c"] != 0 {
		t.Error("a call began before what it waits for was over")
	}
	m.open("five")
	n.said(`^$`, "runs", "inspect", run)
	n.said(`c\.five.*c\.six`, "runs", "result", run)

	o = n.cli("submit", "suspensions/selects", `"t"`, "-o", "json")
	for _, want := range []string{`"winner",true`, `"rest",true`, `"slow","ExecutionCancelled"`, `"quick","t.quick"`, `"failed","KeyError"`, `"poll","nothing"`,
		`"timeout",true`, `"lowest",true`, `"unknown","select_error: not_found: execution Rnone:1:1 does not exist"`} {
		if !strings.Contains(compact(o.stdout), want) {
			t.Errorf("no %s: %s", want, o)
		}
	}
}

// suspends has an execution wait for two children without a process until one of them is over.
func (m *mesh) suspends(n *node, token, timeout, one, two string) {
	m.t.Helper()
	run := document[struct{ RunID string }](n, "submit", "suspensions/waits", `"`+token+`"`, timeout, `"`+one+`"`, `"`+two+`"`, "--no-wait").RunID
	m.suspended(n, token, run)
	if text := compact(n.cli("queue", "-o", "json").stdout); !strings.Contains(text, fmt.Sprintf(`"dependencies":["%s:2:1","%s:3:1"]`, run, run)) {
		m.t.Errorf("the queue does not say what it waits for: %s", text)
	}
	m.open(two)
	n.said(`^$`, "runs", "inspect", run)
	n.said(`^"?`+token+`\.`+two+`"?\n$`, "runs", "result", run)
	m.open(one)
	started, _ := m.counts()
	if started[token] != 2 || started[token+"."+one] != 1 || started[token+"."+two] != 1 {
		m.t.Errorf("bodies began: %v", started)
	}
}

// suspended waits until the first attempt of a run is suspended and its process gone.
func (m *mesh) suspended(n *node, token, run string) {
	m.t.Helper()
	body := m.begun(token)
	await(m.t, patience, func() string {
		if syscall.Kill(body.PID, 0) == nil {
			return "the process of the suspended execution lives"
		}
		if text := compact(n.cli("runs", "inspect", "--no-wait", run).stdout); !strings.Contains(text, `"successor":2,"type":"suspended"`) {
			return "it is not suspended: " + text
		}
		return ""
	})
}

// TestSuspensionOutlivesNodes kills a node, the leader if it can be, while an execution is suspended.
func TestSuspensionOutlivesNodes(t *testing.T) {
	t.Parallel()
	m := suspendedMesh(t, 3)
	run := document[struct{ RunID string }](m.nodes[0], "submit", "suspensions/waits", `"w"`, "0.1", `"a"`, `"b"`, "--no-wait").RunID
	m.suspended(m.nodes[0], "w", run)
	busy := []*node{m.where(m.begun("w.a")), m.where(m.begun("w.b"))}
	victim := m.leader()
	if slices.Contains(busy, victim) {
		victim = m.others(busy...)[0]
	}
	victim.killed()
	up := m.running()[0]
	m.leader()
	m.open("b")
	up.said(`^$`, "runs", "inspect", run)
	up.said(`^"?w\.b"?\n$`, "runs", "result", run)
	m.open("a")
	await(t, patience, func() string {
		if _, ended := m.counts(); ended["w.a"] != 1 {
			return "the other child of the suspended attempt does not go on"
		}
		return ""
	})
	if started, _ := m.counts(); started["w"] != 2 || started["w.a"] != 1 || started["w.b"] != 1 {
		t.Errorf("bodies began: %v", started)
	}
}
