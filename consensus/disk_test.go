package consensus

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// diskNode runs one node on a real directory and a real port, in real time.
type diskNode struct {
	host    *Host
	mux     *Mux
	dir     *Dir
	machine *listMachine
}

func (n *diskNode) stop() {
	n.host.Stop()
	n.mux.Stop()
	n.dir.Close()
}

// openDisk starts a node on path. Errors of Open and Start are returned.
func openDisk(t testing.TB, path string, tune func(*Config)) (*diskNode, error) {
	t.Helper()
	dir, err := OpenDir(path)
	if err != nil {
		return nil, err
	}
	ln, err := TCP().Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &diskNode{dir: dir, machine: &listMachine{}, mux: NewMux(ln, hclog.NewNullLogger())}
	cfg := Config{
		Dir: dir, Machine: n.machine, Mux: n.mux, Network: TCP(), Logger: hclog.NewNullLogger(),
		Lookup:  func(string) (string, bool) { return "", false },
		Members: func() []MemberInfo { return nil }, Removed: func(string) bool { return false },
		Succeeds: func(string, string) bool { return true }, GaveUp: func(string, string) {},
		Voters: func() int { return 5 }, Fatal: func(err error) { t.Errorf("halted: %v", err) },
	}
	if tune != nil {
		tune(&cfg)
	}
	if n.host, err = Open(cfg); err != nil {
		n.mux.Stop()
		return nil, errors.Join(err, dir.Close())
	}
	n.mux.Start()
	if err := n.host.Start(); err != nil {
		n.stop()
		return nil, err
	}
	return n, nil
}

func mustOpenDisk(t *testing.T, path string, tune func(*Config)) *diskNode {
	t.Helper()
	n, err := openDisk(t, path, tune)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *diskNode) awaitLead(t *testing.T) {
	t.Helper()
	eventually(t, "the lead", 10*time.Second, func() bool { return n.host.Barrier(t.Context()) == nil })
}

func (n *diskNode) write(t testing.TB, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := n.host.Propose(t.Context(), entryOn(n.machine.Index(), fmt.Sprintf("entry-%04d", i))); err != nil {
			t.Fatal(err)
		}
	}
}

func entries(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("entry-%04d", i))
	}
	return out
}

// written makes a directory of a cluster of one node with k entries in its log.
func written(t *testing.T, k int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data")
	n := mustOpenDisk(t, path, nil)
	defer n.stop()
	if err := n.host.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	n.awaitLead(t)
	n.write(t, 0, k)
	return path
}

func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	path := written(t, 50)
	n := mustOpenDisk(t, path, nil)
	defer n.stop()
	n.awaitLead(t)
	if diff := cmp.Diff(entries(0, 50), n.machine.snapshot()); diff != "" {
		t.Fatal(diff)
	}
	if err := n.host.Bootstrap(); !errors.Is(err, ErrHeldState) {
		t.Fatalf("a second creation: %v", err)
	}
	if n.host.ClusterID() == "" || !n.host.HasState() {
		t.Fatal("the node does not know its cluster")
	}
}

func TestSnapshotKeepsTheLogSmall(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data")
	small := func(c *Config) {
		c.SnapshotThreshold, c.SnapshotInterval, c.TrailingLogs = 50, 20*time.Millisecond, 10
	}
	n := mustOpenDisk(t, path, small)
	if err := n.host.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	n.awaitLead(t)
	n.write(t, 0, 300)
	eventually(t, "the log is cut", 10*time.Second, func() bool {
		s := n.host.Stats()
		return s.SnapshotIndex > 200 && s.LastIndex-s.FirstIndex < 100 && s.LogBytes > 0
	})
	n.stop()
	n = mustOpenDisk(t, path, small)
	defer n.stop()
	n.awaitLead(t)
	if diff := cmp.Diff(entries(0, 300), n.machine.snapshot()); diff != "" {
		t.Fatal(diff)
	}
}

// isDamage fails unless err is the sentence of a damaged file.
func isDamage(t *testing.T, err error) {
	t.Helper()
	var damaged *DamageError
	if !errors.As(err, &damaged) {
		t.Fatalf("got %v, want a DamageError", err)
	}
	if !strings.Contains(err.Error(), damaged.File) || !strings.Contains(err.Error(), "move the data directory aside") {
		t.Fatalf("the sentence names no file or no remedy: %v", err)
	}
}

func TestFlippedBitInAnEntryIsNoticed(t *testing.T) {
	t.Parallel()
	path := written(t, 20)
	file := filepath.Join(path, "raft", "log.db")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(raw, []byte("entry-0010")) {
		t.Fatal("the entry is not in the file")
	}
	if err := os.WriteFile(file, bytes.ReplaceAll(raw, []byte("entry-0010"), []byte("entry-0011")), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = openDisk(t, path, nil)
	isDamage(t, err)
}

func TestFlippedStableValueIsNoticed(t *testing.T) {
	t.Parallel()
	path := written(t, 5)
	file := filepath.Join(path, "raft", "log.db")
	bolt, err := openBolt(file)
	if err != nil {
		t.Fatal(err)
	}
	term, err := bolt.Get([]byte("CurrentTerm"))
	if err != nil {
		t.Fatal(err)
	}
	term[7] ^= 1
	if err := errors.Join(bolt.Set([]byte("CurrentTerm"), term), bolt.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = openDisk(t, path, nil)
	isDamage(t, err)
}

func TestTruncatedLogIsNoticed(t *testing.T) {
	t.Parallel()
	for _, part := range []int64{4, 2} {
		path := written(t, 200)
		file := filepath.Join(path, "raft", "log.db")
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file, info.Size()/part); err != nil {
			t.Fatal(err)
		}
		n, err := openDisk(t, path, nil)
		if err == nil {
			n.stop() // the part that was cut off held nothing
			t.Logf("a file cut to 1/%d still holds everything", part)
			continue
		}
		isDamage(t, err)
	}
}

// Whatever is done to the file, what is read is what was written, or the damage is named; nothing panics.
func TestRandomDamageIsNeverBelieved(t *testing.T) {
	t.Parallel()
	path := written(t, 100)
	good, err := os.ReadFile(filepath.Join(path, "raft", "log.db"))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewSource(1))
	work := t.TempDir()
	noticed := 0
	for i := range 300 {
		raw := bytes.Clone(good)
		at := rng.Intn(len(raw))
		switch i % 3 {
		case 0:
			raw[at] ^= 1 << rng.Intn(8)
		case 1:
			clear(raw[at : at+min(512, len(raw)-at)])
		case 2:
			raw = raw[:at]
		}
		file := filepath.Join(work, fmt.Sprint(i))
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := readWhole(t, file); err != nil {
			noticed++
		}
	}
	if noticed < 20 {
		t.Fatalf("only %d of 300 damages were noticed", noticed)
	}
	t.Logf("%d of 300 damages lay where something is kept, and were noticed", noticed)
}

// readWhole reads a log of written(100) and fails on a wrong or a missing entry.
func readWhole(t *testing.T, file string) error {
	t.Helper()
	bolt, err := openBolt(file)
	if err != nil {
		return err
	}
	defer bolt.Close()
	s := &checkedStore{under: bolt, file: file}
	last, err := s.LastIndex()
	if err != nil {
		return err
	}
	k := 0
	for i := uint64(1); i <= last; i++ {
		var l raft.Log
		if err := s.GetLog(i, &l); err != nil {
			return err
		}
		if l.Type != raft.LogCommand {
			continue
		}
		if want := fmt.Sprintf("entry-%04d", k); string(l.Data[8:]) != want {
			t.Fatalf("entry %d is read as %q", i, l.Data)
		}
		k++
	}
	if k != 100 {
		t.Fatalf("%d entries of 100 are left, and nothing was noticed", k)
	}
	return nil
}

func TestForeignLogIsRefused(t *testing.T) {
	t.Parallel()
	a, b := written(t, 3), written(t, 3)
	raw, err := os.ReadFile(filepath.Join(a, "raft", "log.db"))
	if err == nil {
		err = os.WriteFile(filepath.Join(b, "raft", "log.db"), raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = openDisk(t, b, nil)
	isDamage(t, err)
}

func TestDamagedSnapshotIsNamed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data")
	small := func(c *Config) {
		c.SnapshotThreshold, c.SnapshotInterval, c.TrailingLogs = 50, 20*time.Millisecond, 1
	}
	n := mustOpenDisk(t, path, small)
	if err := n.host.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	n.awaitLead(t)
	n.write(t, 0, 120)
	eventually(t, "a snapshot", 10*time.Second, func() bool { return n.host.Stats().SnapshotIndex > 0 })
	n.stop()
	states, err := filepath.Glob(filepath.Join(path, "raft", "snapshots", "*", "state.bin"))
	if err != nil || len(states) == 0 {
		t.Fatalf("snapshots: %v, %v", states, err)
	}
	for _, file := range states {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 1
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err = openDisk(t, path, small)
	isDamage(t, err)
}

// bbolt silently goes back by one commit where its newer meta is damaged.
func TestFlippedMetaIsNoticed(t *testing.T) {
	t.Parallel()
	path := written(t, 10)
	file := filepath.Join(path, "raft", "log.db")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for meta := range 2 {
		raw := bytes.Clone(good)
		raw[meta*os.Getpagesize()+boltHeader+20] ^= 1
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := openDisk(t, path, nil)
		isDamage(t, err)
	}
}

// A page that has forgotten its last entry looks like the page before that entry came.
func TestForgottenEntryIsNoticed(t *testing.T) {
	t.Parallel()
	path := written(t, 100)
	file := filepath.Join(path, "raft", "log.db")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	forgot := 0
	for at := 2 * os.Getpagesize(); at < len(raw); at += os.Getpagesize() {
		p := raw[at : at+os.Getpagesize()]
		if n := little.Uint16(p[10:]); little.Uint16(p[8:]) == boltLeaf && n > 1 && bytes.Contains(p, []byte("entry-0099")) {
			little.PutUint16(p[10:], n-1)
			forgot++
		}
	}
	if forgot == 0 {
		t.Fatal("the page was not found")
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = openDisk(t, path, nil)
	isDamage(t, err)
}
