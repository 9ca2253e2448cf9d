package blob

import (
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
