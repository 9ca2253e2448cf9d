package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// smallDisk gives a node that is not there yet a disk of its own, in memory, or skips the test where that is not possible.
func (m *mesh) smallDisk(name string, mib int) {
	m.t.Helper()
	if os.Geteuid() != 0 {
		m.t.Skip("a disk of its own needs root")
	}
	dir := filepath.Join(m.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		m.t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", mib), "tmpfs", dir).CombinedOutput(); err != nil {
		m.t.Skipf("a disk in memory cannot be mounted here: %s", out)
	}
	m.t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
}

// fill leaves so much on the disk of a node; freeing undoes it.
func (n *node) fill(left int64) {
	n.m.t.Helper()
	ballast := filepath.Join(n.dir, "ballast")
	_ = os.Remove(ballast)
	var s syscall.Statfs_t
	if err := syscall.Statfs(n.dir, &s); err != nil {
		n.m.t.Fatal(err)
	}
	f, err := os.Create(ballast)
	if err != nil {
		n.m.t.Fatal(err)
	}
	defer f.Close()
	chunk := make([]byte, 64<<10)
	for size := int64(s.Bavail)*s.Bsize - left; size > 0; size -= int64(len(chunk)) {
		if _, err := f.Write(chunk[:min(size, int64(len(chunk)))]); err != nil {
			return // it is full
		}
	}
}

func (n *node) freeing() {
	n.m.t.Helper()
	if err := os.Remove(filepath.Join(n.dir, "ballast")); err != nil {
		n.m.t.Fatal(err)
	}
}

// TestFullDisks fills the disks of one node and of all: first down to the reserve, then to the last byte.
func TestFullDisks(t *testing.T) {
	slow(t)
	t.Parallel()
	m := newMesh(t)
	const reserve = 40 << 20
	for i := range 3 {
		m.smallDisk(fmt.Sprint("n", i+1), 160)
		m.add("--repo", "flows", "--disk-reserve", "40MiB")
	}
	m.ready()
	large := func(n *node, token string) {
		t.Helper()
		token += strings.Repeat("v", 50_000)
		run := m.submit(n, "single", token, "")
		if _, err := m.result(n, run, patience); err != nil {
			t.Fatal(err)
		}
		n.said(token[:1000], "runs", "result", run)
	}
	large(m.nodes[0], "before")

	// The leader's disk: the lead goes to a node with room, all goes on, and bulk is kept elsewhere.
	first := m.leader()
	rest := m.others(first)
	first.fill(reserve - 5<<20)
	await(t, patience, func() string {
		if m.leader() == first {
			return "a node without room leads"
		}
		return ""
	})
	for i, n := range m.nodes {
		large(n, fmt.Sprint("one", i))
		m.submit(n, "parent", fmt.Sprint("p", i), "")
	}
	rest[0].said(first.name+`.*alive, disk full`, "nodes")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("content of a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if o := first.cli("blobs", "put", file); o.status == 0 || !strings.Contains(o.stderr, "disk_full: cannot store a blob: the disk is full: node "+first.name+" has ") {
		t.Error(o)
	}
	rest[0].said(`^[0-9a-f]{64}`, "blobs", "put", file)
	m.settle(patience)

	// All disks: nothing new is begun, what runs goes on, what was is read.
	held := m.submit(m.nodes[1], "single", "held", "held")
	m.begun("held")
	for _, n := range rest {
		n.fill(reserve - 5<<20)
	}
	for _, n := range m.nodes {
		await(t, patience, func() string {
			_, err := m.try(t.Context(), n, "single", fmt.Sprintf("refused%s.%d", n.name, time.Now().UnixNano()), "")
			if err == nil || !strings.Contains(err.Error(), "too few voting nodes have room on their disks") {
				return fmt.Sprintf("not refused: %v", err)
			}
			return ""
		})
	}
	m.open("held")
	for _, n := range m.nodes {
		m.value(n, held)
	}
	for _, n := range m.nodes {
		n.freeing()
	}
	freed := time.Now()
	for _, n := range m.nodes {
		await(t, patience, func() string {
			if _, err := m.try(t.Context(), n, "single", fmt.Sprintf("again%s.%d", n.name, time.Now().UnixNano()), ""); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	t.Logf("new runs were accepted by all nodes %s after there was room again", time.Since(freed).Round(time.Millisecond))

	// To the last byte, one node after the other: nobody dies, nothing that was acknowledged is lost.
	for i, n := range m.nodes {
		n.fill(0)
		for k := range 20 {
			run, err := m.trigger(t.Context(), m.others(n), "parent", fmt.Sprintf("last%d.%d", i, k), "")
			if err == nil {
				_, err = m.result(m.others(n)[0], run, patience)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		n.freeing()
		m.ready()
	}
	for _, n := range m.nodes {
		if starts := n.starts.Load(); starts != 1 {
			t.Errorf("%s was started %d times", n.name, starts)
		}
	}
	large(m.nodes[0], "after")
	m.settle(patience)
	m.verify(true)
}
