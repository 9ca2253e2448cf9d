package consensus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

// flip changes one bit in the middle of a file, or where a text stands in it. An empty file (the snapshot of a machine that
// has seen no entry yet) gets a byte.
func flip(t testing.TB, file, text string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := len(raw) / 2
	if text != "" {
		at = bytes.Index(raw, []byte(text))
	}
	if at < 0 {
		t.Fatalf("%s does not hold %q", file, text)
	}
	if len(raw) == 0 {
		raw = []byte{0}
	}
	raw[at] ^= 1
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// cutLog cuts the log so that something of it is missing.
func cutLog(t testing.TB, dir string) {
	t.Helper()
	if err := os.Truncate(filepath.Join(dir, "raft", "log.db"), 3*int64(os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
}

// damaged tries to start a node and returns the damage that it finds.
func (c *diskCluster) damaged(name string) *DamageError {
	c.t.Helper()
	_, err := c.tryStart(name)
	var damage *DamageError
	if !errors.As(err, &damage) {
		c.t.Fatalf("%s starts with %v, want damage", name, err)
	}
	return damage
}

func (c *diskCluster) quarantine(name string, damage *DamageError, patience time.Duration, step func(string) error) error {
	return Quarantine(context.Background(), QuarantineConfig{Path: c.dir(name), Damage: damage, Network: TCP(), Patience: patience, step: step})
}

// remembered waits until a node has written down where the others are.
func (c *diskCluster) remembered(name string) {
	c.t.Helper()
	eventually(c.t, "the places of the others", 20*time.Second, func() bool {
		var f peersFile
		return readSealed(peersPath(c.dir(name)), &f) == nil && len(f.Servers) == len(c.nodes)-1
	})
}

var errCrash = errors.New("the process ends here")

// crashAt ends the process once at a step; "" is no crash.
func crashAt(at string) func(string) error {
	return func(name string) error {
		if name == at {
			return errCrash
		}
		return nil
	}
}

func TestDamagedNodeComesBackAsAnother(t *testing.T) {
	t.Parallel()
	harm := map[string]func(t testing.TB, dir string){
		"a flipped bit in an entry":    func(t testing.TB, dir string) { flip(t, filepath.Join(dir, "raft", "log.db"), "entry-0010") },
		"a truncated log":              cutLog,
		"a flipped bit in its id":      func(t testing.TB, dir string) { flip(t, filepath.Join(dir, "raft", "identity"), "") },
		"no snapshot can be read":      func(t testing.TB, dir string) { flipSnapshots(t, dir) },
		"crash before it is noted":     cutLog,
		"crash before the rename":      cutLog,
		"crash right after the rename": cutLog,
	}
	crash := map[string]string{
		"crash before it is noted": stepProved, "crash before the rename": stepLeaving, "crash right after the rename": stepMoved,
	}
	for name, damage := range harm {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var tune func(*Config)
			if strings.Contains(name, "snapshot") {
				tune = func(c *Config) { c.SnapshotThreshold, c.SnapshotInterval, c.TrailingLogs = 20, 50*time.Millisecond, 1 }
			}
			comesBack(t, newTunedDiskCluster(t, 3, tune), damage, crash[name])
		})
	}
}

// flipSnapshots damages every snapshot that is complete; what was being written when the node was killed ends in ".tmp",
// may be empty, and is none.
func flipSnapshots(t testing.TB, dir string) {
	t.Helper()
	states, err := filepath.Glob(filepath.Join(dir, "raft", "snapshots", "*", "state.bin"))
	states = slices.DeleteFunc(states, func(file string) bool { return strings.HasSuffix(filepath.Dir(file), ".tmp") })
	if err != nil || len(states) == 0 {
		t.Fatalf("snapshots: %v, %v", states, err)
	}
	for _, file := range states {
		flip(t, file, "")
	}
}

// comesBack damages the node that leads, lets it come back with a crash on the way, and expects that it is another voter
// with all of the history.
func comesBack(t *testing.T, c *diskCluster, damage func(testing.TB, string), crash string) {
	defer c.stop()
	c.write(0, 60)
	victim, v := c.leader()
	old := v.host.ID()
	c.remembered(victim)
	if c.tune != nil {
		eventually(t, "a snapshot", 10*time.Second, func() bool { return v.host.Stats().SnapshotIndex > 0 })
	}
	c.kill(victim)
	c.write(60, 70)
	damage(t, c.dir(victim))
	err := c.quarantine(victim, c.damaged(victim), 20*time.Second, crashAt(crash))
	if (crash != "") != errors.Is(err, errCrash) || (crash == "" && err != nil) {
		t.Fatal(err)
	}
	if crash == stepProved || crash == stepLeaving {
		if err := c.quarantine(victim, c.damaged(victim), 20*time.Second, nil); err != nil {
			t.Fatal(err)
		}
	}
	n := c.start(victim)
	if n.host.ID() == old {
		t.Fatal("the old id has an emptied log")
	}
	if diff := cmp.Diff([]string{old}, n.dir.Former()); diff != "" {
		t.Fatal(diff)
	}
	eventually(t, "the new voter in the place of the old", 30*time.Second, func() bool {
		_, l := c.leader()
		ids := l.host.voterIDs()
		return len(l.host.Servers()) == 3 && len(ids) == 3 && slices.Contains(ids, n.host.ID())
	})
	c.write(70, 80)
	eventually(t, "the history", 10*time.Second, func() bool { return n.machine.Index() == 80 })
	if diff := cmp.Diff(entries(0, 80), n.machine.snapshot()); diff != "" {
		t.Fatal(diff)
	}
	eventually(t, "the old id is given up", 10*time.Second, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.removed[old] })
	c.kill(victim)
	neverAgain(t, c.dir(victim), old)
}

// neverAgain puts the damaged log back in its place.
func neverAgain(t *testing.T, dir, old string) {
	t.Helper()
	raft := filepath.Join(dir, "raft")
	if err := errors.Join(os.Rename(raft, raft+".new"), os.Rename(raft+".damaged-1", raft)); err != nil {
		t.Fatal(err)
	}
	_, err := OpenDir(dir)
	if err == nil || (!strings.Contains(err.Error(), old+", which was given up") && !errors.As(err, new(*DamageError))) {
		t.Fatalf("the log that was given up is taken: %v", err)
	}
}

// A node that finds the damage while it runs comes back in the same way.
func TestDamageFoundWhileRunning(t *testing.T) {
	t.Parallel()
	found := make(chan error, 1)
	c := newTunedDiskCluster(t, 3, func(cfg *Config) {
		cfg.Fatal = func(err error) {
			select {
			case found <- err:
			default:
			}
		}
	})
	defer c.stop()
	c.write(0, 10)
	victim, v := c.leader()
	old := v.host.ID()
	c.remembered(victim)
	go v.host.store.guard("read an entry", func() error { return v.host.store.damage("entry 5 does not fit its checksum", nil) })
	var damage *DamageError
	if err := <-found; !errors.As(err, &damage) {
		t.Fatal(err)
	}
	c.kill(victim)
	if err := c.quarantine(victim, damage, 20*time.Second, nil); err != nil {
		t.Fatal(err)
	}
	if n := c.start(victim); n.host.ID() == old {
		t.Fatal("the old id has an emptied log")
	}
	eventually(t, "three servers, the old one not among them", 30*time.Second, func() bool {
		_, l := c.leader()
		ids := l.host.voterIDs()
		return len(ids) == 3 && !slices.Contains(ids, old)
	})
}

// Two of three: what is left of the log is all there is.
func TestTwoDamagedNodesStayDown(t *testing.T) {
	t.Parallel()
	c := newDiskCluster(t, 3)
	defer c.stop()
	c.write(0, 20)
	for _, name := range []string{"n1", "n2"} {
		c.remembered(name)
	}
	for _, name := range []string{"n1", "n2"} {
		c.kill(name)
		cutLog(t, c.dir(name))
	}
	for _, name := range []string{"n1", "n2"} {
		damage := c.damaged(name)
		before := tree(t, c.dir(name))
		err := c.quarantine(name, damage, 3*time.Second, nil)
		if !errors.As(err, new(*DamageError)) || !strings.Contains(err.Error(), damage.File) || !strings.Contains(err.Error(), "healthy quorum without it was not found") {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, tree(t, c.dir(name))); diff != "" {
			t.Fatalf("something was moved: %s", diff)
		}
		c.damaged(name)
	}
}

// tree lists what is in a directory and in its raft/.
func tree(t *testing.T, dir string) (out []string) {
	t.Helper()
	for _, pattern := range []string{"*", "raft/*"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, files...)
	}
	return out
}

// The others have moved meanwhile, all but one: it says where they are.
func TestDamagedNodeFindsThoseThatMoved(t *testing.T) {
	t.Parallel()
	c := newDiskCluster(t, 3)
	defer c.stop()
	c.write(0, 5)
	c.remembered("n2")
	c.kill("n2")
	c.kill("n1")
	c.start("n1") // on another port
	c.write(5, 10)
	cutLog(t, c.dir("n2"))
	if err := c.quarantine("n2", c.damaged("n2"), 20*time.Second, nil); err != nil {
		t.Fatal(err)
	}
}

func TestQuarantineIsRefused(t *testing.T) {
	t.Parallel()
	peers := func(t testing.TB, dir string) {
		err := writeSealed(peersPath(dir), peersFile{Servers: []place{{ID: "other", Addr: "127.0.0.1:1"}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	change := func(f func(*lineage)) func(testing.TB, string) {
		return func(t testing.TB, dir string) {
			peers(t, dir)
			var l lineage
			file := filepath.Join(dir, "lineage")
			if err := readSealed(file, &l); err != nil {
				t.Fatal(err)
			}
			f(&l)
			if err := writeSealed(file, l); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tc := range map[string]struct {
		prepare func(t testing.TB, dir string)
		file    string
		want    string
	}{
		"a single node":             {file: "raft/log.db", want: "it knows no other node of its cluster"},
		"nobody answers":            {prepare: peers, file: "raft/log.db", want: "0 other nodes of the cluster answer"},
		"the lineage is damaged":    {prepare: peers, file: "lineage", want: "outside the directory raft"},
		"another directory":         {prepare: peers, file: "../elsewhere/raft/log.db", want: "outside the directory raft"},
		"the hint is damaged":       {prepare: func(t testing.TB, dir string) { peers(t, dir); flip(t, peersPath(dir), "other") }, file: "raft/log.db", want: "where the other nodes are cannot be read"},
		"the lineage too":           {prepare: func(t testing.TB, dir string) { flip(t, filepath.Join(dir, "lineage"), "boot") }, file: "raft/log.db", want: "which node this is cannot be read"},
		"it was removed":            {prepare: change(func(l *lineage) { l.Removed = true }), file: "raft/log.db", want: "has removed the node"},
		"it never held state":       {prepare: change(func(l *lineage) { l.Held = false }), file: "raft/identity", want: "belongs to no cluster"},
		"it only creates a cluster": {prepare: change(func(l *lineage) { l.Held, l.Creating = false, true }), file: "raft/identity", want: "belongs to no cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := written(t, 3)
			if tc.prepare != nil {
				tc.prepare(t, dir)
			}
			before := tree(t, dir)
			damage := &DamageError{File: filepath.Join(dir, tc.file), Reason: "of the test"}
			err := Quarantine(t.Context(), QuarantineConfig{Path: dir, Damage: damage, Network: TCP(), Patience: time.Second})
			if !errors.Is(err, damage) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Fatalf("something was moved: %s", diff)
			}
		})
	}
}

func TestFewDamagedLogsAreKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	for i := range 5 {
		d := mustOpenDir(t, dir)
		id := d.Identity().NodeID
		d.Close()
		q := &quarantine{path: dir, was: d.current(), cfg: QuarantineConfig{step: crashAt("")}}
		q.cfg.Logger = hclog.NewNullLogger()
		if err := q.leave(); err != nil {
			t.Fatal(err)
		}
		if got := mustOpenDir(t, dir); got.Identity().NodeID == id || len(got.Former()) != i+1 {
			t.Fatalf("the id was %s, now %+v, formerly %v", id, got.Identity(), got.Former())
		} else {
			got.Close()
		}
	}
	numbers, err := damagedLogs(dir)
	if diff := cmp.Diff([]int{3, 4, 5}, numbers); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
	if _, err := os.Stat(fmt.Sprint(filepath.Join(dir, "raft.damaged-"), 5)); err != nil {
		t.Fatal(err)
	}
}
