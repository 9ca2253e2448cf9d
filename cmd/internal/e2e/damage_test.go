package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// flipAll changes a bit in each place where a text stands in a file, without a text one in the middle. It writes in place:
// a process that has mapped the file sees it.
func flipAll(t *testing.T, file, text string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	raw, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	places := []int{len(raw) / 2}
	if text != "" {
		places = nil
		for at := 0; ; at++ {
			i := bytes.Index(raw[at:], []byte(text))
			if i < 0 {
				break
			}
			at += i
			places = append(places, at)
		}
	}
	if len(places) == 0 {
		t.Fatalf("%s does not hold %q", file, text)
	}
	for _, at := range places {
		if _, err := f.WriteAt([]byte{raw[at] ^ 1}, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
}

func cutLog(t *testing.T, n *node) {
	t.Helper()
	if err := os.Truncate(filepath.Join(n.dir, "raft", "log.db"), 3*int64(os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedNodeComesBack flips a bit in the log of the node that the mesh began with and that leads.
func TestDamagedNodeComesBack(t *testing.T) {
	t.Parallel()
	m := startMesh(t, 3)
	victim := m.nodes[0]
	m.leads(victim)
	m.comesBack(victim, func() { flipAll(t, filepath.Join(victim.dir, "raft", "log.db"), "flip-me") })
}

// TestNodeWithTruncatedLogComesBack cuts the log of a follower. It does so twice: the id of the first return is given up too.
func TestNodeWithTruncatedLogComesBack(t *testing.T) {
	slow(t)
	t.Parallel()
	m := startMesh(t, 3)
	victim := m.others(m.leader())[0]
	for range 2 {
		m.comesBack(victim, func() { cutLog(t, victim) })
	}
}

// TestNodeWithDamagedSnapshotComesBack needs so many entries that snapshots are made.
func TestNodeWithDamagedSnapshotComesBack(t *testing.T) {
	slow(t)
	t.Parallel()
	m := startMesh(t, 3)
	victim := m.others(m.leader())[0]
	states := func() []string {
		files, err := filepath.Glob(filepath.Join(victim.dir, "raft", "snapshots", "*", "state.bin"))
		if err != nil {
			t.Fatal(err)
		}
		// What is still being written is none yet, and goes when the node is killed.
		return slices.DeleteFunc(files, func(file string) bool { return strings.HasSuffix(filepath.Dir(file), ".tmp") })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for c, n := range m.nodes { // entries that cost nothing else
		wg.Go(func() {
			for k := 0; ctx.Err() == nil && len(states()) == 0; k++ {
				definition := fmt.Appendf(nil, `{"parameters":[],"waitFor":[],"delay":%d}`, k)
				err := n.client.RegisterManifests(ctx, m.workspace, map[string]map[string]json.RawMessage{fmt.Sprintf("filler%d", c): {"f": definition}})
				if err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for c := range 2 {
		wg.Go(func() {
			for k := 0; ctx.Err() == nil && k < 100; k++ {
				run, err := m.trigger(ctx, m.nodes, "parent", fmt.Sprintf("s%d.%d", c, k), "")
				if err == nil {
					_, err = m.result(m.nodes[k%3], run, patience)
				}
				if err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	m.settle(patience)
	m.comesBack(victim, func() {
		if len(states()) == 0 {
			t.Fatal("no snapshot was made")
		}
		for _, file := range states() {
			flipAll(t, file, "")
		}
	})
}

// TestRolledBackNodeComesBack puts a copy of a data directory back that was taken before the node's last start.
func TestRolledBackNodeComesBack(t *testing.T) {
	t.Parallel()
	m := startMesh(t, 3)
	rest := m.others(m.leader())
	victim, other := rest[0], rest[1]
	m.value(victim, m.submit(victim, "single", "copied", ""))
	m.settle(patience)
	victim.killed()
	back, life := victim.copied(), victim.life()
	victim.start()
	m.ready()
	await(t, patience, func() string { return other.sawLife(victim, life) })
	m.comesBack(victim, back)
	if log, _ := os.ReadFile(victim.log); !bytes.Contains(log, []byte("it has been started since, and does not know of it")) {
		t.Errorf("the log of %s does not say why:\n%s", victim.name, victim.tail(20))
	}
}

// copied copies the data directory of a node that is down; what it returns puts the copy in its place.
func (n *node) copied() (back func()) {
	n.m.t.Helper()
	to := n.dir + ".copy"
	if err := os.CopyFS(to, os.DirFS(n.dir)); err != nil {
		n.m.t.Fatal(err)
	}
	return func() {
		n.m.t.Helper()
		if err := errors.Join(os.RemoveAll(n.dir), os.Rename(to, n.dir)); err != nil {
			n.m.t.Fatal(err)
		}
	}
}

// life is the last start of a node with which it took part.
func (n *node) life() string {
	n.m.t.Helper()
	var l struct{ Spoke string }
	was, err := os.ReadFile(filepath.Join(n.dir, "lineage"))
	if err := errors.Join(err, json.NewDecoder(bytes.NewReader(was)).Decode(&l)); err != nil || l.Spoke == "" {
		n.m.t.Fatal(l, err)
	}
	return l.Spoke
}

// sawLife is "" when n has written down that other took part in a life after the given one.
func (n *node) sawLife(other *node, after string) string {
	life := other.life()
	seen, err := os.ReadFile(filepath.Join(n.dir, "seen"))
	if err != nil || life == after || !bytes.Contains(seen, []byte(life)) {
		return fmt.Sprintf("%s has not written down that %s was started again: %v", n.name, other.name, err)
	}
	return ""
}

// TestRunningLeaderFindsDamage damages the log under the running leader, which notices when it sends a node what that one
// has missed: it stops, and comes back in the same process.
func TestRunningLeaderFindsDamage(t *testing.T) {
	slow(t)
	t.Parallel()
	m := startMesh(t, 3)
	victim := m.leader()
	behind := m.others(victim)[0]
	await(t, patience, func() string {
		if _, err := os.Stat(filepath.Join(victim.dir, "peers")); err != nil {
			return "the node has not written down where the others are"
		}
		return ""
	})
	behind.stopped()
	want := m.submit(victim, "single", "flip-me", "")
	m.value(victim, want)
	for i := range 400 { // more entries than are kept in memory
		m.value(victim, m.submit(victim, "single", fmt.Sprintf("after%d", i), ""))
	}
	old, pid := victim.id, victim.pid()
	flipAll(t, filepath.Join(victim.dir, "raft", "log.db"), "flip-me")
	victim.id = ""
	behind.start()
	m.forgotten(old)
	m.ready()
	if victim.id == old || victim.pid() != pid || !victim.running() {
		t.Fatalf("%s has the id %s, before %s", victim.name, victim.id, old)
	}
	for _, n := range m.nodes {
		m.value(n, want)
		m.value(n, m.submit(n, "parent", "late-"+n.name, ""))
	}
	m.settle(patience)
	m.verify(false)
}

// leads hands the lead to a node.
func (m *mesh) leads(n *node) {
	m.t.Helper()
	for range 20 {
		l := m.leader()
		if l == n {
			return
		}
		l.stopped()
		l.start()
		m.ready()
	}
	m.t.Fatalf("%s never leads", n.name)
}

// comesBack damages a node that is killed. It comes back under another id and votes in the place of the old one, which is
// gone; what was there before is there, and the node works.
func (m *mesh) comesBack(victim *node, damage func()) {
	m.t.Helper()
	t := m.t
	rest, old := m.others(victim), victim.id
	before := map[string]string{}
	for i, n := range m.nodes {
		token := fmt.Sprintf("flip-me-%d.%d", victim.starts.Load(), i)
		before[m.submit(n, "parent", token, "")] = fmt.Sprintf(`["%s","%s.1"]`, token, token)
	}
	said := m.talksOn(victim, "talk"+old)
	rest[0].said(`(?s)begin talk.*end talk`, "logs", said) // what was shown once stays; what nobody has seen may be half a second behind
	big := m.submit(victim, "single", fmt.Sprintf("big%d-%s", victim.starts.Load(), strings.Repeat("v", 20000)), "")
	m.settle(patience)
	known := filepath.Join(victim.dir, "peers")
	await(t, patience, func() string {
		if _, err := os.Stat(known); err != nil {
			return "the node has not written down where the others are"
		}
		return ""
	})
	victim.killed()
	damage()
	began := time.Now()
	victim.id = ""
	victim.start()
	m.ready()
	t.Logf("%s is a voter again %s after its start", victim.name, time.Since(began).Round(time.Millisecond))
	if victim.id == old {
		t.Fatalf("%s has its old id", victim.name)
	}
	m.forgotten(old)
	for _, n := range m.nodes {
		for run, want := range before {
			if got := compact(m.value(n, run)); got != want {
				t.Errorf("%s says of run %s: %s, want %s", n.name, run, got, want)
			}
		}
	}
	rest[0].said(`(?s)begin talk.*end talk`, "logs", said)
	victim.said(strings.Repeat("v", 1000), "runs", "result", big)
	log, _ := os.ReadFile(victim.log)
	if !strings.Contains(string(log), "the damaged log was moved aside") || strings.Contains(string(log), "\ngoroutine ") {
		t.Errorf("the log of %s does not say what happened, or has a stack trace:\n%s", victim.name, victim.tail(20))
	}
	m.value(rest[0], m.submit(victim, "parent", fmt.Sprintf("through%d", victim.starts.Load()), ""))
	m.talksOn(victim, "again"+old)
	m.settle(patience)
	m.verify(true)
}

// talksOn gives runs that talk to the mesh until one is run by the given node, and returns that one.
func (m *mesh) talksOn(n *node, token string) string {
	m.t.Helper()
	for i := range 100 {
		run := m.submit(n, "talk", fmt.Sprintf("%s.%d", token, i), "")
		if _, err := m.result(n, run, patience); err != nil {
			m.t.Fatal(err)
		}
		if _, x := m.document(n, run).Steps[run+":1"].Latest(); x.Node != nil && *x.Node == n.name {
			return run
		}
	}
	m.t.Fatalf("%s gets no work", n.name)
	return ""
}

// forgotten waits until no node lists an id any more.
func (m *mesh) forgotten(id string) {
	m.t.Helper()
	await(m.t, patience, func() string {
		for _, n := range m.running() {
			doc, err := n.client.Nodes(m.t.Context())
			if err != nil {
				return err.Error()
			}
			for _, o := range doc.Value.Nodes {
				if o.ID == id {
					return fmt.Sprintf("%s lists the id that was given up as %s, %s", n.name, o.Role, o.State)
				}
			}
		}
		return ""
	})
}

// TestTwoDamagedNodesStayDown damages a majority: what is left must not be moved by itself.
func TestTwoDamagedNodesStayDown(t *testing.T) {
	slow(t)
	t.Parallel()
	m := startMesh(t, 3)
	run := m.submit(m.nodes[0], "single", "before", "")
	m.value(m.nodes[0], run)
	m.settle(patience)
	down := m.nodes[:2]
	for _, n := range down {
		n.killed()
		cutLog(t, n)
	}
	for _, n := range down {
		n.start()
	}
	for _, n := range down {
		if status := n.wait(t, 2*time.Minute); status != 30 {
			t.Errorf("%s ended with status %d, want 30", n.name, status)
		}
		file := filepath.Join(n.dir, "raft", "log.db")
		last := n.tail(1)
		for _, part := range []string{file + " is damaged", "this node did not do so by itself", "none of them leads"} {
			if !strings.Contains(last, part) {
				t.Errorf("the last words of %s lack %q: %s", n.name, part, last)
			}
		}
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
		if moved, err := filepath.Glob(filepath.Join(n.dir, "raft.*")); err != nil || len(moved) > 0 {
			t.Errorf("moved aside: %v, %v", moved, err)
		}
	}
	// What is left answers, and says that it has no quorum.
	if o := m.nodes[2].cli("nodes"); o.status != 0 || !strings.Contains(o.stderr, "no quorum") {
		t.Errorf("nodes: %s", o)
	}
}

// TestLoneDamagedNodeStaysDown at once: nobody has its history.
func TestLoneDamagedNodeStaysDown(t *testing.T) {
	t.Parallel()
	m := startMesh(t, 1)
	n := m.nodes[0]
	m.value(n, m.submit(n, "single", "before", ""))
	n.killed()
	cutLog(t, n)
	n.start()
	if status := n.wait(t, 20*time.Second); status != 30 {
		t.Errorf("status %d, want 30", status)
	}
	if last := n.tail(1); !strings.Contains(last, "it knows no other node of its cluster") {
		t.Errorf("its last words: %s", last)
	}
	if _, err := os.Stat(filepath.Join(n.dir, "raft", "log.db")); errors.Is(err, os.ErrNotExist) {
		t.Error("its log was moved aside")
	}
}
