package pyexec

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

const (
	// quiet is how long files must be left alone before they are looked at: an editor writes in several steps.
	quiet = 100 * time.Millisecond
	// impatient is the longest that a busy writer can put that off.
	impatient = 500 * time.Millisecond
	// scanEvery is how often directories are looked at of whose changes the kernel does not tell.
	scanEvery = time.Second
)

// Watch discovers again whenever a source file changes, until ctx ends, and tells seen the outcome each time. New
// executions use the new code from then on; running ones finish on theirs; broken code leaves the last good one.
// Directories that cannot be watched are scanned once a second; the log says so once.
func (p *Pool) Watch(ctx context.Context, seen func(Discovery)) {
	s := &sources{log: p.log, watched: map[string]bool{}, scanned: map[string]string{}}
	if w, err := p.newWatcher(); err != nil {
		s.why = err.Error()
	} else {
		s.w = w
		defer w.Close()
	}
	p.findSources(s, nil)
	// What changed between the caller's Discover and this line is not missed.
	due := time.NewTimer(0)
	defer due.Stop()
	scan := time.NewTicker(p.scanEvery)
	defer scan.Stop()
	events, errs := s.channels()
	var since time.Time // of the first change that waits
	for {
		changed := false
		select {
		case <-ctx.Done():
			return
		case err, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			p.log.Warn("a change of source files may have been missed", "error", err)
			changed = true
		case ev, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			changed = s.matters(ev)
		case <-scan.C:
			changed = s.scan()
		case <-due.C:
			since = time.Time{}
			d, files, err := p.discover(ctx)
			if err != nil {
				continue // ctx has ended
			}
			p.findSources(s, files)
			seen(d)
		}
		if changed {
			if since.IsZero() {
				since = time.Now()
			}
			due.Reset(min(quiet, max(0, impatient-time.Since(since))))
		}
	}
}

// findSources adds the roots, the directories that the module names lead to, and those of the files that were imported.
func (p *Pool) findSources(s *sources, files []string) {
	for _, root := range p.py.path {
		s.add(root, true)
		for _, name := range p.cfg.Modules {
			dir := root
			for _, part := range strings.Split(name, ".") {
				dir = filepath.Join(dir, part)
				s.add(dir, false)
			}
		}
	}
	for _, f := range files {
		s.add(filepath.Dir(f), false)
	}
}

// sources are the directories with source files. Only Watch's goroutine uses it.
type sources struct {
	w       *fsnotify.Watcher // nil = there is none
	why     string            // and the reason
	log     hclog.Logger
	watched map[string]bool
	scanned map[string]string // directory -> what it looked like
	told    bool
}

func (s *sources) channels() (chan fsnotify.Event, chan error) {
	if s.w == nil {
		return nil, nil
	}
	return s.w.Events, s.w.Errors
}

// add is called again for known directories: one that was replaced needs a new watch, the others lose nothing. One that
// must be there, and is not yet, is looked for.
func (s *sources) add(dir string, must bool) {
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		if must {
			s.scanInstead(dir, "")
		}
		return
	}
	why := s.why
	if s.w != nil {
		if err := s.w.Add(dir); err != nil {
			why = err.Error()
		} else {
			s.watched[dir] = true
			delete(s.scanned, dir)
		}
	}
	if kind := remote(dir); why == "" && kind != "" {
		why = kind + " does not tell of what other machines change"
	}
	if why != "" {
		s.scanInstead(dir, fmt.Sprintf("%s: %s", dir, why))
	}
}

func (s *sources) scanInstead(dir, why string) {
	if _, known := s.scanned[dir]; !known {
		s.scanned[dir] = look(dir)
	}
	if why != "" && !s.told {
		s.told = true
		s.log.Warn("source files are looked at once a second: their changes are not told", "reason", why)
	}
}

// scan tells whether a scanned directory looks different; new ones in it are scanned as well.
func (s *sources) scan() bool {
	changed := false
	for dir, before := range s.scanned {
		if now := look(dir); now != before {
			changed = true
			s.scanned[dir] = now
			entries, _ := os.ReadDir(dir)
			for _, e := range entries {
				if e.IsDir() && e.Name() != "__pycache__" && !strings.HasPrefix(e.Name(), ".") {
					s.add(filepath.Join(dir, e.Name()), false)
				}
			}
		}
	}
	return changed
}

// look describes the source files and directories in a directory: every change of one changes it.
func look(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "none"
	}
	var b strings.Builder
	for _, e := range entries {
		if e.Name() == "__pycache__" || !strings.HasSuffix(e.Name(), ".py") && !e.IsDir() && e.Type()&os.ModeSymlink == 0 {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(filepath.Join(dir, e.Name()), &st) != nil {
			continue
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR { // what is in it concerns its own entry
			fmt.Fprintf(&b, "%s %d\n", e.Name(), st.Ino)
			continue
		}
		fmt.Fprintf(&b, "%s %d %d %d\n", e.Name(), st.Ino, st.Size, st.Mtim.Nano())
	}
	return b.String()
}

// remote names a file system that other machines may change.
func remote(dir string) string {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return ""
	}
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC:
		return "NFS"
	case unix.CIFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return "SMB"
	case unix.V9FS_MAGIC:
		return "9p"
	case unix.FUSE_SUPER_MAGIC:
		return "FUSE"
	case unix.CEPH_SUPER_MAGIC:
		return "Ceph"
	case unix.AFS_SUPER_MAGIC:
		return "AFS"
	}
	return ""
}

// matters says whether an event may change what a module means; a new directory is watched as well.
func (s *sources) matters(ev fsnotify.Event) bool {
	if ev.Op == fsnotify.Chmod {
		return false
	}
	base := filepath.Base(ev.Name)
	if strings.HasSuffix(base, ".py") {
		return !strings.HasPrefix(base, ".") // editors' swap files
	}
	if ev.Op.Has(fsnotify.Create) && base != "__pycache__" {
		if st, err := os.Stat(ev.Name); err == nil && st.IsDir() {
			s.add(ev.Name, false)
			return true
		}
	}
	return ev.Op.Has(fsnotify.Remove|fsnotify.Rename) && s.watched[ev.Name]
}
