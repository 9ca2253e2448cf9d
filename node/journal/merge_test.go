package journal

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMergedPagesLoseAndRepeatNothing: three journals with clocks that jump, pages of random size, a journal that is
// silent for a while; each execution's lines come once and in order.
func TestMergedPagesLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var nodes []*Journal
		want := map[string][]string{}
		for n := range 3 {
			j := open(t, t.TempDir(), Options{})
			nodes = append(nodes, j)
			ts := int64(1000)
			for i := range rng.IntN(60) {
				ts += int64(rng.IntN(10)) - 2
				execution := fmt.Sprint(n, ".", rng.IntN(2))
				text := fmt.Sprint(execution, " line ", i)
				want[execution] = append(want[execution], text)
				must(t, j.Append(line("r", execution, ts, text)))
				if rng.IntN(4) == 0 {
					must(t, j.Flush())
				}
			}
			must(t, j.Flush())
		}
		got := map[string][]string{}
		var cursor Cursor
		for step := 0; ; step++ {
			limit := 1 + rng.IntN(10)
			var pages []Page
			for n, j := range nodes {
				if n == 1 && step < 3 {
					continue // cannot be asked now
				}
				p, err := j.Query(Query{RunID: "r", After: cursor, Limit: limit})
				must(t, err)
				pages = append(pages, overTheWire(t, p))
			}
			page, err := Merge(limit, cursor, pages...)
			must(t, err)
			if len(page.Entries) > limit {
				t.Fatalf("%d entries above the limit %d", len(page.Entries), limit)
			}
			for _, e := range page.Entries {
				got[e.ExecutionID] = append(got[e.ExecutionID], *e.Template)
			}
			if len(page.Entries) == 0 && step >= 3 {
				break
			}
			if page.Cursor != "" {
				cursor = page.Cursor
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
	}
}

func overTheWire(t *testing.T, p Page) Page {
	b, err := json.Marshal(p)
	must(t, err)
	var back Page
	must(t, json.Unmarshal(b, &back))
	return back
}

func pageOf(journal string, entries ...Entry) Page {
	p := Page{Journal: journal, Entries: entries, Positions: make([]Position, len(entries))}
	for i := range entries {
		p.Covers = append(p.Covers, Cover{journal, uint64(i + 1), uint64(i + 1)})
	}
	return p
}

func TestMergeOrdersByTimestamp(t *testing.T) {
	t.Parallel()
	a := pageOf("a", line("r", "a", 1, "a1"), line("r", "a", 5, "a5"))
	b := pageOf("b", line("r", "b", 1, "b1"), line("r", "b", 3, "b3"))
	p, err := Merge(0, "", b, a)
	must(t, err)
	if diff := cmp.Diff([]string{"a1", "b1", "b3", "a5"}, texts(p.Entries)); diff != "" {
		t.Error(diff)
	}
	b.More = true // what follows b3 may be older than a5
	p, err = Merge(0, "", b, a)
	must(t, err)
	if diff := cmp.Diff([]string{"a1", "b1", "b3"}, texts(p.Entries)); diff != "" || !p.More {
		t.Error(diff, p.More)
	}
	if p, err := Merge(10, ""); err != nil || p.Cursor != "" || p.Entries == nil {
		t.Errorf("of nothing: %+v %v", p, err)
	}
	b.Covers = nil
	if _, err := Merge(10, "", a, b); err == nil {
		t.Error("a page that does not say where its entries stand was merged")
	}
}
