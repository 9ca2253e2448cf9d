package state

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dump is all that the indexes of a view say, in order.
func dump(v *View) (lines []string) {
	for _, s := range specs {
		for _, name := range append([]string{"id"}, names(s)...) {
			for r := range walk[Row](v, s.number, name, "", "") {
				lines = append(lines, fmt.Sprintf("%v %s %q %p", s.number, name, r.key(), r))
			}
		}
	}
	return lines
}

func names(s spec) (names []string) {
	for _, ix := range s.indexes {
		names = append(names, ix.name)
	}
	return names
}

// churn makes some random changes.
func churn(tx *Tx, random *rand.Rand) {
	for range 1 + random.IntN(6) {
		id := ExecutionID{fmt.Sprint("R", random.IntN(20)), 1 + random.IntN(3), 1}
		old := tx.Execution(id)
		if old != nil && random.IntN(3) == 0 {
			tx.Delete(old)
			continue
		}
		e := exec(id.Run, id.Step)
		e.Workspace, e.MemoKey, e.Due = fmt.Sprint("W", random.IntN(2)), []string{"", "k"}[random.IntN(2)], random.IntN(2) == 0
		if random.IntN(2) == 0 {
			e.Result = &Result{Type: ResultValue}
		}
		tx.Put(e)
	}
}

// A decision that is refused, or panics, leaves everything as it was, whatever it did and whoever walks through it; one that is kept gives
// each row the one place in each index that its keys say.
func TestDecisionsAreKeptOrUndone(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	for seed := range uint64(25) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := New()
		for i := range 10 {
			committed := dump(s.View())
			scratch := s.Scratch()
			for range 8 {
				before := dump(scratch.View())
				var walked []string
				for e := range scratch.View().EndedRoots() {
					walked = append(walked, e.ID().String())
				}
				var met []string
				err := scratch.Try(func(tx *Tx) error {
					next := scratch.View().EndedRoots()
					for e := range next {
						met = append(met, e.ID().String())
						churn(tx, random)
					}
					churn(tx, random)
					switch random.IntN(3) {
					case 0:
						return refused
					case 1:
						panic(refused)
					}
					return nil
				})
				if diff := cmp.Diff(walked, met); diff != "" {
					t.Fatalf("seed %d: a walk met changes: %s", seed, diff)
				}
				if err == nil {
					continue
				}
				if diff := cmp.Diff(before, dump(scratch.View())); diff != "" {
					t.Fatalf("seed %d: not undone: %s", seed, diff)
				}
			}
			if diff := cmp.Diff(committed, dump(s.View())); diff != "" {
				t.Fatalf("seed %d: the committed state changed: %s", seed, diff)
			}
			data, err := scratch.Entry(int64(i)).Encode()
			if err == nil {
				err = s.Apply(data)
			}
			if err != nil {
				t.Fatal(err)
			}
			wholly(t, s.View())
		}
	}
}

// wholly holds all indexes against the rows.
func wholly(t *testing.T, v *View) {
	t.Helper()
	for _, s := range specs {
		for _, ix := range s.indexes {
			var want, got []string
			for r := range walk[Row](v, s.number, "id", "", "") {
				if k, ok := ix.key(r); ok {
					want = append(want, fmt.Sprintf("%q %p", k, r))
				}
			}
			slices.Sort(want)
			if tr := v.txn.walked(s.number.tree(ix.name)); tr != nil {
				tr.Scan(func(e entry) bool { got = append(got, fmt.Sprintf("%q %p", e.key, e.row)); return true })
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s of %s: %s", ix.name, s.name, diff)
			}
		}
	}
}

// Readers of one state are not disturbed by what becomes of it, nor by a leader that tries something on it.
func TestViewsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	s := New()
	commit(t, s, 1, put(exec("R1", 1), exec("R2", 1)))
	stop := make(chan struct{})
	done := make(chan error)
	for range 4 {
		go func() {
			for {
				v := s.View()
				if a, b := dump(v), dump(v); !slices.Equal(a, b) {
					done <- errors.New(cmp.Diff(a, b))
					return
				}
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
			}
		}()
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		other := s.Scratch()
		_ = other.Try(func(tx *Tx) error { churn(tx, random); return nil })
		commit(t, s, int64(i), func(tx *Tx) error { churn(tx, random); return nil })
	}
	close(stop)
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
