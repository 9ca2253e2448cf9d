package journal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestCopiesAreShownOnce: three writers, each entry in one to three of four journals, some twice, some late; clocks that
// jump, filters, pages of any size, a journal that is away and comes back. Each matching entry is shown once, and each
// execution's in order where nothing was away.
func TestCopiesAreShownOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var nodes []*Journal
		for range 4 {
			nodes = append(nodes, open(t, t.TempDir(), Options{}))
		}
		level := rng.IntN(2) * 3
		want := writeCopies(t, rng, nodes, level)
		away := -1
		if rng.IntN(2) == 0 {
			away = rng.IntN(4)
		}
		got := readCopies(t, rng, nodes, away, level)
		if away >= 0 { // what came back with it is late
			for _, texts := range got {
				slices.Sort(texts)
			}
			for _, texts := range want {
				slices.Sort(texts)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
	}
}

func writeCopies(t *testing.T, rng *rand.Rand, nodes []*Journal, level int) map[string][]string {
	want := map[string][]string{}
	writers := []*Numbering{NewNumbering(), NewNumbering(), NewNumbering()}
	ts := []int64{1000, 1000, 1000}
	holders := make([][]int, 3)
	for i := range 80 {
		w := rng.IntN(3)
		ts[w] += int64(rng.IntN(10)) - 2
		e := line("r", fmt.Sprint("e", w), ts[w], fmt.Sprint("line ", 1000+i))
		e.Level = rng.IntN(6)
		writers[w].Stamp(&e)
		if e.Level >= level {
			want[e.ExecutionID] = append(want[e.ExecutionID], *e.Template)
		}
		if holders[w] == nil || rng.IntN(8) == 0 {
			holders[w] = rng.Perm(4)[:1+rng.IntN(3)]
		}
		for _, n := range holders[w] {
			for range 1 + rng.IntN(8)/7 { // an answer was lost
				must(t, nodes[n].Keep(t.Context(), e))
			}
		}
	}
	return want
}

func readCopies(t *testing.T, rng *rand.Rand, nodes []*Journal, away, level int) map[string][]string {
	got := map[string][]string{}
	var cursor Cursor
	for step := 0; ; step++ {
		if step > 1000 {
			t.Fatal("the pages do not end")
		}
		limit := 1 + rng.IntN(20)
		var pages []Page
		for n, j := range nodes {
			if n == away && step < 6 {
				continue
			}
			p, err := j.Query(Query{RunID: "r", After: cursor, Level: level, Limit: limit})
			must(t, err)
			pages = append(pages, overTheWire(t, p))
		}
		page, err := Merge(limit, cursor, pages...)
		must(t, err)
		for _, e := range page.Entries {
			got[e.ExecutionID] = append(got[e.ExecutionID], *e.Template)
		}
		if page.Cursor != "" {
			cursor = page.Cursor
		} else if step >= 6 {
			return got
		}
	}
}

func TestKeepRefusesRatherThanWaits(t *testing.T) {
	t.Parallel()
	j, err := Open(t.TempDir(), quiet(), Options{})
	must(t, err)
	full := true
	write := j.write
	j.write = func(f *os.File, b []byte) (int, error) {
		if full {
			return 0, syscall.ENOSPC
		}
		return write(f, b)
	}
	must(t, j.Start())
	defer j.Stop()
	if err := j.Keep(t.Context(), line("r", "e", 1, "first")); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a full disk: %v", err)
	}
	if err := j.Keep(t.Context(), line("r", "e", 2, "second")); !errors.Is(err, ErrBusy) {
		t.Fatalf("while the disk is full: %v", err)
	}
}

// TestKeepEndsWithItsContext: a disk that hangs holds nobody longer than they like to wait.
func TestKeepEndsWithItsContext(t *testing.T) {
	t.Parallel()
	j, err := Open(t.TempDir(), quiet(), Options{})
	must(t, err)
	hang := make(chan struct{})
	write := j.write
	j.write = func(f *os.File, b []byte) (int, error) { <-hang; return write(f, b) }
	must(t, j.Start())
	defer j.Stop()
	defer close(hang)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := j.Keep(ctx, line("r", "e", 1, "x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestLinesAreFilteredByLevelAndPattern(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir(), Options{})
	low, high, plain := withBlob("r", "b", "f"), line("r", "e", 2, "read {n} of {what}"), line("r", "e", 3, "")
	high.Level, plain.Template = 4, nil
	high.Values = map[string]Value{"n": {Type: "raw", Data: []byte("12")}, "what": {Type: "raw", Data: []byte(`"mails"`)}, "at": {Type: "raw", Data: []byte(`[1, 2]`)}}
	must(t, j.Append(low, high, plain))
	must(t, j.Flush())
	for _, c := range []struct {
		q    Query
		want int
	}{
		{Query{}, 3}, {Query{Level: 4}, 1}, {Query{Level: 5}, 0}, {Query{Grep: "12 of mails"}, 1}, {Query{Grep: `at=\[1,2\]$`}, 1},
		{Query{Grep: "see {x}$"}, 0}, {Query{Grep: `see \{x\}`}, 1}, {Query{Grep: "^$"}, 1}, {Query{Grep: "(?i)MAILS", Level: 4}, 1},
	} {
		c.q.RunID = "r"
		if got := readAll(t, j, c.q); len(got) != c.want {
			t.Errorf("%+v: %d entries, want %d", c.q, len(got), c.want)
		}
	}
	var bad *BadPatternError
	if _, err := j.Query(Query{RunID: "r", Grep: "("}); !errors.As(err, &bad) || !strings.Contains(err.Error(), "missing closing )") {
		t.Errorf("a bad pattern: %v", err)
	}
}

func TestSeenNumbers(t *testing.T) {
	t.Parallel()
	var n numbers
	rng := rand.New(rand.NewPCG(1, 1))
	model := map[uint64]bool{}
	for range 300 {
		from := uint64(rng.IntN(100))
		to := from + uint64(rng.IntN(3))
		n = n.add(from, to)
		for s := from; s <= to; s++ {
			model[s] = true
		}
		if !n.valid() {
			t.Fatalf("%v", n)
		}
		for s := range uint64(110) {
			if n.has(s) != model[s] {
				t.Fatalf("%d in %v: %t", s, n, n.has(s))
			}
		}
	}
	for s := range uint64(1000) { // more holes than a cursor may have
		n = n.add(1000+3*s, 1000+3*s)
	}
	if len(n) != maxSpans || !n.has(3997) || !n.valid() {
		t.Errorf("%d spans", len(n))
	}
}

func TestNumberingBeginsAnewWhenItHoldsTooMuch(t *testing.T) {
	t.Parallel()
	n := NewNumbering()
	given := map[string]bool{}
	stamp := func(run string) {
		e := Entry{RunID: run}
		n.Stamp(&e)
		id := fmt.Sprint(run, e.Origin, e.Seq)
		if given[id] || e.Seq == 0 {
			t.Fatalf("%s was given twice", id)
		}
		given[id] = true
	}
	for i := range numberedRuns + 10 {
		stamp(fmt.Sprint(i))
	}
	stamp("0")
	stamp("0")
	if len(n.last) > numberedRuns {
		t.Errorf("%d runs are counted for", len(n.last))
	}
}
