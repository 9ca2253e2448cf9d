package e2e

import (
	"fmt"
	"testing"
	"time"
)

// manyWorkers are attached to one node.
const manyWorkers = 100

// TestManyWorkers attaches a hundred workers with one slot each to one node. A body runs in each of them when the node is
// killed; it comes back, they come back to it, and each body has run once.
func TestManyWorkers(t *testing.T) {
	slow(t)
	m := newMesh(t)
	n := m.add()
	m.ready()
	began := time.Now()
	for up := 0; up < manyWorkers; { // not all of their Pythons at once
		for range 10 {
			m.worker(n.host(), "--concurrency", "1")
			up++
		}
		m.served(n, up)
	}
	t.Logf("%d workers were there after %s", manyWorkers, time.Since(began).Round(time.Millisecond))
	runs := map[string]string{}
	for i := range manyWorkers {
		token := fmt.Sprintf("w%d", i)
		runs[token] = m.submit(n, "single", token, "gate")
	}
	for token := range runs {
		m.begun(token)
	}
	n.killed()
	n.start()
	m.open("gate")
	for token, run := range runs {
		if got := m.value(n, run); got != `"`+token+`"` {
			t.Errorf("the run of %s gave %s", token, got)
		}
	}
	m.verify(true)
}
