package pyexec

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// quiet is how long files must be left alone before they are looked at: an editor writes in several steps.
	quiet = 100 * time.Millisecond
	// impatient is the longest that a busy writer can put that off.
	impatient = 500 * time.Millisecond
)

// Watch discovers again whenever a source file changes, until ctx ends, and tells seen the outcome each time. New
// executions use the new code from then on; running ones finish on theirs; broken code leaves the last good one.
func (p *Pool) Watch(ctx context.Context, seen func(Discovery)) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("source files cannot be watched: %w", err)
	}
	defer w.Close()
	dirs := map[string]bool{}
	p.watchDirs(w, dirs, nil)
	if len(dirs) == 0 {
		return errNothingToWatch
	}
	// What changed between the caller's Discover and this line is not missed.
	due := time.NewTimer(0)
	defer due.Stop()
	var since time.Time // of the first change that waits
	for {
		select {
		case <-ctx.Done():
			return nil
		case err, ok := <-w.Errors:
			if !ok {
				return nil
			}
			p.log.Warn("a change of source files may have been missed", "error", err)
			due.Reset(quiet)
		case ev, ok := <-w.Events:
			if !ok {
				return nil
			}
			if !p.isSource(w, dirs, ev) {
				continue
			}
			if since.IsZero() {
				since = time.Now()
			}
			due.Reset(min(quiet, max(0, impatient-time.Since(since))))
		case <-due.C:
			since = time.Time{}
			d, files, err := p.discover(ctx)
			if err != nil {
				continue // ctx has ended
			}
			p.watchDirs(w, dirs, files)
			seen(d)
		}
	}
}

// isSource says whether an event may change what a module means; a new directory is watched as well.
func (p *Pool) isSource(w *fsnotify.Watcher, dirs map[string]bool, ev fsnotify.Event) bool {
	if ev.Op == fsnotify.Chmod {
		return false
	}
	base := filepath.Base(ev.Name)
	if strings.HasSuffix(base, ".py") {
		return !strings.HasPrefix(base, ".") // editors' swap files
	}
	if ev.Op.Has(fsnotify.Create) && base != "__pycache__" {
		if st, err := os.Stat(ev.Name); err == nil && st.IsDir() {
			addWatch(w, dirs, ev.Name)
			return true
		}
	}
	return ev.Op.Has(fsnotify.Remove|fsnotify.Rename) && dirs[ev.Name]
}

// watchDirs adds the roots, the directories that the module names lead to, and those of the files that were imported.
func (p *Pool) watchDirs(w *fsnotify.Watcher, dirs map[string]bool, files []string) {
	for _, root := range p.py.path {
		addWatch(w, dirs, root)
		for _, name := range p.cfg.Modules {
			dir := root
			for _, part := range strings.Split(name, ".") {
				dir = filepath.Join(dir, part)
				addWatch(w, dirs, dir)
			}
		}
	}
	for _, f := range files {
		addWatch(w, dirs, filepath.Dir(f))
	}
}

// addWatch is called again for known directories: one that was replaced needs a new watch, the others lose nothing.
func addWatch(w *fsnotify.Watcher, dirs map[string]bool, dir string) {
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return
	}
	if w.Add(dir) == nil {
		dirs[dir] = true
	}
}
