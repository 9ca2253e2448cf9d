package blob

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestAFullDiskTakesNothing(t *testing.T) {
	t.Parallel()
	l := local(t)
	none := fmt.Errorf("%w: so", ErrFull)
	looks, left := 0, 1<<30
	l.Room(func(own bool) error {
		looks++
		if left <= 0 && !own {
			return none
		}
		return nil
	})
	kept, _, err := l.Put(t.Context(), strings.NewReader("kept"))
	if err != nil || looks != 1 {
		t.Fatal(err, looks)
	}
	left = 0
	if err := l.PutKey(t.Context(), KeyOf([]byte("new")), strings.NewReader("new")); !errors.Is(err, ErrFull) {
		t.Errorf("%v", err)
	}
	if _, _, err := l.Put(t.Context(), strings.NewReader("own")); err != nil {
		t.Errorf("this node's own work: %v", err)
	}
	if r, _, err := l.Open(t.Context(), kept); err != nil {
		t.Errorf("what is here cannot be read: %v", err)
	} else {
		_ = r.Close()
	}

	// The disk becomes full on the way: nothing of it stays.
	left = 2
	l.Room(func(bool) error {
		if left--; left < 0 {
			return none
		}
		return nil
	})
	large := bytes.Repeat([]byte("v"), 5*roomEvery)
	if _, _, err := l.Put(t.Context(), bytes.NewReader(large)); !errors.Is(err, ErrFull) {
		t.Errorf("%v", err)
	}
	for key, err := range l.Keys() {
		if key == KeyOf(large) || err != nil {
			t.Errorf("%s %v", key, err)
		}
	}
}

// A node without room counts as little as one that is gone: the others hold what they would without it.
func TestOthersHoldWhatAFullNodeDoesNot(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 3)
	m.voters = 2
	full := func(node string) {
		m.stores[node].Room(func(bool) error { return fmt.Errorf("%w: %s", ErrFull, node) })
	}
	full("n1")
	key, _, err := m.store("n0").Put(t.Context(), strings.NewReader("one"))
	if on := m.on(key); err != nil || fmt.Sprint(on) != "[n0 n2]" {
		t.Errorf("it is on %v: %v", on, err)
	}
	full("n2")
	began := time.Now()
	if _, _, err := m.store("n0").Put(t.Context(), strings.NewReader("two")); !errors.Is(err, ErrFull) || !errors.Is(err, ErrShort) {
		t.Errorf("%v", err)
	}
	if time.Since(began) > patience {
		t.Error("room on the disks is waited for")
	}
}

// While another node is away for a moment it is waited for: then there are enough.
func TestANodeThatIsAwayIsWaitedForBesideAFullOne(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 3)
	m.voters = 2
	m.stores["n1"].Room(func(bool) error { return ErrFull })
	m.set("n2", errAway)
	back := time.AfterFunc(300*time.Millisecond, func() { m.set("n2", nil) })
	defer back.Stop()
	key, _, err := m.store("n0").Put(t.Context(), strings.NewReader("one"))
	if on := m.on(key); err != nil || fmt.Sprint(on) != "[n0 n2]" {
		t.Errorf("it is on %v: %v", on, err)
	}
}
