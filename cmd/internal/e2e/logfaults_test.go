package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLogsOutliveTheirHolders has a body talk while the disk of one holder of its lines is full to the last byte, and while another is
// killed and comes back, in the middle of copies: every line is shown by every node, once, in order.
func TestLogsOutliveTheirHolders(t *testing.T) {
	slow(t)
	t.Parallel()
	m := newMesh(t)
	m.write("flows.py", flows+chatter)
	for i := range 3 {
		m.smallDisk(fmt.Sprint("n", i+1), 160)
		m.add("--repo", "flows", "--disk-reserve", "40MiB")
	}
	m.ready()
	run := m.submit(m.leader(), "chatter", "c", "c")
	on := m.where(m.begun("c"))
	others := m.others(on)
	said := func(more int) {
		t.Helper()
		want := m.saidBefore("c", time.Now()) + more
		await(t, patience, func() string {
			if m.saidBefore("c", time.Now()) < want {
				return "the body does not talk"
			}
			return ""
		})
	}
	said(300)
	others[0].fill(0)
	said(300)
	others[0].freeing()
	others[1].killed()
	said(300)
	others[1].start()
	m.ready()
	said(300)
	on.fill(0) // where the body runs: the lines are kept by the others
	said(300)
	on.freeing()
	m.open("c")
	all := compact(m.value(others[0], run))
	text, err := os.ReadFile(filepath.Join(m.code, "said-c"))
	if err != nil || fmt.Sprint(strings.Count(string(text), "\n")) != all {
		t.Fatalf("the body has said %s lines, and noted others: %v", all, err)
	}
	for _, n := range m.nodes {
		await(t, patience, func() string {
			if got := fmt.Sprint(m.lines(n, run)); got != all {
				return fmt.Sprintf("%s shows %s lines of %s", n.name, got, all)
			}
			return ""
		})
	}
}
