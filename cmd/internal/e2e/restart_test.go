package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestRestartOfAll ends all three nodes, as an operator does and then without warning: the history is there, and new
// runs work.
func TestRestartOfAll(t *testing.T) {
	slow(t)
	t.Parallel()
	m := startMesh(t, 3)
	want := map[string]string{} // values by run
	more := func(round string) {
		for i, n := range m.nodes {
			token := fmt.Sprintf("%s%d", round, i)
			want[m.submit(n, "parent", token, "")] = fmt.Sprintf(`["%s","%s.1"]`, token, token)
		}
	}
	more("first")
	m.settle(patience)
	for round, end := range []func(*node){(*node).stopped, (*node).killed} {
		var wg sync.WaitGroup
		for _, n := range m.nodes {
			wg.Go(func() { end(n) })
		}
		wg.Wait()
		for _, n := range m.nodes {
			n.start()
		}
		m.ready()
		more(fmt.Sprintf("later%d.", round))
		m.settle(patience)
		for _, n := range m.nodes {
			for run, value := range want {
				if got := compact(m.value(n, run)); got != value {
					t.Errorf("%s says of run %s: %s, want %s", n.name, run, got, value)
				}
			}
		}
	}
	m.verify(true)
}

// TestRestartLosesWhatRan kills all three nodes while a body runs: it is given up, and everything else goes on.
func TestRestartLosesWhatRan(t *testing.T) {
	slow(t)
	t.Parallel()
	m := startMesh(t, 3)
	run := m.submit(m.nodes[0], "single", "lost", "never")
	body := m.begun("lost")
	for _, n := range m.nodes {
		n.killed()
	}
	for _, n := range m.nodes {
		n.start()
	}
	m.ready()
	m.value(m.nodes[1], m.submit(m.nodes[1], "single", "new", ""))
	m.abandoned(m.nodes[2], run, abandonAfter+late)
	if alive(body.PID) {
		t.Error("the body is alive although it was given up (I6)")
	}
	m.verify(false)
}

// TestRollingRestart stops and starts one node after the other, as an operator does, while clients submit without a
// pause: no submission fails, no body is lost or runs twice.
func TestRollingRestart(t *testing.T) {
	slow(t)
	t.Parallel()
	m := startMesh(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var count atomic.Int64
	for c := range 3 {
		wg.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				first := (c + k) % 3
				nodes := slices.Concat(m.nodes[first:], m.nodes[:first])
				short, stop := context.WithTimeout(t.Context(), patience)
				if _, err := m.trigger(short, nodes, "single", fmt.Sprintf("r%d.%d", c, k), ""); err != nil {
					t.Error(err)
				}
				stop()
				count.Add(1)
				select {
				case <-time.After(100 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	for round := range 3 {
		for _, n := range m.nodes {
			rest := m.others(n)
			for k := range 8 { // what is decided just when the node begins to stop
				wg.Go(func() {
					if _, err := m.trigger(t.Context(), rest, "single", fmt.Sprintf("b%d.%s.%d", round, n.name, k), ""); err != nil {
						t.Error(err)
					}
				})
			}
			n.stopped()
			n.start()
			m.ready()
		}
	}
	cancel()
	wg.Wait()
	m.settle(patience)
	t.Logf("%d submissions during 9 restarts, and 8 with the begin of each", count.Load())
	m.verify(true)
}

// TestStopWhileStarting tells a node to stop at every moment of its start: it ends, cleanly, and never with a stack
// trace.
func TestStopWhileStarting(t *testing.T) {
	slow(t)
	t.Parallel()
	m := startMesh(t, 3)
	n := m.nodes[2]
	n.killed()
	for i := range 60 {
		n.start()
		select {
		case <-time.After(time.Duration(i) * 20 * time.Millisecond):
		case <-t.Context().Done():
		}
		n.signal(t, syscall.SIGTERM)
		// Before the program listens to signals one ends it like any other: status -1.
		if status := n.wait(t, 30*time.Second); status > 0 {
			t.Errorf("told to stop after %d ms it ended with status %d:\n%s", 20*i, status, n.tail(15))
			return
		}
	}
	if text := n.tail(100000); strings.Contains(text, "panic") || strings.Contains(text, "\ngoroutine ") {
		t.Errorf("a stack trace in the log:\n%s", text)
	}
	n.start()
	m.ready()
}
