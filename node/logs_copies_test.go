package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/node/journal"
	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

// logMesh is a few nodes' logs, and what fails between them.
type logMesh struct {
	t     *testing.T
	dir   string
	nodes map[string]*logs

	mu     sync.Mutex // guards the rest
	dead   map[string]bool
	frozen map[string]bool
	mute   map[string]int // answers of a node that get lost
}

func startLogMesh(t *testing.T, n int) *logMesh {
	m := &logMesh{t: t, dir: t.TempDir(), nodes: map[string]*logs{}, dead: map[string]bool{}, frozen: map[string]bool{}, mute: map[string]int{}}
	for i := range n {
		id := fmt.Sprint("n", i)
		j, err := journal.Open(filepath.Join(m.dir, id), hclog.NewNullLogger(), journal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Start(); err != nil {
			t.Fatal(err)
		}
		l := newLogs(logLines, id, j, &peers{client: &http.Client{Transport: m}}, func() []string { return m.others(id) }, hclog.NewNullLogger())
		m.nodes[id] = l
		l.start()
		t.Cleanup(func() { m.wake(); l.stop(); j.Stop() })
	}
	return m
}

func (m *logMesh) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func (m *logMesh) wake() { m.set(func() { clear(m.frozen) }) }

// others are those that gossip does not know to be dead; a frozen node is not known yet.
func (m *logMesh) others(self string) (ids []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range m.nodes {
		if id != self && !m.dead[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

func (m *logMesh) RoundTrip(r *http.Request) (*http.Response, error) {
	id := r.URL.Host
	m.mu.Lock()
	dead, frozen, l := m.dead[id], m.frozen[id], m.nodes[id]
	m.mu.Unlock()
	if dead {
		return nil, errors.New("connection refused")
	}
	if frozen {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	w := httptest.NewRecorder()
	(&rpcServer{logs: l, log: hclog.NewNullLogger()}).handler().ServeHTTP(w, r)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mute[id] > 0 && r.URL.Path == rpcKeep {
		m.mute[id]--
		return nil, errors.New("connection reset")
	}
	return w.Result(), nil
}

// say has a node's body say lines, and waits until they are handed over.
func (m *logMesh) say(id string, from, to int) {
	m.t.Helper()
	for i := from; i < to; i++ {
		m.nodes[id].log(textLine(fmt.Sprint("line ", i)))
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), 8*time.Second)
	defer cancel()
	if !m.nodes[id].settle(ctx) {
		m.t.Fatal("the lines are not handed over")
	}
}

func (m *logMesh) read(id string) (texts []string) {
	m.t.Helper()
	q := journal.Query{RunID: "R1", Limit: 30}
	for {
		page, err := m.nodes[id].query(m.t.Context(), q)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, e := range page.Entries {
			texts = append(texts, *e.Template)
		}
		if len(page.Entries) == 0 {
			return texts
		}
		q.After = page.Cursor
	}
}

// held is what a node's own journal holds.
func (m *logMesh) held(id string) (texts []string) {
	m.t.Helper()
	page, err := m.nodes[id].journal.Query(journal.Query{RunID: "R1"})
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range page.Entries {
		texts = append(texts, *e.Template)
	}
	return texts
}

func numbered(from, to int) (want []string) {
	for i := from; i < to; i++ {
		want = append(want, fmt.Sprint("line ", i))
	}
	return want
}

// TestLinesOutliveTheirNode: the node of a body and then one holder die; what was said is read from the last one, once.
func TestLinesOutliveTheirNode(t *testing.T) {
	t.Parallel()
	m := startLogMesh(t, 3)
	m.say("n0", 0, 100)
	for id := range m.nodes {
		if diff := cmp.Diff(numbered(0, 100), m.read(id)); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
	}
	m.set(func() { m.dead["n0"] = true })
	for _, id := range []string{"n1", "n2"} {
		if diff := cmp.Diff(numbered(0, 100), m.read(id)); diff != "" {
			t.Errorf("%s after the death of the writer: %s", id, diff)
		}
	}
	m.set(func() { m.dead["n1"] = true })
	if diff := cmp.Diff(numbered(0, 100), m.read("n2")); diff != "" {
		t.Errorf("the last copy: %s", diff)
	}
}

// TestLostAnswersKeepLinesOnce: a holder that has kept a batch is asked again.
func TestLostAnswersKeepLinesOnce(t *testing.T) {
	t.Parallel()
	m := startLogMesh(t, 2)
	b := copyBatch{ID: "batch", Entries: nil}
	text, err := encodeLog(journalEntry(textLine("once")))
	if err != nil {
		t.Fatal(err)
	}
	b.Entries = append(b.Entries, text)
	for range 3 {
		if err := m.nodes["n1"].keep(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if got := m.held("n1"); len(got) != 1 {
		t.Errorf("kept %q", got)
	}
	m.set(func() { m.mute["n1"] = 2 })
	m.say("n0", 0, 50)
	if diff := cmp.Diff(append([]string{"once"}, numbered(0, 50)...), m.sorted("n0")); diff != "" {
		t.Error(diff)
	}
}

func (m *logMesh) sorted(id string) []string {
	got := m.read(id)
	at := slices.Index(got, "once")
	if at < 0 {
		return got
	}
	return append([]string{"once"}, slices.Delete(got, at, at+1)...)
}

// TestAFrozenHolderHoldsNothingUp: the next in rank takes over; queries do not wait for it again and again.
func TestAFrozenHolderHoldsNothingUp(t *testing.T) {
	t.Parallel()
	m := startLogMesh(t, 4)
	order := blob.Rank("R1", m.others("n0"))
	m.set(func() { m.frozen[order[0]] = true })
	began := time.Now()
	m.say("n0", 0, 10)
	if took := time.Since(began); took > 3*logHedge {
		t.Errorf("the first batch took %s", took)
	}
	began = time.Now()
	m.say("n0", 10, 20)
	if took := time.Since(began); took > logHedge {
		t.Errorf("the batch after took %s", took)
	}
	for _, id := range order[1:] {
		if diff := cmp.Diff(numbered(0, 20), m.held(id)); diff != "" {
			t.Errorf("%s holds: %s", id, diff)
		}
	}
	began = time.Now()
	if diff := cmp.Diff(numbered(0, 20), m.read("n0")); diff != "" {
		t.Error(diff)
	}
	if took := time.Since(began); took > fullAnswer {
		t.Errorf("reading took %s", took)
	}
}

// TestAFullDiskCostsNoLine: the others keep what the writer's own disk does not take.
func TestAFullDiskCostsNoLine(t *testing.T) {
	t.Parallel()
	m := startLogMesh(t, 4)
	m.breakDisk("n0")
	m.say("n0", 0, 30)
	holders := 0
	for _, id := range m.others("n0") {
		if diff := cmp.Diff(numbered(0, 30), m.held(id)); diff == "" {
			holders++
		}
	}
	if holders != logCopies {
		t.Errorf("%d others hold the lines", holders)
	}
	if diff := cmp.Diff(numbered(0, 30), m.read("n0")); diff != "" {
		t.Error(diff)
	}
}

// breakDisk takes the directories away in which segments begin.
func (m *logMesh) breakDisk(id string) {
	dirs, err := filepath.Glob(filepath.Join(m.dir, id, "??"))
	if err != nil || len(dirs) == 0 {
		m.t.Fatal(dirs, err)
	}
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			if err := os.Remove(dir); err != nil {
				m.t.Fatal(err)
			}
		}
	}
}

// TestBitRotIsCoveredByACopy: what one journal holds in damaged records is shown from another.
func TestBitRotIsCoveredByACopy(t *testing.T) {
	t.Parallel()
	m := startLogMesh(t, 2)
	for i := range 10 { // records of their own
		m.say("n0", i, i+1)
	}
	files, err := filepath.Glob(filepath.Join(m.dir, "n1", "??", "*.log"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(b), "line 4")
	b[at] ^= 1
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := m.held("n1"); slices.Contains(got, "line 4") || len(got) != 9 {
		t.Fatalf("the damaged journal shows %q", got)
	}
	if diff := cmp.Diff(numbered(0, 10), m.read("n1")); diff != "" {
		t.Error(diff)
	}
}

// TestWorkersLinesAreCopied: they are in all journals when the worker hears that they were taken, and sent again by another
// node they are the same.
func TestWorkersLinesAreCopied(t *testing.T) {
	t.Parallel()
	m := startLogMesh(t, 3)
	n := journal.NewNumbering()
	var entries []journal.Entry
	for i := range 20 {
		e := journalEntry(textLine(fmt.Sprint("line ", i)))
		n.Stamp(&e)
		entries = append(entries, e)
	}
	for _, id := range []string{"n0", "n0", "n2"} {
		if err := m.nodes[id].append("b1", entries); err != nil {
			t.Fatal(err)
		}
	}
	m.set(func() { m.dead["n0"] = true })
	for _, id := range []string{"n1", "n2"} {
		if diff := cmp.Diff(numbered(0, 20), m.read(id)); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
	}
}
