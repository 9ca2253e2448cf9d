package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestStormAcrossFailover fires 200 triggers at all nodes while the leader is killed: every one is acknowledged, and
// finishes exactly once. The leader serves nothing, so that no body dies with it.
func TestStormAcrossFailover(t *testing.T) {
	slow(t)
	t.Parallel()
	m := newMesh(t)
	m.add()
	m.add("--repo", "flows")
	m.add("--repo", "flows")
	m.ready()
	leader := m.leader()
	for i := 0; leader != m.nodes[0]; i++ {
		if i == 10 {
			t.Fatalf("%s does not come to lead", m.nodes[0].name)
		}
		leader.stopped() // hands the leadership over
		leader.start()
		m.ready()
		leader = m.leader()
	}
	began, killed := m.storm(200, leader)
	t.Logf("all triggers were answered %s after the death of the leader", time.Since(killed).Round(time.Millisecond))
	m.settle(patience)
	t.Logf("all runs were finished %s after the first trigger", time.Since(began).Round(time.Millisecond))
	m.verify(true)
	values := m.values()
	for _, e := range m.hist.all() {
		if e.Op != "submit" || e.Phase != "ok" {
			continue
		}
		if got := values[e.Run]; got != fmt.Sprintf("%q", e.Token) && got != fmt.Sprintf(`[%q,%q]`, e.Token, e.Token+".1") {
			t.Errorf("run %s of %s ended with %s (I8)", e.Run, e.Token, got)
		}
	}
}

// storm fires triggers at all nodes and kills one after a third of them was answered.
func (m *mesh) storm(triggers int, victim *node) (began, killed time.Time) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	var wg sync.WaitGroup
	jobs := make(chan int)
	for range 16 {
		wg.Go(func() {
			for i := range jobs {
				target := "single"
				if i%4 == 0 {
					target = "parent"
				}
				nodes := slices.Concat(m.nodes[i%len(m.nodes):], m.nodes[:i%len(m.nodes)])
				if _, err := m.trigger(ctx, nodes, target, fmt.Sprintf("s%d", i), ""); err != nil {
					m.t.Errorf("trigger %d through %s: %v", i, nodes[0].name, err)
				}
			}
		})
	}
	began = time.Now()
	for i := range triggers {
		if i == triggers/3 {
			victim.killed()
			killed = time.Now()
		}
		jobs <- i
	}
	close(jobs)
	wg.Wait()
	return began, killed
}

// values reads what became of all runs: the value's JSON text, or the result's.
func (m *mesh) values() map[string]string {
	m.t.Helper()
	through, out := m.running()[0], map[string]string{}
	for run := range m.runs(through) {
		_, root := m.document(through, run).Steps[run+":1"].Latest()
		switch {
		case root == nil || root.Result == nil:
			out[run] = "nothing"
		case root.Result.Value != nil:
			out[run] = compact(string(root.Result.Value.Data))
		default:
			out[run] = string(root.Result.Raw)
		}
	}
	return out
}
