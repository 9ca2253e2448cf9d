package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// floods is a module whose bodies write as much as they can.
const floods = `
import os, threading, time
from coflux import workflow
import flows


def write(fd, data):
    while data:
        data = data[os.write(fd, data):]


@workflow()
def all_ways(seconds):
    """Fills both descriptors and print at once, then one line of 50 MB and bytes that are no text."""
    over = time.monotonic() + seconds

    def raw(fd):
        while time.monotonic() < over:
            write(fd, (b"y" * 1023 + b"\n") * 64)

    def lines():
        while time.monotonic() < over:
            print("line")

    threads = [threading.Thread(target=f, args=a) for f, a in ((raw, (1,)), (raw, (2,)), (lines, ()))]
    for t in threads:
        t.start()
    got = flows.leaf("flooded", "")
    for t in threads:
        t.join()
    for _ in range(50):
        write(1, b"x" * 1000000)
    write(2, bytes(range(256)) * 4096)
    print("the last words")
    return got


@workflow()
def endless(token):
    flows.effect("start", token)
    while True:
        os.write(1, b"z" * 65536)
`

// memoryBound is how much a node's memory may grow while bodies flood it: the queue of the journal (8 MiB), what is on
// its way, and garbage.
const memoryBound = 96 << 20

// resident is the process's memory in bytes: its peak since it started, or now.
func resident(t *testing.T, pid int, what string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(what + `:\s+(\d+) kB`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("no %s in\n%s", what, b)
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n << 10
}

// TestFloodOfOutput has bodies that write without end: the node's memory stays bounded, other runs go on, and so does what
// the flooding body asks for.
func TestFloodOfOutput(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.write("floods.py", floods)
	n := m.add("--repo", "flows", "--repo", "floods", "--concurrency", "4")
	m.ready()
	n.said(`^R\w+\n$`, "submit", "flows/hello", `"Joe"`)
	before := resident(t, n.pid(), "VmRSS")

	seconds := "1" // more than memoryBound holds
	if os.Getenv("COFLUX_SLOW") != "" {
		seconds = "3"
	}
	run := submitted(n, "floods/all_ways", seconds)
	others := 0
	await(t, patience, func() string {
		asked := time.Now()
		o := n.cli("submit", "flows/hello", `"Joe"`, "-o", "json")
		if o.status != 0 || !strings.Contains(o.stdout, "Hello, Joe!") || time.Since(asked) > 10*time.Second {
			t.Fatalf("another run during the flood, after %s: %s", time.Since(asked), o)
		}
		others++
		if o := n.cli("runs", "result", run); o.status != 0 {
			return "the flooding run does not end: " + o.String()
		} else if o.stdout != "\"flooded\"\n" {
			t.Fatalf("the flooding run: %s", o)
		}
		return ""
	})
	peak := resident(t, n.pid(), "VmHWM")
	t.Logf("%d other runs; the node's memory grew from %d to %d MiB", others, before>>20, peak>>20)
	if peak-before > memoryBound {
		t.Errorf("the node's memory grew from %d to %d MiB", before>>20, peak>>20)
	}
	if o := n.cli("logs", run); !strings.Contains(o.stdout, "the last words") {
		t.Errorf("the last line is missing: status %d, stderr %s, the end: %.300s", o.status, o.stderr, o.stdout[max(0, len(o.stdout)-300):])
	}

	run = submitted(n, "floods/endless", `"endless"`)
	line := m.begun("endless")
	n.said(``, "runs", "cancel", run)
	await(t, patience, func() string {
		if alive(line.PID) {
			return "the cancelled flood goes on"
		}
		return ""
	})
}

// submitted starts a run and does not wait for it.
func submitted(n *node, args ...string) string {
	n.m.t.Helper()
	said := n.said(`\(run: R\w+\)`, append([]string{"submit", "--no-wait"}, args...)...)
	return strings.TrimSuffix(said[strings.LastIndex(said, " ")+1:], ").")
}
