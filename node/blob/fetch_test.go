package blob

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A holder that does not begin to answer is not waited for alone.
func TestASlowHolderIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 4)
	key := KeyOf([]byte("content"))
	var others []string
	for _, node := range Rank(key, m.Live()) {
		if node == "n0" {
			continue
		}
		others = append(others, node)
		if _, _, err := m.stores[node].Put(t.Context(), strings.NewReader("content")); err != nil {
			t.Fatal(err)
		}
	}
	m.set(others[0], errHang)
	m.set(others[1], errHang)
	began := time.Now()
	r, size, err := m.store("n0").Open(t.Context(), key)
	if err != nil || size != int64(len("content")) {
		t.Fatal(size, err)
	}
	_ = r.Close()
	if took := time.Since(began); took > patience/2 || took < 2*slowAnswer {
		t.Errorf("it took %s, with two holders that do not answer for %s each", took, slowAnswer)
	}
	has, err := m.stores["n0"].Has(t.Context(), key)
	if !has || err != nil {
		t.Errorf("what was fetched does not stay: %v", err)
	}
}

// What goes through is not kept here, and what is damaged on its way is noticed at its end.
func TestThrough(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 3)
	key, _, err := m.store("n1").Put(t.Context(), strings.NewReader("content"))
	must(t, err)
	reader := ""
	for n, l := range m.stores {
		if has, err := l.Has(t.Context(), key); err != nil {
			t.Fatal(err)
		} else if n != "n1" && has {
			must(t, os.Remove(filepath.Join(l.dir, fileOf(key))))
			reader = n
		}
	}
	r, err := m.store(reader).Through(t.Context(), key)
	must(t, err)
	got, err := io.ReadAll(Checked(key, r))
	if must(t, errors.Join(err, r.Close())); string(got) != "content" {
		t.Errorf("%q", got)
	}
	if has, err := m.stores[reader].Has(t.Context(), key); has || err != nil {
		t.Errorf("it was kept: %t %v", has, err)
	}
	if _, err := io.ReadAll(Checked(key, strings.NewReader("Content"))); !errors.Is(err, ErrHashMismatch) {
		t.Error(err)
	}
	if _, err := m.store(reader).Through(t.Context(), KeyOf([]byte("none"))); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	m.set("n1", errAway)
	if _, err := m.store(reader).Through(t.Context(), key); errors.Is(err, ErrNotFound) || err == nil {
		t.Errorf("a node that is away has nothing: %v", err)
	}
}

func fileOf(key string) string {
	_, file := place(key)
	return file
}
