package blob

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func (m *fakeMesh) Missing(ctx context.Context, node string, keys []string) ([]string, error) {
	l, err := m.reach(ctx, node)
	if err != nil {
		return nil, err
	}
	return l.Missing(ctx, keys)
}

// holders of a key among the live nodes.
func (m *fakeMesh) holders(key string) []string {
	live := Rank(key, m.Live())
	out := live[:min(3, len(live))]
	slices.Sort(out)
	return out
}

func TestCopiesAreMadeAnew(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 4)
	var keys []string
	for i := range 60 {
		key, _, err := m.store("n0").Put(t.Context(), bytes.NewReader(fmt.Append(nil, "value ", i)))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	m.set("n1", errGone)
	m.stores["n4"] = local(t) // comes instead
	m.set("n3", errAway)      // does not answer
	first, err := m.store("n0").Repair(t.Context(), m.Missing)
	if err != nil || first.Looked == 0 || first.Failed == 0 {
		t.Fatalf("%+v %v", first, err)
	}
	m.set("n3", nil)
	made := first.Copied
	for _, n := range []string{"n0", "n2", "n3", "n4"} {
		r, err := m.store(n).Repair(t.Context(), m.Missing)
		if err != nil || r.Failed > 0 {
			t.Fatalf("%+v %v", r, err)
		}
		made += r.Copied
	}
	for _, key := range keys {
		on := m.on(key)
		for _, want := range m.holders(key) {
			if !slices.Contains(on, want) {
				t.Errorf("%s is on %v, not on %s", key, on, want)
			}
		}
	}
	if made == 0 {
		t.Error("nothing was copied")
	}
	for _, n := range []string{"n0", "n2", "n3", "n4"} {
		if r, _ := m.store(n).Repair(t.Context(), m.Missing); r.Copied != 0 {
			t.Errorf("%s copied %d again", n, r.Copied)
		}
	}
}

func TestOneHolderMakesTheCopies(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 3)
	key, _, err := m.store("n0").Put(t.Context(), bytes.NewReader([]byte("value")))
	if err != nil {
		t.Fatal(err)
	}
	m.stores["n3"] = local(t)
	m.set("n1", errGone)
	made := 0
	for _, n := range []string{"n0", "n2"} { // both see that it is missing
		asked := map[string]bool{"n3": true}
		var r Repaired
		m.store(n).repairOne(t.Context(), key, Rank(key, []string{"n0", "n2", "n3"}), func(node string) (bool, bool) { return asked[node], true }, &r)
		made += r.Copied
	}
	if made != 1 {
		t.Errorf("%d copies were made", made)
	}
}

func TestScrubReplacesWhatIsDamaged(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 3)
	var keys []string
	for i := range 3 {
		key, _, err := m.store("n0").Put(t.Context(), bytes.NewReader(fmt.Append(nil, "value ", i)))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	rot := func(node, key string) {
		_, file := place(key)
		at := filepath.Join(m.stores[node].dir, file)
		if err := os.Chmod(at, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte("rotten"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rot("n0", keys[1])
	damaged, lost, err := m.store("n0").Scrub(t.Context())
	if damaged != 1 || lost != 0 || err != nil {
		t.Errorf("%d damaged, %d lost, %v", damaged, lost, err)
	}
	if diff := cmp.Diff([]string{"n0", "n1", "n2"}, m.on(keys[1])); diff != "" {
		t.Error(diff)
	}
	n := 0
	for key, err := range m.stores["n0"].Keys() {
		if err != nil || !slices.Contains(keys, key) {
			t.Errorf("%q %v", key, err)
		}
		n++
	}
	if n != len(keys) {
		t.Errorf("%d keys", n)
	}
}

// fakeBeyond has contents by their keys.
type fakeBeyond map[string]string

func (f fakeBeyond) Get(_ context.Context, key string) (io.ReadCloser, error) {
	text, ok := f[key]
	if !ok {
		return nil, notFound(key)
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

func (f fakeBeyond) Keeps(_ context.Context, key string) (bool, error) {
	_, ok := f[key]
	return ok, nil
}

// What is kept beyond the nodes needs no copies on them, unless somebody may still count on these.
func TestWhatIsKeptBeyondIsNotCopiedAnew(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 3)
	for i := range 3 {
		m.stores[fmt.Sprint("n", i)] = local(t)
	}
	n0 := m.store("n0")
	kept, alone := KeyOf([]byte("kept")), KeyOf([]byte("alone"))
	n0.Beyond(fakeBeyond{kept: "kept"})
	for _, text := range []string{"kept", "alone"} {
		must(t, m.stores["n0"].PutKey(t.Context(), KeyOf([]byte(text)), strings.NewReader(text)))
	}
	m.stores["n0"].Age(Lease)
	if r, err := n0.Repair(t.Context(), m.Missing); err != nil || r.Copied != 2 {
		t.Errorf("%+v %v", r, err)
	}
	if got := len(m.on(kept)); got != 1 {
		t.Errorf("on %d nodes", got)
	}
	if got := len(m.on(alone)); got != 3 {
		t.Errorf("on %d nodes", got)
	}
	r, _, err := n0.Open(t.Context(), kept) // leases it
	must(t, err)
	must(t, r.Close())
	if r, err := n0.Repair(t.Context(), m.Missing); err != nil || r.Copied != 2 {
		t.Errorf("%+v %v", r, err)
	}
}
