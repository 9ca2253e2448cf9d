package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// holdings is what a node holds of the machine.
type holdings struct {
	processes, descriptors, files, threads int
}

// workDir is a working directory of bodies, itself: as many are kept to be used again as there were at once.
var workDir = regexp.MustCompile(`/scratch/x[0-9]+$`)

func (n *node) holdings() (h holdings) {
	h.processes = len(bodies(n.id))
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.pid()))
	h.descriptors = len(fds)
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", n.pid()))
	h.threads = len(tasks)
	for _, dir := range []string{filepath.Join(n.m.dir, "tmp-"+n.name), filepath.Join(n.dir, "scratch")} {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && path != dir && !workDir.MatchString(path) {
				h.files++
			}
			return nil
		})
	}
	return h
}

// load runs many short runs through a node.
func (m *mesh) load(n *node, prefix string, count int) {
	m.t.Helper()
	var wg sync.WaitGroup
	jobs := make(chan int)
	for range 8 {
		wg.Go(func() {
			for i := range jobs {
				run, err := m.try(m.t.Context(), n, []string{"single", "parent"}[i%2], fmt.Sprintf("%s%d", prefix, i), "")
				if err == nil {
					_, err = m.result(n, run, 2*patience)
				}
				if err != nil {
					m.t.Error(err)
				}
			}
		})
	}
	for i := range count {
		jobs <- i
	}
	close(jobs)
	wg.Wait()
	m.settle(patience)
}

// goroutines ends a node with SIGQUIT and counts what its last words list.
func (n *node) goroutines() (count int) {
	n.m.t.Helper()
	n.signal(n.m.t, syscall.SIGQUIT)
	n.wait(n.m.t, patience)
	text, err := os.ReadFile(n.log)
	if err != nil {
		n.m.t.Fatal(err)
	}
	return strings.Count("\n"+string(text), "\ngoroutine ")
}

// TestNothingLeaks does 300 runs on one node: what it holds then is what it held before. A second node that did only few
// shows how many goroutines are usual.
func TestNothingLeaks(t *testing.T) {
	slow(t)
	t.Parallel()
	var usual, after int
	for _, runs := range []int{0, 300} {
		m := newMesh(t)
		n := m.add("--repo", "flows")
		n.killed() // started again with a directory for temporary files of its own
		n.env = []string{"TMPDIR=" + filepath.Join(m.dir, "tmp-"+n.name)}
		if err := os.Mkdir(filepath.Join(m.dir, "tmp-"+n.name), 0o700); err != nil {
			t.Fatal(err)
		}
		n.start()
		m.ready()
		m.load(n, "warm", 40)
		m.transport.CloseIdleConnections()
		var before holdings
		await(t, patience, func() string { // until the warm processes have come
			was := before
			before = n.holdings()
			if was != before {
				return "what the node holds changes"
			}
			return ""
		})
		if runs == 0 {
			m.transport.CloseIdleConnections()
			usual = n.goroutines()
			continue
		}
		m.load(n, "run", runs)
		m.transport.CloseIdleConnections()
		var now holdings
		left := poll(30*time.Second, func() string {
			if now = n.holdings(); now.processes > before.processes || now.descriptors > before.descriptors || now.files > before.files {
				return "more is held than before"
			}
			return ""
		})
		t.Logf("before %d runs %+v, after them %+v", runs, before, now)
		if left != "" {
			scratch, _ := filepath.Glob(filepath.Join(n.dir, "scratch", "*"))
			t.Errorf("before %d runs the node held %+v, after them %+v; %v %v", runs, before, now, scratch, bodies(n.id))
		}
		m.verify(true)
		m.transport.CloseIdleConnections()
		after = n.goroutines()
	}
	t.Logf("goroutines: %d after few runs, %d after 300 more", usual, after)
	if after > usual+10 {
		t.Errorf("%d goroutines after few runs, %d after 300 more", usual, after)
	}
}

// TestNothingSurvivesItsNode ends a node while a body and its child process run: nothing of it is alive soon after.
func TestNothingSurvivesItsNode(t *testing.T) {
	slow(t)
	t.Parallel()
	m := newMesh(t)
	n := m.add("--repo", "flows")
	m.ready()
	for _, end := range []struct {
		name string
		how  func(*node)
	}{{"SIGTERM", (*node).stopped}, {"kill", (*node).killed}} {
		m.submit(n, "spawner", end.name, "never")
		child := 0
		await(t, patience, func() string {
			for _, e := range m.effects() {
				if e.Event == "spawned" && e.Token == end.name {
					child, _ = strconv.Atoi(e.Value)
					return ""
				}
			}
			return "the body has no child process"
		})
		end.how(n)
		began := time.Now()
		await(t, 2*time.Second, func() string {
			if pids := bodies(n.id); len(pids) > 0 || alive(child) {
				return fmt.Sprintf("after %s of %s processes %v are alive, its child process: %v", end.name, n.name, pids, alive(child))
			}
			return ""
		})
		t.Logf("%s: nothing is alive %s later", end.name, time.Since(began).Round(time.Millisecond))
		n.start()
		m.ready()
	}
}
