package blob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Local keeps blobs in one directory: blobs/aa/bb/rest, and blobs/tmp for what is
// being written. Every access is confined to the directory.
type Local struct {
	root   *os.Root
	dir    string
	leases *leases
	room   func(own bool) error // refuses to take more; nil = there is always room

	mu    sync.Mutex      // guards known, and is held while directories are made durable
	known map[string]bool // directories whose names are durable
}

var _ Store = (*Local)(nil)

const (
	blobDir = "blobs"
	tmpDir  = blobDir + "/tmp" // no clash: the others have two digits
)

// Open makes the directory if there is none, and removes what a killed
// process left half written.
func Open(dir string) (*Local, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot find the blob directory: %w", err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the blob directory: %w", err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, fmt.Errorf("cannot open the blob directory: %w", err)
	}
	err = root.RemoveAll(tmpDir)
	for _, d := range []string{blobDir, tmpDir} {
		if err == nil {
			err = root.MkdirAll(d, 0o700)
		}
	}
	if err == nil {
		err = syncDir(root, ".")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot prepare the blob directory %s: %w", abs, err), root.Close())
	}
	return &Local{root: root, dir: abs, known: map[string]bool{}, leases: newLeases()}, nil
}

// Close gives the directory back.
func (l *Local) Close() error { return l.root.Close() }

// place is where a checked key lives, relative to the root.
func place(key string) (dir, file string) {
	dir = filepath.Join(blobDir, key[:2], key[2:4])
	return dir, filepath.Join(dir, key[4:])
}

// Put stores content; it is on the disk when Put returns.
func (l *Local) Put(ctx context.Context, r io.Reader) (string, int64, error) {
	return l.put(ctx, "", l.roomy(r, true))
}

// PutKey stores content that has this key.
func (l *Local) PutKey(ctx context.Context, key string, r io.Reader) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	_, _, err := l.put(ctx, key, l.roomy(r, false))
	return err
}

// fetched is PutKey for content that is to be read here.
func (l *Local) fetched(ctx context.Context, key string, r io.Reader) error {
	_, _, err := l.put(ctx, key, l.roomy(r, true))
	return err
}

func (l *Local) put(ctx context.Context, want string, r io.Reader) (key string, size int64, err error) {
	name, f, err := l.temp()
	if err != nil {
		return "", 0, full(err)
	}
	defer func() {
		_ = f.Close() // closed before, unless an error is on its way
		_ = l.root.Remove(name)
	}()
	key, size, err = copyHash(ctx, f, r)
	if err != nil {
		return "", 0, full(fmt.Errorf("cannot store a blob: %w", err))
	}
	if want != "" && key != want {
		return "", 0, mismatch(want, key)
	}
	dir, file := place(key)
	l.leases.renew(key) // before it is looked for: from now on it is not removed
	if l.verify(ctx, key) == nil {
		return key, size, l.settle(dir) // whoever renamed it may not have settled it yet
	}
	err = errors.Join(f.Chmod(0o400), f.Sync(), f.Close())
	if err == nil {
		err = l.makeDir(dir)
	}
	if err == nil {
		err = l.root.Rename(name, file)
	}
	if err != nil {
		return "", 0, full(fmt.Errorf("cannot store blob %s: %w", key, err))
	}
	return key, size, l.settle(dir)
}

func (l *Local) temp() (string, *os.File, error) {
	raw := make([]byte, 12)
	if _, err := rand.Read(raw); err != nil {
		return "", nil, fmt.Errorf("cannot name a new blob: %w", err)
	}
	name := filepath.Join(tmpDir, hex.EncodeToString(raw))
	f, err := l.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", nil, fmt.Errorf("cannot begin a blob: %w", err)
	}
	return name, f, nil
}

// makeDir makes a directory of which every name survives a power cut. The
// first use in this process settles a name: another may have left it unsettled.
func (l *Local) makeDir(dir string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if l.known[d] {
			continue
		}
		if err := l.root.MkdirAll(d, 0o700); err != nil {
			return err
		}
		if err := syncDir(l.root, filepath.Dir(d)); err != nil {
			return err
		}
		l.known[d] = true
	}
	return nil
}

// settle makes a rename into a directory durable.
func (l *Local) settle(dir string) error {
	if err := syncDir(l.root, dir); err != nil {
		return fmt.Errorf("cannot make a blob durable: %w", err)
	}
	return nil
}

func syncDir(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (l *Local) verify(ctx context.Context, key string) error {
	f, _, err := l.open(ctx, key)
	if err != nil {
		return err
	}
	return f.Close()
}

// open reads the whole file once, so that no byte is given out that was not checked.
func (l *Local) open(ctx context.Context, key string) (*os.File, int64, error) {
	if err := CheckKey(key); err != nil {
		return nil, 0, err
	}
	_, file := place(key)
	f, err := l.root.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, notFound(key)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("cannot open blob %s: %w", key, err)
	}
	got, size, err := copyHash(ctx, io.Discard, f)
	if err == nil && got != key {
		err = mismatch(key, got)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("cannot read blob %s: %w", key, err), f.Close())
	}
	return f, size, nil
}

// Open gives the content after checking it.
func (l *Local) Open(ctx context.Context, key string) (io.ReadCloser, int64, error) {
	f, size, err := l.open(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	return f, size, nil
}

// Has looks without reading: the content may still turn out to be damaged.
func (l *Local) Has(_ context.Context, key string) (bool, error) {
	if err := CheckKey(key); err != nil {
		return false, err
	}
	_, file := place(key)
	info, err := l.root.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot look for blob %s: %w", key, err)
	}
	return info.Mode().IsRegular(), nil
}

// Path names the file of a blob, checked now, for a process that only reads it.
func (l *Local) Path(ctx context.Context, key string) (string, error) {
	if err := l.verify(ctx, key); err != nil {
		return "", err
	}
	_, file := place(key)
	return filepath.Join(l.dir, file), nil
}
