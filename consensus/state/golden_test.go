package state

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files anew")

// goldenRows holds a row of each table with every field set. The encodings are for ever: a log or a snapshot that was
// written once must stay readable, and give the same digest.
func goldenRows() []Row {
	group, retry, limit, age := 3, true, 4, int64(5)
	value := Value{Data: []byte(`"x"`), BlobKey: "ab", Size: 5,
		References: []Reference{{Kind: "execution", ID: "R1:2:1", Module: "m", Target: "t"},
			{Kind: "fragment", Format: "json", BlobKey: "cd", Size: 7, Metadata: []byte(`{"model":"m.M"}`)}}}
	return []Row{
		&Setting{Name: "voters", Value: 5},
		&Workspace{ID: "W1", Project: "p", Name: "w", Base: "W0", State: WorkspacePaused, CreatedAt: 1_700_000_000_000},
		&Session{ID: "S1", Workspace: "W1", Node: "N1", NodeName: "n", Boot: "b", Slots: 4, State: SessionDraining,
			Targets: []DeclaredTarget{{Module: "m", Name: "t", Type: TypeTask}}, OpenedAt: 2, Reason: "why",
			Provides: Tags{"a": {"1", "2"}, "b": {"3"}}, Accepts: Tags{"c": {"4"}}},
		&Run{ID: "R1", Workspace: "W1", Module: "m", Target: "t", CreatedAt: 3, Steps: 2, RequestID: "01HF7YAT00000000000000000A", Parent: "R0:2:1",
			Requires: Tags{"a": {"1"}}, Memo: true, Inputs: 1, Durable: true},
		&Step{Run: "R1", Number: 2, Module: "m", Target: "t", Type: TypeTask, Parent: "R1:1:1", Request: 7, Group: &group,
			Arguments: []Value{value}, WaitFor: []int{0}, Delay: 8, Timeout: 9, CreatedAt: 4, Requires: Tags{"b": {}, "c": {"4"}}, MemoKey: "ab", Recurrent: true, Durable: true,
			Retries: &Retries{Limit: &limit, BackoffMin: 5, BackoffMax: 6}, DeferKey: "ab",
			Cache: &Cache{Params: []int{1}, All: true, MaxAge: &age, Namespace: "n", Version: "v"}, CacheKey: "cd"},
		&Execution{Run: "R1", Step: 2, Attempt: 1, Workspace: "W1", Module: "m", Target: "t", Type: TypeTask, Tier: TierRoot,
			CreatedAt: 5, ExecuteAfter: 6, Due: true, Session: "S1", AssignedAt: 7, CompletedAt: 8, Node: "N1", Requires: "a:1;", Failures: 2, Losses: 1, Lap: 2, Wait: WaitAny,
			MemoKey: "ab", DeferKey: "ab", CacheKey: "cd",
			Result: &Result{Type: ResultError, Value: &value, Reason: "why", Retry: 2, Link: "R2:1:1", Error: &Error{Type: "E", Message: "m", Retryable: &retry, Vanished: true,
				Frames: []Frame{{File: "f", Line: 3, Name: "n", Code: "c"}}}}},
		&Dependency{Execution: "R1:1:1", On: "R1:2:1"},
		&Group{Execution: "R1:1:1", ID: 3, Name: "g"},
		&Request{Kind: RequestIdempotency, Workspace: "W1", ID: "k", Answer: "R1", ExpiresAt: 9},
		&Sweep{ID: "cancel R1:1:1", Kind: SweepCancel, Subject: "R1:1:1", Through: 3, NextStep: 2, Reason: "why", Held: true},
		&Member{ID: "N1", Name: "n", Removed: true, JoinedAt: 10},
		&Hit{Parent: "R1:1:1", Request: 8, Execution: "R1:2:1", Group: &group, Input: "R1/i1"},
		&Workflow{Workspace: "W1", Module: "m", Name: "t", Definition: []byte(`{"delay":1}`), RegisteredAt: 11},
		&Input{Run: "R1", Number: 1, Workspace: "W1", Execution: "R1:1:1", Request: 9, Key: "k", Template: "{x}?",
			Placeholders: []Placeholder{{Name: "x", Value: value}}, Schema: `{"type":"string"}`, Initial: []byte(`"a"`), Title: "h",
			Actions: []string{"Yes", "No"}, Requires: Tags{"a": {"1"}}, CreatedAt: 12,
			Response: &Response{Type: ResponseValue, Value: &value, CreatedAt: 13, RequestID: "01HF7YAT00000000000000000B"}},
		&Wait{Execution: "R1:3:2", Kind: KindExecution, On: "R1:2:1"},
		&Pack{ID: "P1", Workspace: "W1", BlobKey: "ab", Size: 14, First: 15, Last: 16, Runs: "R8\nR9\n", Removed: "R7\n", Targets: []string{"m/t"}, RefsKey: "cd"},
		&Tally{Session: "S1", Executions: 9},
		&Kept{Workspace: "W1", Key: "ab", Execution: "R8:1:1", CreatedAt: 17, CompletedAt: 18, Value: value},
		&Asset{ID: "A1", Name: "n", Count: 1, Size: 19, BlobKey: "ab", Entry: &AssetEntry{Path: "a/b", BlobKey: "cd", Size: 19, Metadata: []byte(`{"type":"t"}`)}, UsedAt: 20},
		&Persisted{Execution: "R1:1:1", Asset: "A1", BlobKey: "ab"},
		&Dependency{Execution: "R1:1:1", On: "A1", BlobKey: "ab"},
		&Step{Run: "R1", Number: 3, Arguments: []Value{{References: []Reference{{Kind: KindAsset, ID: "A1", Name: "n", Count: 1, Size: 19, BlobKey: "ab"}}}}},
	}
}

func golden(t *testing.T, name, now string) string {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(was), now); diff != "" {
		t.Errorf("%s: encodings are for ever, this one changed\n%s", name, diff)
	}
	return string(was)
}

func TestGoldenRows(t *testing.T) {
	t.Parallel()
	var now strings.Builder
	tables := map[Table]bool{TableMeta: true} // written by Apply alone
	for _, r := range goldenRows() {
		body, err := encode(r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&now, "%d %v %x %016x\n", r.table(), r.table(), body, share(r.table(), body))
		tables[r.table()] = true
	}
	for _, s := range specs {
		if !tables[s.number] {
			t.Errorf("no golden row of %v", s.number)
		}
	}
	rows := goldenRows()
	for i, line := range strings.Split(strings.TrimSpace(golden(t, "rows.golden", now.String())), "\n") {
		body, _ := hex.DecodeString(strings.Fields(line)[2])
		r, err := Effect{Table: rows[i].table(), Row: body}.row()
		if err != nil {
			t.Fatal(err)
		}
		again, err := encode(r)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprintf("%x", again) != strings.Fields(line)[2] {
			t.Errorf("%v is not written as it was read", rows[i].table())
		}
	}
}

func TestGoldenLogReplaysToTheSameDigest(t *testing.T) {
	t.Parallel()
	s := New()
	var now strings.Builder
	write := func(at int64, decide func(*Tx) error) {
		data := commit(t, s, at, decide)
		index, digest := s.Digest()
		fmt.Fprintf(&now, "%x %d %016x\n", data, index, digest)
	}
	write(1_700_000_000_000, put(goldenRows()...))
	write(1_700_000_000_001, func(tx *Tx) error {
		tx.Delete(tx.Sweep("cancel R1:1:1"))
		run := *tx.Run("R1")
		run.Steps++
		tx.Put(&run)
		return nil
	})
	write(1_700_000_000_001, func(*Tx) error { return nil })
	replay := New()
	for _, line := range strings.Split(strings.TrimSpace(golden(t, "log.golden", now.String())), "\n") {
		f := strings.Fields(line)
		data, _ := hex.DecodeString(f[0])
		if err := replay.Apply(data); err != nil {
			t.Fatal(err)
		}
		index, digest := replay.Digest()
		if got := fmt.Sprintf("%d %016x", index, digest); got != f[1]+" "+f[2] {
			t.Errorf("replayed to %s, recorded is %s %s", got, f[1], f[2])
		}
	}
}

// The numbers of tables and enumerations are written into logs: they never change their meaning.
func TestNumbersAreForEver(t *testing.T) {
	t.Parallel()
	var now strings.Builder
	for _, s := range specs {
		fmt.Fprintf(&now, "table %d %s\n", s.number, s.name)
	}
	for r := ResultNone; r <= ResultSuspended; r++ {
		fmt.Fprintf(&now, "result %d %v\n", r, r)
	}
	fmt.Fprintf(&now, "session %d open %d draining %d lost\n", SessionOpen, SessionDraining, SessionLost)
	fmt.Fprintf(&now, "sweep %d cancel %d session %d workspace %d wake\n", SweepCancel, SweepSession, SweepWorkspace, SweepWake)
	fmt.Fprintf(&now, "wait %d none %d all %d any\n", WaitNone, WaitAll, WaitAny)
	fmt.Fprintf(&now, "tier %d child %d root\n", TierChild, TierRoot)
	for r := ResponseNone; r <= ResponseCancelled; r++ {
		fmt.Fprintf(&now, "response %d %v\n", r, r)
	}
	golden(t, "numbers.golden", now.String())
}

func FuzzDecodeEntry(f *testing.F) {
	s := New()
	sc := s.Scratch()
	if err := sc.Try(put(goldenRows()...)); err != nil {
		f.Fatal(err)
	}
	data, err := sc.Entry(1).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	deletion, _ := (&Entry{Effects: []Effect{{Table: TableRuns, Key: []byte("R1")}}}).Encode()
	f.Add(deletion)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := New()
		before, digest := s.Digest()
		err := s.Apply(data)
		after, changed := s.Digest()
		if err != nil && (after != before || changed != digest) {
			t.Errorf("failed with %v and changed the state", err)
		}
		if err == nil && after != before+1 {
			t.Errorf("applied, and the index went from %d to %d", before, after)
		}
		if e, err := DecodeEntry(data); err == nil {
			again, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := DecodeEntry(again); err != nil {
				t.Errorf("written anew it can not be read: %v", err)
			}
		}
	})
}

func FuzzRestore(f *testing.F) {
	s := New()
	sc := s.Scratch()
	if err := sc.Try(put(goldenRows()...)); err != nil {
		f.Fatal(err)
	}
	data, err := sc.Entry(1).Encode()
	if err != nil {
		f.Fatal(err)
	}
	if err := s.Apply(data); err != nil {
		f.Fatal(err)
	}
	var buf strings.Builder
	if _, err := s.Freeze().WriteTo(&buf); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(buf.String()))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := New()
		if err := s.Restore(strings.NewReader(string(data))); err != nil && s.Index() != 0 {
			t.Error("a damaged snapshot changed the state")
		}
	})
}
