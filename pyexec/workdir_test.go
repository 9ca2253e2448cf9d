package pyexec

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A directory is used again only when nothing was done to it, and what was done to one is seen by nobody.
func TestWorkingDirectories(t *testing.T) { bothWays(t, workingDirectories) }

func workingDirectories(t *testing.T, way func(*Config)) {
	e := newEngine(t, func(c *Config) { way(c); c.Warm = 1 })
	used := map[string]bool{}
	where := func() string {
		t.Helper()
		var got []any
		h := e.run("where")
		if err := json.Unmarshal(h.value, &got); err != nil {
			t.Fatal(h.ends())
		}
		if left := got[1].([]any); len(left) > 0 {
			t.Errorf("found %v", left)
		}
		path := got[0].(string)
		used[path] = true
		return path
	}
	for range 20 {
		where()
	}
	if len(used) > 4 {
		t.Errorf("%d directories for 20 executions that did nothing to them", len(used))
	}
	hows := []string{
		"file", "hidden", "nested", "link", "mode", "locked", "attribute", "gone", "another", "elsewhere", "come and gone",
	}
	if e.pool.cfg.Executor == "spawn" && os.Getenv("COFLUX_SLOW") == "" {
		hows = []string{"nested", "come and gone"} // each takes five processes; how they begin is nothing to directories
	}
	for _, how := range hows {
		h := e.run("mess", how)
		var messed string
		if err := json.Unmarshal(h.value, &messed); err != nil {
			if how == "attribute" {
				continue // the file system has none
			}
			t.Fatal(h.ends())
		}
		for range 4 {
			if path := where(); path == messed {
				t.Errorf("%s: %s is used again", how, path)
			}
		}
		if !removed(messed) {
			t.Errorf("%s: %s was not removed", how, messed)
		}
	}
	if st, err := os.Stat("/tmp"); err != nil || !st.IsDir() {
		t.Error("what a link led to was removed")
	}
}

// What a node that was killed has left is removed at the start, spare directories at the end (newEngine looks).
func TestWorkingDirectoriesOfACrash(t *testing.T) {
	t.Parallel()
	var left string
	newEngine(t, func(c *Config) {
		left = filepath.Join(c.Scratch, "x7")
		write(t, filepath.Join(left, "secret"), "")
		write(t, left+"-values/coflux_1_1.json", "1")
		os.Chmod(left, 0)
	})
	if found, _ := filepath.Glob(left + "*"); len(found) > 0 {
		t.Errorf("left: %v", found)
	}
}

// Something that still works in a directory when it is wanted keeps it from being used.
func TestWorkingDirectoryIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	w := workDirs{root: t.TempDir()}
	a, err := w.take("x1")
	if err != nil {
		t.Fatal(err)
	}
	w.give(a)
	write(t, filepath.Join(a.path, "late"), "")
	b, err := w.take("x2")
	if err != nil || b.path == a.path {
		t.Errorf("%v %v", b, err)
	}
	var many []workDir
	for i := range maxSpareDirs + 3 {
		d, err := w.take("y" + strings.Repeat("i", i))
		if err != nil {
			t.Fatal(err)
		}
		many = append(many, d)
	}
	for _, d := range many {
		w.give(d)
	}
	if kept, _ := filepath.Glob(w.root + "/y*"); len(kept) != maxSpareDirs {
		t.Errorf("%d are kept", len(kept))
	}
	w.drop()
	if kept, _ := os.ReadDir(w.root); len(kept) != 1 { // x2 is in use
		t.Errorf("left: %v", kept)
	}
}

// removed waits until a file is gone: what an execution leaves is removed after its end, and nobody waits for that.
func removed(path string) bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := os.Lstat(path); err != nil {
			return true
		}
	}
	return false
}
