package pack

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var encoded = cmpopts.IgnoreUnexported(state.Effect{})

// some rows, with more bytes for larger seeds.
func some(seed int) (rows []state.Effect) {
	rng := rand.New(rand.NewPCG(uint64(seed), 1))
	for range 1 + seed%5 {
		row := make([]byte, 1+rng.IntN(10+seed*seed*10))
		for i := range row {
			row[i] = byte(rng.IntN(256))
		}
		rows = append(rows, state.Effect{Table: state.TableSteps + state.Table(rng.IntN(3)), Row: row})
	}
	return rows
}

func packOf(t *testing.T, n int) []byte {
	t.Helper()
	var file bytes.Buffer
	w := NewWriter(&file)
	for i := range n {
		w.Add(Summary{Run: fmt.Sprintf("R%d", i), Module: "m", Target: "t", CreatedAt: int64(1000 - i), CompletedAt: 2000, Outcome: "value", Steps: i}, some(i))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestRunsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 60} {
		file := packOf(t, n)
		r, err := Open(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			rows, s, ok, err := r.Rows(fmt.Sprintf("R%d", i))
			if err != nil || !ok || s.Steps != i || s.Module != "m" || s.CreatedAt != int64(1000-i) {
				t.Fatalf("run %d: %+v %v %v", i, s, ok, err)
			}
			if diff := cmp.Diff(some(i), rows, encoded); diff != "" {
				t.Errorf("run %d: %s", i, diff)
			}
		}
		if _, _, ok, err := r.Rows("Rnone"); ok || err != nil {
			t.Errorf("a run that is not there: %v %v", ok, err)
		}
		for i, s := range r.Runs() {
			if s.Run != fmt.Sprintf("R%d", n-1-i) {
				t.Fatalf("run %d of the directory is %s", i, s.Run)
			}
		}
	}
}

// Whatever bit flips: what is read is what was written, or an error.
func TestDamageIsNoticed(t *testing.T) {
	t.Parallel()
	file := packOf(t, 8)
	rng := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		bad := bytes.Clone(file)
		if rng.IntN(5) == 0 {
			bad = bad[:rng.IntN(len(bad))]
		} else {
			bad[rng.IntN(len(bad))] ^= 1 << rng.IntN(8)
		}
		r, err := Open(bytes.NewReader(bad), int64(len(bad)))
		if err != nil {
			continue
		}
		for i := range 8 {
			rows, _, ok, err := r.Rows(fmt.Sprintf("R%d", i))
			if err == nil && ok && !cmp.Equal(some(i), rows, encoded) {
				t.Fatal("damaged rows were given out")
			}
		}
	}
}

func TestAFullDiskIsAnError(t *testing.T) {
	t.Parallel()
	full := errors.New("no space left")
	for left := range 40 {
		w := NewWriter(&limited{left * 50, full})
		for i := range 8 {
			w.Add(Summary{Run: fmt.Sprintf("R%d", i)}, some(i))
		}
		if err := w.Close(); !errors.Is(err, full) {
			t.Fatalf("after %d bytes: %v", left*50, err)
		}
	}
}

type limited struct {
	left int
	err  error
}

func (l *limited) Write(b []byte) (int, error) {
	if l.left -= len(b); l.left < 0 {
		return 0, l.err
	}
	return len(b), nil
}

func FuzzOpen(f *testing.F) {
	var file bytes.Buffer
	w := NewWriter(&file)
	w.Add(Summary{Run: "R1"}, some(3))
	_ = w.Close()
	f.Add(file.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Open(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for _, s := range r.Runs() {
			_, _, _, _ = r.Rows(s.Run)
		}
	})
}
