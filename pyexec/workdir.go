package pyexec

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// maxSpareDirs is how many unused working directories are kept.
const maxSpareDirs = 64

// workDirs hands working directories out. To make and remove one costs more than most bodies do, so one that nothing
// was ever done to is used again.
type workDirs struct {
	root string

	mu    sync.Mutex
	spare []workDir
}

// workDir is a working directory and what it was when it was made.
type workDir struct {
	path string
	made dirState
}

// dirState changes with everything that can be done to a directory: entries that come or go, mode, owner, attributes,
// and with the directory itself.
type dirState struct {
	dev, ino   uint64
	mode, uid  uint32
	ctim, mtim unix.Timespec
}

// take returns a clean directory: a spare one, else a new one with the given name.
func (w *workDirs) take(name string) (workDir, error) {
	for {
		d, ok := w.pop()
		if !ok {
			break
		}
		// It was empty when it came back; what was done since has changed its state.
		if now, err := stateOf(d.path); err == nil && now == d.made {
			return d, nil
		}
		removeTree(d.path)
	}
	d := workDir{path: filepath.Join(w.root, name)}
	if err := os.Mkdir(d.path, 0o700); err != nil {
		return workDir{}, fmt.Errorf("failed to create temp dir: %w", err)
	}
	var err error
	if d.made, err = stateOf(d.path); err != nil {
		return workDir{}, fmt.Errorf("failed to create temp dir: %w", err)
	}
	return d, nil
}

// give takes a directory back that nothing uses any more.
func (w *workDirs) give(d workDir) {
	if !d.clean() || !w.push(d) {
		removeTree(d.path)
	}
}

func (w *workDirs) pop() (workDir, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.spare)
	if n == 0 {
		return workDir{}, false
	}
	d := w.spare[n-1]
	w.spare = w.spare[:n-1]
	return d, true
}

func (w *workDirs) push(d workDir) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.spare) >= maxSpareDirs {
		return false
	}
	w.spare = append(w.spare, d)
	return true
}

// drop removes the spare ones.
func (w *workDirs) drop() {
	for {
		d, ok := w.pop()
		if !ok {
			return
		}
		removeTree(d.path)
	}
}

// clean says whether nothing was ever done to the directory. The kernel's time may stand still for some milliseconds, so
// an unchanged state alone does not say that it is empty.
func (d workDir) clean() bool {
	now, err := stateOf(d.path)
	return err == nil && now == d.made && empty(d.path)
}

// empty takes three system calls; os.ReadDir takes ten.
func empty(dir string) bool {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var buf [1024]byte
	n, err := unix.ReadDirent(fd, buf[:])
	_, _, names := unix.ParseDirent(buf[:max(0, n)], 1, nil) // without . and ..
	return err == nil && len(names) == 0
}

func stateOf(path string) (dirState, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return dirState{}, err
	}
	return dirState{
		dev: uint64(st.Dev), ino: st.Ino, mode: st.Mode, uid: st.Uid, ctim: st.Ctim, mtim: st.Mtim,
	}, nil
}

// removeTree removes a directory also when a body has taken its own right to look into it away.
func removeTree(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		// Called before the directory is read, and once more with an error if it cannot be.
		if e != nil && e.IsDir() && err == nil {
			os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
