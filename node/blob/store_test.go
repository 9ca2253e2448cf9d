package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func quiet() hclog.Logger { return hclog.New(&hclog.LoggerOptions{Output: io.Discard}) }

func local(t testing.TB) *Local {
	t.Helper()
	l, err := Open(t.TempDir())
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}

// TestConformance holds every kind of store to the contract of Store.
func TestConformance(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(*testing.T) Store{
		"local":           func(t *testing.T) Store { return local(t) },
		"mesh of one":     func(t *testing.T) Store { return newMesh(t, 1).store("n0") },
		"mesh of five":    func(t *testing.T) Store { return newMesh(t, 5).store("n0") },
		"read elsewhere":  func(t *testing.T) Store { m := newMesh(t, 5); return split{m.store("n1"), m.store("n4")} },
		"kept beyond":     func(t *testing.T) Store { return newDropped(t) },
		"one of six away": func(t *testing.T) Store { m := newMesh(t, 6); m.set("n3", errAway); return m.store("n0") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform(t, make(t))
		})
	}
}

// dropped has nodes that keep nothing: it is all beyond them.
type dropped struct {
	*Mesh
	beyond fakeBeyond
	mu     *sync.Mutex // guards beyond
}

func newDropped(t *testing.T) *dropped {
	d := &dropped{newMesh(t, 1).store("n0"), fakeBeyond{}, &sync.Mutex{}}
	d.Beyond(locked{d})
	return d
}

// locked is what d has beyond.
type locked struct{ d *dropped }

func (l locked) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	return l.d.beyond.Get(ctx, key)
}

func (l locked) Keeps(ctx context.Context, key string) (bool, error) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	return l.d.beyond.Keeps(ctx, key)
}

func (d *dropped) Put(ctx context.Context, r io.Reader) (string, int64, error) {
	key, size, err := d.Mesh.Put(ctx, r)
	if err != nil {
		return "", 0, err
	}
	return key, size, d.drop(ctx, key)
}

func (d *dropped) PutKey(ctx context.Context, key string, r io.Reader) error {
	if err := d.Mesh.PutKey(ctx, key, r); err != nil {
		return err
	}
	return d.drop(ctx, key)
}

func (d *dropped) drop(ctx context.Context, key string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	content, err := Content(ctx, d.local, key, 1<<30)
	if errors.Is(err, ErrNotFound) {
		return nil // dropped by another writer
	}
	if err != nil {
		return err
	}
	d.beyond[key] = string(content)
	return d.local.root.Remove(fileOf(key))
}

// split writes to one node and reads from another.
type split struct{ w, r Store }

func (s split) Put(ctx context.Context, r io.Reader) (string, int64, error) { return s.w.Put(ctx, r) }
func (s split) PutKey(ctx context.Context, key string, r io.Reader) error {
	return s.w.PutKey(ctx, key, r)
}
func (s split) Open(ctx context.Context, key string) (io.ReadCloser, int64, error) {
	return s.r.Open(ctx, key)
}
func (s split) Has(ctx context.Context, key string) (bool, error) { return s.r.Has(ctx, key) }

func conform(t *testing.T, s Store) {
	ctx := t.Context()
	for _, content := range [][]byte{nil, []byte("x"), []byte("hello"), bytes.Repeat([]byte("0123456789abcdef"), 1<<15)} {
		for range 2 { // again does no harm
			key, size, err := s.Put(ctx, bytes.NewReader(content))
			must(t, err)
			if key != KeyOf(content) || size != int64(len(content)) {
				t.Errorf("put of %d bytes: %s %d", len(content), key, size)
			}
			must(t, s.PutKey(ctx, key, bytes.NewReader(content)))
			if ok, err := s.Has(ctx, key); !ok || err != nil {
				t.Errorf("has: %v %v", ok, err)
			}
			got, err := Content(ctx, s, key, 1<<20)
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes came back as %d: %v", len(content), len(got), err)
			}
		}
	}
	if _, err := Content(ctx, s, KeyOf([]byte("hello")), 4); err == nil {
		t.Error("more than the limit was read")
	}
	absent := KeyOf([]byte("absent"))
	if err := s.PutKey(ctx, absent, strings.NewReader("other")); !errors.Is(err, ErrHashMismatch) {
		t.Errorf("put under a wrong key: %v", err)
	}
	if ok, err := s.Has(ctx, absent); ok || (err != nil && !errors.Is(err, ErrUnavailable)) {
		t.Errorf("has of what is absent: %v %v", ok, err)
	}
	broken := io.MultiReader(strings.NewReader("half"), failing{})
	if _, _, err := s.Put(ctx, broken); !errors.Is(err, errBroken) {
		t.Errorf("put from a broken reader: %v", err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := s.Put(over, strings.NewReader("late")); !errors.Is(err, context.Canceled) {
		t.Errorf("put after the context ended: %v", err)
	}
	for _, key := range badKeys() {
		_, _, open := s.Open(ctx, key)
		_, has := s.Has(ctx, key)
		put := s.PutKey(ctx, key, strings.NewReader("x"))
		for what, err := range map[string]error{"open": open, "has": has, "put": put} {
			if !errors.Is(err, ErrBadKey) {
				t.Errorf("%s of %q: %v", what, key, err)
			}
		}
	}
}

var errBroken = errors.New("broken")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errBroken }

func badKeys() []string {
	good := KeyOf(nil)
	return []string{
		"", ".", "..", "/", "../../etc/passwd", good[:63], good + "0", strings.ToUpper(good), good + "\n", "\n" + good, good[:62] + "\x00a",
		"../" + good[3:], good[:31] + "/" + good[32:], "%2e%2e%2f" + good[9:], good[:60] + "..//", strings.Repeat("é", 32), strings.Repeat("g", 64),
		"/etc/passwd" + strings.Repeat("a", 53), strings.Repeat("../", 21) + "a", good[:2] + "/" + good[2:4] + "/" + good[4:],
	}
}

func FuzzKeys(f *testing.F) {
	for _, k := range badKeys() {
		f.Add(k)
	}
	f.Add(KeyOf(nil))
	f.Fuzz(func(t *testing.T, key string) {
		if CheckKey(key) != nil {
			return
		}
		dir, file := place(key)
		if !filepath.IsLocal(file) || filepath.Dir(file) != dir || strings.Count(file, "/") != 3 || strings.Contains(file, "..") {
			t.Errorf("%q is placed at %q", key, file)
		}
	})
}

// TestNothingLeavesTheDirectory even if somebody put symbolic links into it.
func TestNothingLeavesTheDirectory(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	l := local(t)
	content := []byte("content")
	key := KeyOf(content)
	must(t, os.MkdirAll(filepath.Join(outside, key[2:4]), 0o700))
	must(t, os.WriteFile(filepath.Join(outside, key[2:4], key[4:]), content, 0o600))
	must(t, os.Symlink(outside, filepath.Join(l.dir, blobDir, key[:2])))
	if _, _, err := l.Open(t.Context(), key); err == nil {
		t.Error("a blob outside of the directory was read")
	}
	if _, err := l.Path(t.Context(), key); err == nil {
		t.Error("a path outside of the directory was given")
	}
	must(t, os.RemoveAll(filepath.Join(outside, key[2:4])))
	if _, _, err := l.Put(t.Context(), bytes.NewReader(content)); err == nil {
		t.Error("a blob was written through a symbolic link")
	}
	left, err := os.ReadDir(outside)
	if err != nil || len(left) != 0 {
		t.Errorf("written outside: %v %v", left, err)
	}
}

// TestDamageIsNeverServed: each flipped or missing byte is noticed, and a new put heals it.
func TestDamageIsNeverServed(t *testing.T) {
	t.Parallel()
	l := local(t)
	content := []byte("some content")
	key, _, err := l.Put(t.Context(), bytes.NewReader(content))
	must(t, err)
	path, err := l.Path(t.Context(), key)
	must(t, err)
	for i := range content {
		bad := bytes.Clone(content)
		bad[i] ^= 1
		for _, b := range [][]byte{bad, content[:i]} {
			must(t, os.Chmod(path, 0o600))
			must(t, os.WriteFile(path, b, 0o600))
			if _, _, err := l.Open(t.Context(), key); !errors.Is(err, ErrHashMismatch) {
				t.Fatalf("damage at %d: %v", i, err)
			}
			must(t, l.PutKey(t.Context(), key, bytes.NewReader(content)))
			got, err := Content(t.Context(), l, key, 100)
			if diff := cmp.Diff(content, got); err != nil || diff != "" {
				t.Fatal(err, diff)
			}
		}
	}
}

func TestHalfWrittenFilesAreRemovedAtOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 {
		l, err := Open(dir)
		must(t, err)
		left, err := os.ReadDir(filepath.Join(dir, tmpDir))
		if err != nil || len(left) != 0 {
			t.Errorf("left: %v %v", left, err)
		}
		_, f, err := l.temp()
		must(t, err)
		must(t, f.Close())
		key, _, err := l.Put(t.Context(), strings.NewReader("kept"))
		must(t, err)
		_, err = l.Path(t.Context(), key)
		must(t, err)
		must(t, l.Close())
	}
}

func TestManyWritersOfOneBlob(t *testing.T) {
	t.Parallel()
	l := local(t)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			content := fmt.Appendf(nil, "content %d", i%4)
			key, _, err := l.Put(t.Context(), bytes.NewReader(content))
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := Content(t.Context(), l, key, 100); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%q %v", got, err)
			}
		})
	}
	wg.Wait()
	left, err := os.ReadDir(filepath.Join(l.dir, tmpDir))
	if err != nil || len(left) != 0 {
		t.Errorf("left in tmp: %v %v", left, err)
	}
}

func BenchmarkPut4KiB(b *testing.B) {
	l := local(b)
	content := make([]byte, 4096)
	for i := range b.N {
		copy(content, fmt.Sprint(i))
		if _, _, err := l.Put(b.Context(), bytes.NewReader(content)); err != nil {
			b.Fatal(err)
		}
	}
}
