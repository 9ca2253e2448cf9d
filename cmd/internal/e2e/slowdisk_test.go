package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// slowDisk has each fsync of a node take so much longer, until the returned function is called.
func (n *node) slowDisk(delay time.Duration) (fast func()) {
	n.m.t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		n.m.t.Skip("slow disks are made with strace, which is not here")
	}
	calls := filepath.Join(n.m.dir, n.name+".fsyncs")
	p := launch(n.m.t, n.log, n.m.dir, []string{strace, "-f", "-q", "-p", fmt.Sprint(n.pid()), "-o", calls, "-e", "trace=fsync,fdatasync",
		"-e", fmt.Sprintf("inject=fsync,fdatasync:delay_enter=%d", delay.Microseconds())})
	await(n.m.t, patience, func() string {
		if !p.running() {
			n.m.t.Skipf("a process cannot be traced here: %s", n.tail(3))
		}
		if n.tracer() == 0 {
			return "not traced yet"
		}
		return ""
	})
	return func() {
		n.m.t.Helper()
		p.signal(n.m.t, syscall.SIGTERM)
		<-p.done
		text, _ := os.ReadFile(calls)
		if count := strings.Count(string(text), "(DELAYED)"); count < 5 {
			n.m.t.Errorf("only %d fsyncs of %s were slow", count, n.name)
		} else {
			n.m.t.Logf("%d fsyncs of %s were slow", count, n.name)
		}
	}
}

// tracer is the process that traces the node; 0 for none.
func (n *node) tracer() (pid int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.pid()))
	_, rest, _ := strings.Cut(string(text), "TracerPid:")
	_, _ = fmt.Sscan(rest, &pid)
	return pid
}

// TestSlowDisks slows the disk of a follower and then that of the leader down, while values, files and log lines are written that all
// nodes have to hold: nothing is lost, and a slow follower does not cost the leader its lead.
func TestSlowDisks(t *testing.T) {
	slow(t)
	t.Parallel()
	m := newMesh(t)
	m.write("flows.py", flows+chatter)
	for range 3 {
		m.add("--repo", "flows")
	}
	m.ready()
	leads := m.leader()
	talks := m.submit(leads, "chatter", "s", "s")
	on := m.where(m.begun("s"))
	runs := map[string]string{} // values by run
	for _, victim := range []*node{m.others(leads, on)[0], leads} {
		fast := victim.slowDisk(200 * time.Millisecond)
		for i, n := range m.nodes {
			text := strings.Repeat(fmt.Sprintf("%s%d", victim.name, i), 5000)
			runs[m.submit(n, "single", text, "")] = text
			file := filepath.Join(m.dir, fmt.Sprintf("file-%s-%d", victim.name, i))
			if err := os.WriteFile(file, []byte(text+"file"), 0o600); err != nil {
				t.Fatal(err)
			}
			o := n.cli("blobs", "put", file)
			if o.status != 0 {
				t.Fatal(o)
			}
			for _, reader := range m.nodes {
				reader.same(strings.TrimSpace(o.stdout), file)
			}
		}
		for run, text := range runs {
			for _, n := range m.nodes {
				m.hasValue(n, run)
				if o := n.cli("runs", "result", run); !strings.Contains(o.stdout, text) {
					t.Errorf("%s gives %.200s for %.40s", n.name, o, text)
				}
			}
		}
		fast()
		if victim != leads && m.leader() != leads {
			t.Errorf("%s leads no more, because the disk of %s is slow", leads.name, victim.name)
		}
	}
	m.open("s")
	all := compact(m.value(leads, talks))
	for _, n := range m.nodes {
		await(t, patience, func() string {
			if got := fmt.Sprint(m.lines(n, talks)); got != all {
				return fmt.Sprintf("%s shows %s lines of %s", n.name, got, all)
			}
			return ""
		})
	}
	m.settle(patience)
	m.verify(true)
}

// TestAssetsOnSlowDisks has files stored and passed on while the disk of one holder is slow.
func TestAssetsOnSlowDisks(t *testing.T) {
	slow(t)
	t.Parallel()
	m := newMesh(t)
	m.write("keeping.py", keeping)
	for range 3 {
		m.add("--repo", "keeping")
	}
	m.ready()
	victim := m.others(m.leader())[0]
	fast := victim.slowDisk(200 * time.Millisecond)
	o := m.leader().cli("submit", "keeping/pass_on", "20", `"slow"`, "-o", "json")
	if o.status != 0 {
		t.Fatal(o)
	}
	fast()
	run := strings.Split(slices.Sorted(maps.Keys(decode[client.Run](t, o.stdout).Steps))[0], ":")[0]
	for _, n := range m.nodes {
		if o := n.cli("runs", "result", run); !strings.Contains(o.stdout, "slow 19") || strings.Count(o.stdout, "all/d") != 20 {
			t.Errorf("not all files came through: %s", o)
		}
	}
}
