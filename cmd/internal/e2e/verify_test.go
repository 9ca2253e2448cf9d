package e2e

import (
	"context"
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// runs lists all runs as a node sees them, by id.
func (m *mesh) runs(n *node) map[string]client.RunSummary {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	all := map[string]client.RunSummary{}
	for cursor := ""; ; {
		page, err := n.client.Runs(ctx, m.workspace, 500, cursor)
		if err != nil {
			m.t.Fatalf("list runs through %s: %v", n.name, err)
		}
		for _, r := range page.Value.Runs {
			all[r.RunID] = r
		}
		if page.Value.Cursor == nil {
			return all
		}
		cursor = *page.Value.Cursor
	}
}

// settle waits until nothing is queued or running.
func (m *mesh) settle(timeout time.Duration) {
	m.t.Helper()
	await(m.t, timeout, func() string {
		ctx, cancel := context.WithTimeout(m.t.Context(), 12*time.Second)
		defer cancel()
		queue, err := m.running()[0].client.Queue(ctx, m.workspace)
		if err != nil {
			return err.Error()
		}
		for id, q := range queue.Value {
			return fmt.Sprintf("%d executions have no result, for one %s of %s/%s", len(queue.Value), id, q.Module, q.Target)
		}
		return ""
	})
}

// verify checks the promises over all that happened. Nothing may be running any more. exactly is for histories in which
// no executing node was lost: each body of an acknowledged run ran once and to its end.
func (m *mesh) verify(exactly bool) {
	m.t.Helper()
	up := m.running()
	first := m.runs(up[0])
	for _, n := range up[1:] {
		if diff := cmp.Diff(first, m.runs(n)); diff != "" {
			m.t.Errorf("%s and %s do not see the same runs (I14):\n%s", up[0].name, n.name, diff)
		}
	}
	started, ended := m.counts()
	caused := map[string]bool{} // runs that a submission may have made
	unknown := 0
	for _, e := range m.hist.all() {
		if e.Op != "submit" {
			continue
		}
		switch e.Phase {
		case "info":
			unknown++
		case "ok":
			caused[e.Run] = true
			if _, ok := first[e.Run]; !ok {
				m.t.Errorf("run %s of %s was acknowledged by %s and is gone (I1)", e.Run, e.Token, e.Node)
			}
			if exactly && (started[e.Token] != 1 || ended[e.Token] != 1) {
				m.t.Errorf("the body of %s, run %s, began %d times and ended %d times (I5)", e.Token, e.Run, started[e.Token], ended[e.Token])
			}
		}
	}
	for run, summary := range first {
		if summary.Status == "queued" || summary.Status == "running" {
			m.t.Errorf("run %s is still %s (I7)", run, summary.Status)
		}
		if !caused[run] {
			unknown--
		}
	}
	if unknown < 0 {
		m.t.Errorf("%d runs were made by nobody (I2)", -unknown)
	}
	m.verifyBodies()
}

// verifyBodies checks that no execution has begun twice (I5).
func (m *mesh) verifyBodies() {
	m.t.Helper()
	executions, tokens := map[string]int{}, map[string]int{}
	for _, e := range m.effects() {
		if e.Event == "start" {
			executions[e.Execution]++
			tokens[e.Token]++
		}
	}
	for id, n := range executions {
		if n > 1 {
			m.t.Errorf("%d bodies of execution %s have begun (I5)", n, id)
		}
	}
	for token, n := range tokens {
		if n > 1 {
			m.t.Errorf("%d bodies of %s have begun, though nothing is tried again (I5)", n, token)
		}
	}
}
