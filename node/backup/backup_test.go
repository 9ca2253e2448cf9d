package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func keyOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// written is a backup of a state and two blobs, of which one is left out.
func written(t testing.TB, close bool) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, Info{ID: "01", Base: "00", BaseName: "old", ClusterID: "C", Index: 7, SavedAt: 1_795_417_523_000, Version: "v", Workspaces: 1, Runs: 2, PackedRuns: 3, Assets: 4})
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("state", 50_000)
	steps := []func() error{
		func() error { return w.State(int64(len(large)), strings.NewReader(large)) },
		func() error { return w.Keys([]string{keyOf("a"), keyOf("b")}) },
		func() error { return w.Blob(keyOf("b"), 1, strings.NewReader("b")) },
	}
	if close {
		steps = append(steps, w.Close)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if !close {
		w.zip.Close()
	}
	return out.Bytes()
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	var state, keys, blobs []string
	text := func(r io.Reader) string {
		data, err := io.ReadAll(r)
		if err != nil {
			t.Error(err)
		}
		return string(data)
	}
	var info Info
	got, err := Read(bytes.NewReader(written(t, true)), Parts{
		Info:  func(i Info) error { info = i; return nil },
		State: func(size int64, r io.Reader) error { state = append(state, text(r)); return nil },
		Keys:  func(k []string) error { keys = k; return nil },
		Blob:  func(key string, size int64, r io.Reader) error { blobs = append(blobs, key, text(r)); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Contents{Info: info, StateBytes: 250_000, Blobs: 2, Stored: 1, BlobBytes: 1}
	if diff := cmp.Diff(want, got); diff != "" || info.Index != 7 || info.BaseName != "old" || info.Format != format {
		t.Errorf("%s %+v", diff, info)
	}
	if len(state) != 1 || len(state[0]) != 250_000 || !cmp.Equal(keys, []string{keyOf("a"), keyOf("b")}) || !cmp.Equal(blobs, []string{keyOf("b"), "b"}) {
		t.Errorf("%d parts of state, keys %v, blobs %v", len(state), keys, blobs)
	}
	if again, err := Read(bytes.NewReader(written(t, true)), Parts{}); err != nil || !cmp.Equal(again, got) {
		t.Errorf("without parts: %+v %v", again, err)
	}
	stop := errors.New("stop")
	if _, err := Read(bytes.NewReader(written(t, true)), Parts{State: func(int64, io.Reader) error { return stop }}); !errors.Is(err, stop) || errors.Is(err, ErrDamaged) {
		t.Errorf("an error of a part: %v", err)
	}
}

// told is all that the parts are told of.
func told(t *testing.T, data []byte) (all string, err error) {
	t.Helper()
	copied := func(name string, r io.Reader) error {
		part, err := io.ReadAll(r)
		all += name + string(part)
		return err
	}
	_, err = Read(bytes.NewReader(data), Parts{
		Info:  func(i Info) error { all += fmt.Sprint(i); return nil },
		State: func(_ int64, r io.Reader) error { return copied("state", r) },
		Keys:  func(k []string) error { all += fmt.Sprint(k); return nil },
		Blob:  func(key string, _ int64, r io.Reader) error { return copied(key, r) },
	})
	return all, err
}

// Whichever byte is changed or missing, it is noticed, or says the same (a few bits of zstd's headers do).
func TestDamageIsNoticed(t *testing.T) {
	t.Parallel()
	whole := written(t, true)
	want, err := told(t, whole)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 1
		if got, err := told(t, bad); err == nil && got != want {
			t.Errorf("byte %d of %d is changed, and nobody notices", i, len(whole))
		}
		if _, err := Read(bytes.NewReader(whole[:i]), Parts{}); !errors.Is(err, ErrDamaged) && err == nil {
			t.Errorf("cut to %d of %d bytes: %v", i, len(whole), err)
		}
	}
	if _, err := Read(bytes.NewReader(written(t, false)), Parts{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("without its end: %v", err)
	}
	var out bytes.Buffer
	w, _ := NewWriter(&out, Info{})
	err = errors.Join(w.State(1, strings.NewReader("s")), w.Keys(nil), w.Blob(keyOf("a"), 1, strings.NewReader("b")), w.Close())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(&out, Parts{}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "has the content of") {
		t.Errorf("another content: %v", err)
	}
	for _, text := range []string{"", "no backup", strings.Repeat("x", 10_000)} {
		if _, err := Read(strings.NewReader(text), Parts{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%.10q: %v", text, err)
		}
	}
}

func TestAPartThatIsTooShortIsNoPart(t *testing.T) {
	t.Parallel()
	w, err := NewWriter(io.Discard, Info{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.State(5, strings.NewReader("four")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

// What is given up writes nothing any more, and is no backup.
func TestAnAbortedBackupWritesNothingMore(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w, err := NewWriter(&out, Info{})
	if err != nil {
		t.Fatal(err)
	}
	random := make([]byte, 20<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random) // never fails
	if err := w.State(int64(len(random)), bytes.NewReader(random)); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	size := out.Len()
	if _, err := Read(bytes.NewReader(out.Bytes()), Parts{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
	w.Abort()
	if out.Len() != size {
		t.Error("it was written to after its end")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(written(f, true))
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = Read(bytes.NewReader(data), Parts{}) })
}
