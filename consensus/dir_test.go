package consensus

import (
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
)

func refusal(t *testing.T, path string, parts ...string) {
	t.Helper()
	d, err := OpenDir(path)
	if err == nil {
		d.Close()
		t.Fatal("the directory was opened")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Fatalf("the sentence lacks %q: %v", part, err)
		}
	}
}

func mustOpenDir(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestIdentityStaysAndBootIsNew(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data")
	d := mustOpenDir(t, path)
	first := d.Identity()
	d.Close()
	second := mustOpenDir(t, path).Identity()
	if first.NodeID != second.NodeID || first.Boot == second.Boot || first.NodeID == "" {
		t.Fatalf("first %+v, then %+v", first, second)
	}
}

func TestDirIsLocked(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	mustOpenDir(t, path)
	refusal(t, path, "in use by another process", "--data-dir")
}

func TestForeignDirIsRefused(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	if err := os.WriteFile(filepath.Join(path, "thesis.tex"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refusal(t, path, "thesis.tex", "choose an empty one")
}

func TestDamagedLineageIsNamed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"lineage", "raft/identity"} {
		path := filepath.Join(t.TempDir(), "data")
		mustOpenDir(t, path).Close()
		file := filepath.Join(path, name)
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 4
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = OpenDir(path)
		isDamage(t, err)
	}
}

func TestCloneIsRefusedAndMoveIsNot(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	d := mustOpenDir(t, a)
	id := d.Identity().NodeID
	d.Close()
	if out, err := exec.Command("cp", "-r", a, b).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	refusal(t, b, "is a copy of", a)
	if err := os.Rename(a, filepath.Join(root, "c")); err != nil {
		t.Fatal(err)
	}
	if got := mustOpenDir(t, filepath.Join(root, "c")).Identity().NodeID; got != id {
		t.Fatalf("a moved directory changed its id from %s to %s", id, got)
	}
}

// Amnesia (rules A10): a node that lost its log comes back as another node and never creates a cluster.
func TestLostLogMakesAnotherNode(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(path string) error{
		"the log":   func(path string) error { return os.Remove(filepath.Join(path, "raft", "log.db")) },
		"all of it": func(path string) error { return os.RemoveAll(filepath.Join(path, "raft")) },
		"moved, as is": func(path string) error {
			return os.Rename(filepath.Join(path, "raft"), filepath.Join(path, "raft.old"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := written(t, 3)
			d := mustOpenDir(t, path)
			before := d.Identity()
			d.Close()
			if err := lose(path); err != nil {
				t.Fatal(err)
			}
			n := mustOpenDisk(t, path, nil)
			defer n.stop()
			after := n.dir.Identity()
			if after.NodeID == before.NodeID || after.ClusterID != before.ClusterID {
				t.Fatalf("before %+v, after %+v", before, after)
			}
			err := n.host.Bootstrap()
			if err == nil || !strings.Contains(err.Error(), "--join") || !strings.Contains(err.Error(), before.ClusterID) {
				t.Fatalf("the creation of a second cluster: %v", err)
			}
		})
	}
}

func TestRemovedNodeStaysOut(t *testing.T) {
	t.Parallel()
	path := written(t, 3)
	d := mustOpenDir(t, path)
	if err := d.update(func(l *lineage) { l.Removed = true }); err != nil {
		t.Fatal(err)
	}
	old := d.Identity().NodeID
	d.Close()
	refusal(t, path, old, "was removed", "--join")
	if err := os.Rename(filepath.Join(path, "raft"), filepath.Join(path, "raft.old")); err != nil {
		t.Fatal(err)
	}
	if got := mustOpenDir(t, path).Identity().NodeID; got == old {
		t.Fatal("the removed id came back")
	}
}

// A process that ended while it made its first log left nothing that could be lost.
func TestUnfinishedFirstLogIsMadeAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data")
	mustOpenDir(t, path).Close()
	if err := os.WriteFile(filepath.Join(path, "raft", "log.db"), []byte("half a page"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustOpenDisk(t, path, nil).stop()
}

func TestLaterBootsCompareGreaterWhateverTheClock(t *testing.T) {
	path := t.TempDir()
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	ahead := ulid.MustNew(ulid.Timestamp(time.Now().Add(time.Hour)), rand.Reader).String()
	if err := d.update(func(l *lineage) { l.Boot = ahead }); err != nil {
		t.Fatal(err)
	}
	d.Close()
	again, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if boot := again.Identity().Boot; boot <= ahead {
		t.Errorf("boot %s is not greater than %s", boot, ahead)
	}
}

// A process that is killed while it replaces a file leaves the new one unfinished.
func TestUnfinishedFilesGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	left := filepath.Join(dir, ".new-123")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := os.Stat(left); !missing(err) {
		t.Errorf("it is still there: %v", err)
	}
}
