package node

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// TestWorkerDirs: a worker removes the directories of those that died, whenever that was, and no other one's.
func TestWorkerDirs(t *testing.T) { // not parallel: it sets TMPDIR
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	live, lock, err := workerDir(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, name := range []string{workerDirs + "dead", newWorkerDirs + "dead", newWorkerDirs + "born", "stranger"} {
		if err := os.MkdirAll(filepath.Join(tmp, name, "scratch"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(tmp, newWorkerDirs+"dead"), long, long); err != nil {
		t.Fatal(err)
	}
	mine, other, err := workerDir(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var left []string
	entries, err := os.ReadDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, e.Name())
	}
	want := []string{filepath.Base(live), filepath.Base(mine), newWorkerDirs + "born", "stranger"}
	slices.Sort(want)
	if !slices.Equal(left, want) {
		t.Errorf("left: %v, want %v", left, want)
	}
}
