package blob

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// hold leases blobs on a node.
func (m *fakeMesh) hold(ctx context.Context, node string, keys []string) ([]string, error) {
	l, err := m.reach(ctx, node)
	if err != nil {
		return nil, err
	}
	return l.Hold(ctx, keys)
}

func (l *Local) unleased(t *testing.T) (n int) {
	t.Helper()
	for _, err := range l.Unleased() {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// What is held is leased wherever it is, and copied where there is too little of it.
func TestHoldingLeasesAndCopies(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 3)
	var keys []string
	for _, text := range []string{"here", "there", "everywhere"} {
		nodes := map[string][]string{"here": {"n0"}, "there": {"n2"}, "everywhere": {"n0", "n1", "n2"}}[text]
		for _, n := range nodes {
			if _, _, err := m.stores[n].Put(t.Context(), strings.NewReader(text)); err != nil {
				t.Fatal(err)
			}
		}
		keys = append(keys, KeyOf([]byte(text)))
	}
	for _, l := range m.stores {
		l.Age(Lease)
	}
	if n := m.stores["n2"].unleased(t); n != 2 {
		t.Fatalf("%d are not leased on n2", n)
	}
	if err := m.store("n0").Hold(t.Context(), m.hold, keys); err != nil {
		t.Fatal(err)
	}
	for i, key := range keys {
		if on := m.on(key); len(on) != 3 {
			t.Errorf("blob %d is on %v", i, on)
		}
	}
	for name, l := range m.stores {
		if n := l.unleased(t); n != 0 {
			t.Errorf("%d are not leased on %s", n, name)
		}
	}
}

func TestHoldingFailsWhereThereIsNothing(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 3)
	nothing := KeyOf([]byte("nothing"))
	began := time.Now()
	if err := m.store("n0").Hold(t.Context(), m.hold, []string{nothing}); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if time.Since(began) > fetchFor/2 {
		t.Error("it was waited for, although all nodes say that they have none")
	}
	if err := m.store("n0").Hold(t.Context(), m.hold, []string{"../x"}); !errors.Is(err, ErrBadKey) {
		t.Errorf("%v", err)
	}
	if err := m.store("n0").Hold(t.Context(), m.hold, nil); err != nil {
		t.Error(err)
	}
	m.set("n2", errAway)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := m.store("n0").Hold(ctx, m.hold, []string{nothing}); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("a node that is away may have it: %v", err)
	}
}
