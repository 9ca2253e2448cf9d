package journal

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestRetireDropsWhatNobodyWants: only whole segments of runs that are gone, that are old enough and not written any more;
// cursors stay true over it and over a restart.
func TestRetireDropsWhatNobodyWants(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	shard := shardOf("old")
	neighbour := "" // another run of the same shard
	for i := 0; neighbour == ""; i++ {
		if run := fmt.Sprint("n", i); shardOf(run) == shard {
			neighbour = run
		}
	}
	write := func(runs ...string) { // a segment
		j := open(t, dir, Options{})
		for _, run := range runs {
			must(t, j.Append(line(run, "e", 1, "of "+run)))
			must(t, j.Flush())
		}
		j.Stop()
	}
	write("old")
	write("old", neighbour)
	write("old", "old")
	j := open(t, dir, Options{})
	must(t, j.Append(line("old", "e", 2, "still written")))
	must(t, j.Flush())
	first, err := j.Query(Query{RunID: "old", Limit: 1})
	must(t, err)

	gone := func(run string) bool { return run == "old" }
	if n, err := j.Retire(time.Now().Add(-time.Hour), gone); n != 0 || err != nil {
		t.Fatalf("young segments: %d dropped, %v", n, err)
	}
	later := time.Now().Add(time.Minute)
	if n, err := j.Retire(later, func(string) bool { return false }); n != 0 || err != nil {
		t.Fatalf("wanted segments: %d dropped, %v", n, err)
	}
	before := j.Stats()
	n, err := j.Retire(later, gone)
	if n != 2 || err != nil {
		t.Fatalf("%d dropped, %v", n, err)
	}
	if s := j.Stats(); s.Bytes >= before.Bytes || s.DroppedSegments != 2 {
		t.Errorf("counted %+v, before %+v", s, before)
	}
	if got := texts(readAll(t, j, Query{RunID: neighbour})); len(got) != 1 {
		t.Errorf("the neighbour has %q", got)
	}
	if got := texts(readAll(t, j, Query{RunID: "old", After: first.Cursor})); strings.Join(got, ",") != "of old,still written" {
		t.Errorf("behind the cursor: %q", got)
	}
}

// TestRetireKeepsTheNewestNumber: otherwise a segment of the next process would get it, and cursors would lie.
func TestRetireKeepsTheNewestNumber(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir, Options{})
	must(t, j.Append(line("r", "e", 1, "x")))
	must(t, j.Flush())
	p, err := j.Query(Query{RunID: "r"})
	must(t, err)
	j.Stop()
	j = open(t, dir, Options{})
	if n, err := j.Retire(time.Now().Add(time.Minute), func(string) bool { return true }); n != 0 || err != nil {
		t.Fatalf("%d dropped, %v", n, err)
	}
	j.Stop()
	j = open(t, dir, Options{})
	must(t, j.Append(line("r", "e", 2, "y")))
	must(t, j.Flush())
	if got := texts(readAll(t, j, Query{RunID: "r", After: p.Cursor})); len(got) != 1 || got[0] != "y" {
		t.Errorf("behind the cursor: %q", got)
	}
}

// TestRetirePassesOverDamage: a damaged record holds nothing that anybody could read; a file that cannot be read stays.
func TestRetirePassesOverDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, whole, ends := fill(t, dir, 3)
	whole[ends[0]+headerLen+5] ^= 1
	must(t, os.WriteFile(file, whole, 0o600))
	j := open(t, dir, Options{})
	must(t, j.Append(line("r", "e", 1, "x")))
	must(t, j.Flush())
	asked := 0
	if n, err := j.Retire(time.Now().Add(time.Minute), func(string) bool { asked++; return true }); n != 1 || err != nil || asked != 1 {
		t.Errorf("%d dropped, %v, asked %d times", n, err, asked)
	}
}
