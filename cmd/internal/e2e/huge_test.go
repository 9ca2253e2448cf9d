package e2e

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// huge makes values that are larger than a node's memory should be.
const huge = `
import hashlib

import coflux as cf


@cf.task(requires={"who": "n1"})
def make(mib):
    return b"".join(i.to_bytes(4, "big") * 262144 for i in range(mib))


@cf.workflow(requires={"who": "n1"})
def give(mib):
    return make(mib)


@cf.task(requires={"who": "n2"})
def digest(execution):
    value = cf.Execution(execution, "huge", "give").result()
    return [len(value), hashlib.sha256(value).hexdigest()]


@cf.workflow()
def look(execution):
    return digest(execution)
`

// TestHugeValue passes a value between tasks of two nodes, which take little memory for it, and has it read when the node that made it
// was killed. COFLUX_HUGE_MIB is its size.
func TestHugeValue(t *testing.T) {
	slow(t)
	t.Parallel()
	mib, err := strconv.Atoi(cmp.Or(os.Getenv("COFLUX_HUGE_MIB"), "200"))
	if err != nil {
		t.Fatal(err)
	}
	m := newMesh(t)
	m.write("huge.py", huge)
	for i := range 3 {
		m.add("--repo", "huge", "--provides", fmt.Sprintf("who:n%d", i+1))
	}
	m.ready()
	sum := sha256.New()
	for i := range mib {
		for range 262144 {
			_, _ = sum.Write([]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
		}
	}
	want := fmt.Sprintf(`[%d, "%x"]`, mib<<20, sum.Sum(nil))
	before := map[*node]int{}
	for _, n := range m.nodes {
		before[n] = resident(t, n.pid(), "VmRSS") >> 20
	}
	n := m.nodes[2]
	began := time.Now()
	run := n.said("^R", "submit", "huge/give", fmt.Sprint(mib))
	n.said(fmt.Sprintf("<fragment bytes \\(%d.0MiB\\)>|1.0GiB", mib), "runs", "result", run)
	t.Logf("%d MiB were made and stored on three nodes in %s", mib, time.Since(began).Round(time.Millisecond))
	m.nodes[0].killed()
	began = time.Now()
	look := n.said("^R", "submit", "huge/look", fmt.Sprintf("%q", run+":1:1"))
	if o := n.cli("runs", "result", look); !strings.Contains(o.stdout, want) {
		t.Errorf("%s, want %s", o, want)
	}
	t.Logf("they were read on another node in %s", time.Since(began).Round(time.Millisecond))
	for _, n := range m.nodes[1:] {
		if grown := resident(t, n.pid(), "VmHWM")>>20 - before[n]; grown > 100 {
			t.Errorf("%s took %d MiB more", n.name, grown)
		} else {
			t.Logf("%s took %d MiB more", n.name, grown)
		}
	}
}
