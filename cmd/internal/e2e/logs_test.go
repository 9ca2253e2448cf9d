package e2e

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// chatter talks until its gate opens, and notes outside the engine when it had said what.
const chatter = `

@workflow()
def chatter(token, gate):
    effect("start", token)
    with open(os.path.join(HERE, "said-" + token), "w", buffering=1) as said:
        i = 0
        while not os.path.exists(os.path.join(HERE, "gate-" + gate)):
            print("line", i, flush=True)
            said.write(f"{time.clock_gettime_ns(time.CLOCK_REALTIME) // 1000000}\n")
            i += 1
            time.sleep(0.002)
    effect("end", token)
    return i
`

// saidBefore counts the lines that a chatter had said at a time.
func (m *mesh) saidBefore(token string, at time.Time) (count int) {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.code, "said-"+token))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // it may have begun and not said anything yet
		m.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if ms, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64); err == nil && ms <= at.UnixMilli() {
			count++
		}
	}
	return count
}

// lines reads the numbers of a chatter's lines by a node; they must come in order, once, without a hole.
func (m *mesh) lines(n *node, run string) (count int) {
	m.t.Helper()
	q := client.LogQuery{Run: run}
	for {
		ctx, cancel := context.WithTimeout(m.t.Context(), patience)
		page, err := n.client.Logs(ctx, q)
		cancel()
		if err != nil {
			m.t.Fatal(err)
		}
		for _, e := range page.Value.Logs {
			if e.Template == nil || *e.Template != "line "+strconv.Itoa(count) {
				m.t.Fatalf("%s shows %q as line %d", n.name, *e.Template, count)
			}
			count++
		}
		if page.Value.Cursor == nil {
			return count
		}
		q.After = *page.Value.Cursor
	}
}

// TestLogsOutliveTheirNode kills the node of a body that talks: what it had said half a second before is read from each of
// the others, also when one of them has died too and the first one is back.
func TestLogsOutliveTheirNode(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.write("flows.py", flows+chatter)
	for range 3 {
		m.add("--repo", "flows")
	}
	m.ready()
	run := m.submit(m.leader(), "chatter", "c", "never")
	on := m.where(m.begun("c"))
	await(t, patience, func() string {
		if m.saidBefore("c", time.Now()) < 1000 {
			return "the body does not talk"
		}
		return ""
	})
	killed := time.Now()
	on.killed()
	want := m.saidBefore("c", killed.Add(-500*time.Millisecond))
	others := m.others(on)
	for _, n := range others {
		began := time.Now()
		got := m.lines(n, run)
		t.Logf("%s shows %d lines, %d were said half a second before the death; read in %s", n.name, got, want, time.Since(began).Round(time.Millisecond))
		if got < want {
			t.Errorf("%s shows %d lines of %d", n.name, got, want)
		}
	}
	on.start()
	m.ready()
	whole := m.lines(on, run)
	others[0].killed()
	if got := m.lines(others[1], run); got != whole || got < want {
		t.Errorf("after the return of one node and the death of another %d lines are shown, %d before", got, whole)
	}
	others[0].start()
	m.ready()
	if got := m.lines(others[0], run); got != whole {
		t.Errorf("the node that was away shows %d lines of %d", got, whole)
	}
}

// TestLogsAreFollowedFromAnyNode: a line is shown by a node that does not run the body within half a second.
func TestLogsAreFollowedFromAnyNode(t *testing.T) {
	t.Parallel()
	m := startMesh(t, 3)
	run := m.submit(m.leader(), "talk", "f", "f")
	on := m.where(m.begun("f"))
	n := m.others(on)[0]
	heard := make(chan string, 16)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = n.client.FollowLogs(ctx, client.LogQuery{Run: run}, func(entries []client.LogEntry) error {
			for _, e := range entries {
				heard <- *e.Template
			}
			return nil
		})
	}()
	hear := func(want string) {
		t.Helper()
		select {
		case got := <-heard:
			if got != want {
				t.Fatalf("heard %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("%q is not heard", want)
		}
	}
	hear("begin f")
	began := time.Now()
	m.open("f")
	hear("end f")
	took := time.Since(began)
	t.Logf("a line was heard by another node after %s", took.Round(time.Millisecond))
	if took > 2*time.Second { // half a second, and a machine that is busy with other tests
		t.Errorf("a line was heard after %s", took)
	}
	cancel()
	<-done
}
