package state

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every table is one of runs, or is known not to be: a new one must not be forgotten when runs are packed.
func TestEveryTableIsOfRunsOrNot(t *testing.T) {
	t.Parallel()
	others := map[Table]bool{TableMeta: true, TableSettings: true, TableWorkspaces: true, TableSessions: true, TableRuns: true, TableRequests: true,
		TableSweeps: true, TableMembers: true, TableWorkflows: true, TablePacks: true, TableKept: true, TableTallies: true, TableAssets: true}
	for _, s := range specs {
		of := slices.ContainsFunc(runTables, func(r struct {
			table  Table
			prefix func(string) string
		}) bool {
			return r.table == s.number
		})
		if of == others[s.number] {
			t.Errorf("%v: say in runTables what its keys begin with, or here that its rows are of no run", s.number)
		}
	}
}

func TestRunRowsAreThoseOfTheRun(t *testing.T) {
	t.Parallel()
	s := New()
	rows := func(run string) []Row {
		return []Row{&Run{ID: run}, &Step{Run: run, Number: 1}, &Step{Run: run, Number: 2}, &Execution{Run: run, Step: 1, Attempt: 1},
			&Input{Run: run, Number: 1}, &Dependency{Execution: run + ":1:1", On: "Rx:1:1"}, &Group{Execution: run + ":1:1", ID: 1},
			&Hit{Parent: run + ":1:1", Request: 1}, &Wait{Execution: run + ":1:1", Kind: KindExecution, On: "Rx:1:1"}, &Persisted{Execution: run + ":1:1", Asset: "A1"}}
	}
	commit(t, s, 1, put(append(rows("R1"), rows("R12")...)...))
	var got []string
	for r := range s.View().RunRows("R1") {
		got = append(got, fmt.Sprintf("%v %q", r.table(), r.key()))
	}
	if len(got) != len(rows("R1")) || !strings.HasPrefix(got[len(got)-1], "runs ") {
		t.Errorf("rows of R1: %v", got)
	}
	effects, digest, err := EncodeRun(s.View(), "R1")
	if err != nil {
		t.Fatal(err)
	}
	packed, err := NewView(effects)
	if err != nil {
		t.Fatal(err)
	}
	if again, _, _ := EncodeRun(packed, "R1"); RowsDigest(again) != digest {
		t.Error("rows change on their way through a view of their own")
	}
	both := s.View().Beside(packed)
	n := 0
	for range both.RunRows("R1") {
		n++
	}
	if n != len(got) {
		t.Errorf("%d rows of which %d are twice", n, n-len(got))
	}
	empty := New().View().Beside(packed)
	if empty.Run("R1") == nil || empty.LatestAttempt(StepID{"R1", 1}) == nil || empty.Run("R12") != nil {
		t.Error("what is beside is not seen")
	}
}

func TestPackedRunsAreFound(t *testing.T) {
	t.Parallel()
	s := New()
	old := s.View()
	commit(t, s, 1, put(&Pack{ID: "P1", Workspace: "W", Runs: Lines("R3", "R1", "R22"), Removed: Lines("R2")}))
	commit(t, s, 2, put(&Pack{ID: "P2", Workspace: "W", Runs: Lines("R4")}))
	find := func(v *View, run string) string {
		if p := v.Packed(run); p != nil {
			return fmt.Sprint(p.ID, " ", p.Has(run), " ", p.Lost(run))
		}
		return ""
	}
	check := func(v *View, want ...string) {
		t.Helper()
		var got []string
		for _, run := range []string{"R1", "R2", "R22", "R3", "R4", "R5", "R", ""} {
			if f := find(v, run); f != "" {
				got = append(got, run+" "+f)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	before := s.View()
	check(old) // before any
	check(before, "R1 P1 true false", "R2 P1 false true", "R22 P1 true false", "R3 P1 true false", "R4 P2 true false")
	commit(t, s, 3, func(tx *Tx) error { // merged, without R3
		tx.Delete(tx.Pack("P1"))
		tx.Delete(tx.Pack("P2"))
		tx.Put(&Pack{ID: "P3", Workspace: "W", Runs: Lines("R1", "R22", "R4"), Removed: Lines("R2")})
		return nil
	})
	check(s.View(), "R1 P3 true false", "R2 P3 false true", "R22 P3 true false", "R4 P3 true false")
	check(before, "R1 P1 true false", "R2 P1 false true", "R22 P1 true false", "R3 P1 true false", "R4 P2 true false")
	if n := len(s.packed.packs); n != 3 {
		t.Errorf("%d packs are remembered, of which one is there", n)
	}
	commit(t, s, 4, put(&Pack{ID: "P4", Workspace: "W", Runs: Lines("R6")})) // in the place of one that is gone
	if n := len(s.packed.packs); n != 3 || find(s.View(), "R6") != "P4 true false" {
		t.Errorf("%d packs are remembered, R6 is in %q", n, find(s.View(), "R6"))
	}
	check(before, "R1 P1 true false", "R2 P1 false true", "R22 P1 true false", "R3 P1 true false", "R4 P2 true false")
	restored := New()
	var buf strings.Builder
	if _, err := s.Freeze().WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	if err := restored.Restore(strings.NewReader(buf.String())); err != nil {
		t.Fatal(err)
	}
	check(restored.View(), "R1 P3 true false", "R2 P3 false true", "R22 P3 true false", "R4 P3 true false")
}

// All that a row can name is found: a row of each table with every text field set names its blobs.
func TestBlobKeysAreAllFound(t *testing.T) {
	t.Parallel()
	for _, r := range goldenRows() {
		want := 0
		countKeys(reflect.ValueOf(r).Elem(), &want)
		got := 0
		for key := range BlobKeys(r) {
			if key != "ab" && key != "cd" {
				t.Errorf("%v: %q", r.table(), key)
			}
			got++
		}
		if got != want {
			t.Errorf("%v: %d keys, want %d", r.table(), got, want)
		}
	}
	if got := slices.Collect(BlobKeys(&Step{Arguments: []Value{{BlobKey: "a"}, {References: []Reference{{BlobKey: "b"}}}}})); !cmp.Equal(got, []string{"a", "b"}) {
		t.Error(got)
	}
}

// countKeys counts by the text that the fields have in goldenRows.
func countKeys(v reflect.Value, n *int) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			countKeys(v.Elem(), n)
		}
	case reflect.Slice:
		for i := range v.Len() {
			countKeys(v.Index(i), n)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if f := v.Field(i); f.Kind() == reflect.String && (f.String() == "ab" || f.String() == "cd") {
				if !strings.HasPrefix(name, "Memo") && !strings.HasPrefix(name, "Defer") && !strings.HasPrefix(name, "Cache") && name != "Key" {
					*n++
				}
			} else {
				countKeys(f, n)
			}
		}
	}
}
