package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// flows is the module that the nodes of a mesh serve. Each body writes a line at its start and at its end, outside the
// engine, with the token that its caller gave it. A gate is a file that a body waits for.
const flows = `
import json, os, subprocess, time
from coflux import suspense, task, workflow, _context

HERE = os.path.dirname(os.path.abspath(__file__))


def effect(event, token, **more):
    line = json.dumps({
        "event": event, "token": token, "execution": _context.current().execution_id, "pid": os.getpid(),
        "boot": os.environ.get("COFLUX_BOOT", ""), "mono": time.clock_gettime_ns(time.CLOCK_BOOTTIME), **more,
    })
    fd = os.open(os.path.join(HERE, "effects"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, (line + "\n").encode())
    os.close(fd)


def pass_gate(gate):
    while gate and not os.path.exists(os.path.join(HERE, "gate-" + gate)):
        time.sleep(0.01)


@task()
def leaf(token, gate):
    effect("start", token)
    pass_gate(gate)
    effect("end", token)
    return token


@workflow()
def parent(token, gate):
    effect("start", token)
    child = leaf.submit(token + ".1", gate)
    got = child.result()
    effect("read", token, child=child.id, value=json.dumps(got))
    effect("end", token)
    return [token, got]


@workflow()
def single(token, gate):
    effect("start", token)
    pass_gate(gate)
    effect("end", token)
    return token


@workflow()
def outer(token, gate):
    effect("start", token)
    return [token, single(token + ".1", gate)]


@workflow()
def nap(token, seconds):
    effect("start", token)
    time.sleep(seconds)
    effect("end", token)
    return token


@workflow()
def spawner(token, gate):
    effect("start", token)
    child = subprocess.Popen(["sleep", "600"])
    effect("spawned", token, value=str(child.pid))
    pass_gate(gate)


@workflow()
def talk(token, gate):
    effect("start", token)
    print("begin", token)
    pass_gate(gate)
    print("end", token)
    effect("end", token)
    return {"token": token}


@workflow()
def flaky(token, failures):
    effect("start", token)
    if int(_context.current().execution_id.rsplit(":", 1)[1]) <= failures:
        raise ValueError("not yet")
    effect("end", token)
    return token


@task(retries=2)
def wobbly(token, failures):
    return flaky.fn(token, failures)


@workflow()
def steady(token, failures):
    return wobbly(token, failures)


@task(cache=True)
def once(token):
    effect("start", token)
    return token


@workflow()
def twice(token):
    return [once(token), once(token)]


@task(cache=True)
def shared(token):
    return leaf.fn(token, "")


@task(defer=True, delay=0.2)
def late(token):
    return leaf.fn(token, "")


@task(memo=True)
def kept(token):
    return leaf.fn(token, "")


@task(recurrent=True, delay=0.1)
def again(token):
    effect("start", token)
    effect("end", token)
    return None if int(_context.current().execution_id.rsplit(":", 1)[1]) < 3 else token


@workflow()
def web(token, key):
    effect("start", token)
    calls = [shared.submit("any.s" + key), late.submit("any.d" + key), kept.submit(token + ".m"), kept.submit(token + ".m"),
             single.submit(token + ".w", ""), wobbly.submit(token + ".r", 1), again.submit(token + ".a")]
    got = []
    for call in calls:
        got.append(call.result())
        effect("read", token, child=call.id, value=json.dumps(got[-1]))
    effect("end", token)
    return got


@task()
def dig(token, k):
    effect("start", token + "." + str(k))
    effect("end", token + "." + str(k))
    return k


@workflow(durable=True)
def tunnel(token, steps):
    effect("start", token)
    total = 0
    for k in range(steps):
        total += dig(token, k)
        effect("dug", token, value=str(k))
        pass_gate(token + "-" + str(k))
    effect("end", token)
    return total


@workflow(durable=True)
def trek(token):
    effect("start", token)
    total = 0
    for k in range(3):
        total += dig(token, k)
        time.sleep(0.2)
    effect("end", token)
    return total


@task(memo=True)
def snooze(token, seconds):
    return nap.fn(token, seconds)


@workflow()
def patient(token, seconds):
    effect("start", token)
    child = snooze.submit(token + ".n", seconds)
    with suspense(0.2):
        got = child.result()
    effect("read", token, child=child.id, value=json.dumps(got))
    effect("end", token)
    return got


@workflow()
def hello(name):
    return "Hello, " + name + "!"


@workflow()
def fails(word):
    def deeper():
        raise ValueError("bad " + word)
    deeper()
`

// effect is one line of a body.
type effect struct {
	Event     string `json:"event"` // start | read | end
	Token     string `json:"token"`
	Execution string `json:"execution"`
	PID       int    `json:"pid"`
	Boot      string `json:"boot"`
	Mono      int64  `json:"mono"`            // CLOCK_BOOTTIME, nanoseconds
	Child     string `json:"child,omitempty"` // whose value was read
	Value     string `json:"value,omitempty"`
}

// effects reads what the bodies of a mesh have written until now.
func (m *mesh) effects() (all []effect) {
	m.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.code, "effects"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		var e effect
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			m.t.Fatalf("effect line %q: %v", lines.Text(), err)
		}
		all = append(all, e)
	}
	return all
}

// started counts the bodies that were begun for each token, and ended those that came to their end.
func (m *mesh) counts() (started, ended map[string]int) {
	started, ended = map[string]int{}, map[string]int{}
	for _, e := range m.effects() {
		switch e.Event {
		case "start":
			started[e.Token]++
		case "end":
			ended[e.Token]++
		}
	}
	return started, ended
}

// begun waits for the body of a token to begin and returns its first line.
func (m *mesh) begun(token string) (line effect) {
	m.t.Helper()
	await(m.t, patience, func() string {
		for _, e := range m.effects() {
			if e.Token == token && e.Event == "start" {
				line = e
				return ""
			}
		}
		return "the body of " + token + " has not begun"
	})
	return line
}

// open lets bodies pass a gate.
func (m *mesh) open(gate string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.code, "gate-"+gate), nil, 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// where is the node on which a body runs, by its boot mark "node id/boot".
func (m *mesh) where(e effect) *node {
	m.t.Helper()
	id, _, _ := strings.Cut(e.Boot, "/")
	for _, n := range m.nodes {
		if n.id == id {
			return n
		}
	}
	m.t.Fatalf("no node has the id of %q", e.Boot)
	return nil
}
