package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// wires are network namespaces, one per node, on a bridge.
type wires struct {
	t      *testing.T
	prefix string
	subnet string
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// newWires makes the namespaces, or skips the test where that is not possible.
func newWires(t *testing.T, nodes int) *wires {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("network namespaces need the program ip")
	}
	w := &wires{t: t, prefix: fmt.Sprintf("cfx%d", os.Getpid()%100000), subnet: fmt.Sprintf("10.77.%d.", os.Getpid()%250)}
	t.Cleanup(func() {
		for i := range nodes {
			_ = ip("netns", "del", w.ns(i))
		}
		_ = ip("link", "del", w.prefix)
	})
	steps := [][]string{
		{"link", "add", w.prefix, "type", "bridge"},
		{"addr", "add", w.subnet + "254/24", "dev", w.prefix},
		{"link", "set", w.prefix, "up"},
	}
	for i := range nodes {
		steps = append(steps,
			[]string{"netns", "add", w.ns(i)},
			[]string{"link", "add", w.port(i), "type", "veth", "peer", "name", "eth0", "netns", w.ns(i)},
			[]string{"link", "set", w.port(i), "master", w.prefix, "up"},
			[]string{"-n", w.ns(i), "addr", "add", w.ip(i) + "/24", "dev", "eth0"},
			[]string{"-n", w.ns(i), "link", "set", "eth0", "up"},
			[]string{"-n", w.ns(i), "link", "set", "lo", "up"})
	}
	for _, s := range steps {
		if err := ip(s...); err != nil {
			t.Skipf("network namespaces cannot be made here: %v", err)
		}
	}
	return w
}

func (w *wires) ns(i int) string   { return fmt.Sprintf("%sn%d", w.prefix, i) }
func (w *wires) port(i int) string { return fmt.Sprintf("%sv%d", w.prefix, i) }
func (w *wires) ip(i int) string   { return fmt.Sprintf("%s%d", w.subnet, i+1) }

// cut takes a node off the network, or puts it back.
func (w *wires) cut(i int, state string) {
	w.t.Helper()
	if err := ip("link", "set", w.port(i), state); err != nil {
		w.t.Fatal(err)
	}
}

// TestPartition cuts nodes off that execute: first one that follows, then the leader. On the cut-off side the bodies
// die before the others give them up; the others go on; after the cut all are one mesh again.
func TestPartition(t *testing.T) {
	slow(t)
	t.Parallel()
	w := newWires(t, 3)
	m := newMesh(t)
	for i := range 3 {
		args := []string{"--repo", "flows", "--insecure", "--bind", w.ip(i)}
		if i == 0 {
			args = append(args, "--bootstrap-expect", "1")
		}
		m.addAt(w.ip(i), w.ns(i), args...)
	}
	m.ready()
	for _, role := range []string{"a follower", "the leader"} {
		t.Run(role, func(t *testing.T) { m.partition(t, w, role) })
	}
	m.settle(patience)
	m.verify(false)
}

func (m *mesh) partition(t *testing.T, w *wires, role string) {
	var run string
	var body effect
	var off *node
	for i := 0; ; i++ {
		if i == 50 {
			t.Fatalf("%s gets no work", role)
		}
		leader := m.leader()
		token := fmt.Sprintf("%s%d", strings.ReplaceAll(role, " ", "-"), i)
		run = m.submit(m.nodes[i%3], "single", token, token)
		body = m.begun(token)
		if off = m.where(body); (off == leader) == (role == "the leader") {
			break
		}
		m.open(token)
		m.value(leader, run)
	}
	rest := m.others(off)
	k := 0
	for i, n := range m.nodes {
		if n == off {
			k = i
		}
	}
	m.hist.nemesis("cut", off)
	began := time.Now()
	w.cut(k, "down")
	m.transport.CloseIdleConnections()
	outlived := make(chan bool, 1)
	given := make(chan time.Duration, 1)
	go func() {
		_, _ = awaitResult(t.Context(), rest[0], m.workspace, run, patience)
		outlived <- alive(body.PID)
		given <- time.Since(began)
	}()
	after := m.submit(rest[1], "single", "during-"+off.name+body.Token, "")
	t.Logf("cut off: a submission was taken by the others after %s", time.Since(began).Round(time.Millisecond))
	m.value(rest[0], after)
	await(t, abandonAfter, func() string {
		if alive(body.PID) {
			return "the body on the cut-off side is alive"
		}
		return ""
	})
	t.Logf("the body on the cut-off side was dead after %s", time.Since(began).Round(time.Millisecond))
	if <-outlived {
		t.Error("the body was alive when it was given up (I6)")
	}
	took := <-given
	t.Logf("F6c: given up after %s", took.Round(time.Millisecond))
	if limit := abandonAfter + 2*time.Second; took > limit {
		t.Errorf("given up after %s, want at most %s", took, limit)
	}
	m.abandoned(rest[1], run, patience)
	m.hist.nemesis("heal", off)
	w.cut(k, "up")
	m.transport.CloseIdleConnections()
	healed := time.Now()
	m.ready()
	t.Logf("one mesh again %s after the cut was healed", time.Since(healed).Round(time.Millisecond))
	m.value(off, m.submit(off, "single", "healed-"+body.Token, ""))
}
