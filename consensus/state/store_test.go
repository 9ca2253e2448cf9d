package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// commit tries the decision, proposes it to itself and applies it.
func commit(t *testing.T, s *Store, now int64, decide func(*Tx) error) []byte {
	t.Helper()
	sc := s.Scratch()
	if err := sc.Try(decide); err != nil {
		t.Fatal(err)
	}
	data, err := sc.Entry(now).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(data); err != nil {
		t.Fatal(err)
	}
	return data
}

func put(rows ...Row) func(*Tx) error {
	return func(tx *Tx) error {
		for _, r := range rows {
			tx.Put(r)
		}
		return nil
	}
}

func exec(run string, step int) *Execution {
	return &Execution{Run: run, Step: step, Attempt: 1, Workspace: "W1", Module: "m", Target: "t", Type: TypeTask, CreatedAt: int64(step), Due: true}
}

func TestApplyPutsAndDeletesBlindly(t *testing.T) {
	s := New()
	commit(t, s, 5, put(exec("R1", 1), exec("R1", 2)))
	if got := s.View().Time(); got != 5 {
		t.Errorf("log time %d, want 5", got)
	}
	commit(t, s, 6, func(tx *Tx) error { tx.Delete(tx.Execution(ExecutionID{"R1", 1, 1})); return nil })
	var ids []string
	for e := range s.View().RunExecutions("R1", 0) {
		ids = append(ids, e.ID().String())
	}
	if diff := cmp.Diff([]string{"R1:2:1"}, ids); diff != "" {
		t.Error(diff)
	}
	if s.Index() != 2 {
		t.Errorf("index %d, want 2", s.Index())
	}
}

func TestApplyRefusesAnotherBase(t *testing.T) {
	s := New()
	stale := s.Scratch()
	if err := stale.Try(put(exec("R1", 1))); err != nil {
		t.Fatal(err)
	}
	data, _ := stale.Entry(1).Encode()
	commit(t, s, 1, put(exec("R2", 1)))
	_, before := s.Digest()
	if err := s.Apply(data); !errors.Is(err, ErrRefused) {
		t.Fatalf("got %v, want ErrRefused", err)
	}
	if _, after := s.Digest(); after != before || s.View().Execution(ExecutionID{"R1", 1, 1}) != nil {
		t.Error("a refused entry changed the state")
	}
}

func TestApplyHaltsOnWhatItDoesNotKnow(t *testing.T) {
	for name, data := range map[string][]byte{
		"empty":         {},
		"newer version": {entryVersion + 1, 0x93, 0, 0, 0x90},
		"garbage":       {entryVersion, 0xc1},
	} {
		s := New()
		if err := s.Apply(data); err == nil || errors.Is(err, ErrRefused) {
			t.Errorf("%s: got %v, want an error that halts", name, err)
		}
	}
	s := New()
	data, _ := (&Entry{Effects: []Effect{{Table: 99, Row: []byte{0x80}}}}).Encode()
	if err := s.Apply(data); err == nil || s.Index() != 0 {
		t.Errorf("unknown table: got %v at index %d, want an error at 0", err, s.Index())
	}
}

func TestTryLeavesNoTraceOfARefusedDecision(t *testing.T) {
	s := New()
	sc := s.Scratch()
	refused := errors.New("no")
	if err := sc.Try(func(tx *Tx) error { tx.Put(exec("R1", 1)); return refused }); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	var p *Panic
	if err := sc.Try(func(tx *Tx) error { tx.Put(exec("R1", 2)); panic("bug") }); !errors.As(err, &p) {
		t.Fatalf("got %v, want *Panic", err)
	}
	if err := sc.Try(put(exec("R1", 3))); err != nil {
		t.Fatal(err)
	}
	if n := len(sc.Entry(0).Effects); n != 1 || sc.View().Execution(ExecutionID{"R1", 1, 1}) != nil {
		t.Errorf("%d effects, want 1", n)
	}
}

func TestScratchKeepsOneEffectPerRow(t *testing.T) {
	s := New()
	sc := s.Scratch()
	for i := range 3 {
		e := exec("R1", 1)
		e.AssignedAt = int64(i)
		if err := sc.Try(put(e)); err != nil {
			t.Fatal(err)
		}
	}
	_ = sc.Try(put(exec("R1", 2)))
	_ = sc.Try(func(tx *Tx) error { tx.Delete(tx.Execution(ExecutionID{"R1", 2, 1})); return nil })
	if n := len(sc.Entry(0).Effects); n != 1 {
		t.Errorf("%d effects, want 1", n)
	}
	data, _ := sc.Entry(0).Encode()
	if err := s.Apply(data); err != nil {
		t.Fatal(err)
	}
	if s.View().Execution(ExecutionID{"R1", 1, 1}).AssignedAt != 2 {
		t.Error("not the last version of the row")
	}
}

func TestAFullBatchStaysBelowTheCap(t *testing.T) {
	t.Parallel()
	for name, pad := range map[string]int{"tiny rows": 0, "small rows": 200, "large rows": 100_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sc := New().Scratch()
			var err error
			for i := 0; err == nil; i++ {
				err = sc.Try(put(&Setting{Name: fmt.Sprint(strings.Repeat("x", pad), i), Value: int64(i)}))
			}
			data, encodeErr := sc.Entry(1 << 60).Encode()
			if !errors.Is(err, ErrBatchFull) || encodeErr != nil {
				t.Fatal(err, encodeErr)
			}
			if len(data) > MaxEntry || len(data)+pad < MaxEntry*5/8 {
				t.Errorf("full at %d bytes, the cap is %d", len(data), MaxEntry)
			}
			if err := New().Apply(data); err != nil {
				t.Error(err)
			}
		})
	}
	var large *TooLarge
	if err := New().Scratch().Try(put(&Setting{Name: strings.Repeat("x", MaxEntry)})); !errors.As(err, &large) {
		t.Errorf("got %v, want *TooLarge", err)
	}
}

func TestSnapshotRestoresTheSameState(t *testing.T) {
	s := New()
	for i := range 300 {
		commit(t, s, int64(i), put(exec(fmt.Sprint("R", i%7), i+1), &Setting{Name: "voters", Value: int64(i)}))
	}
	var buf bytes.Buffer
	if _, err := s.Freeze().WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	r := New()
	if err := r.Restore(bytes.NewReader(buf.Bytes())); err != nil {
		t.Fatal(err)
	}
	i1, d1 := s.Digest()
	i2, d2 := r.Digest()
	if i1 != i2 || d1 != d2 {
		t.Errorf("restored (%d, %x), want (%d, %x)", i2, d2, i1, d1)
	}
	entry := commit(t, s, 999, put(exec("R0", 1000)))
	if err := r.Apply(entry); err != nil {
		t.Fatal(err)
	}
	_, d1 = s.Digest()
	if _, d2 = r.Digest(); d1 != d2 {
		t.Error("replicas differ after the next entry")
	}
}

func TestRestoreNoticesEveryFlippedByte(t *testing.T) {
	s := New()
	commit(t, s, 1, put(exec("R1", 1)))
	var buf bytes.Buffer
	_, _ = s.Freeze().WriteTo(&buf)
	for i := range buf.Len() {
		data := slices.Clone(buf.Bytes())
		data[i] ^= 0x10
		r := New()
		if err := r.Restore(bytes.NewReader(data)); err == nil {
			t.Errorf("byte %d flipped and nobody noticed", i)
		}
		if r.Index() != 0 {
			t.Errorf("byte %d: a damaged snapshot changed the state", i)
		}
	}
	for n := range buf.Len() {
		if err := New().Restore(bytes.NewReader(buf.Bytes()[:n])); err == nil {
			t.Errorf("cut at %d and nobody noticed", n)
		}
	}
}

func TestRowKeepsFieldsOfNewerVersions(t *testing.T) {
	body, err := encode(map[string]any{"n": "voters", "v": 5, "later": "kept"})
	if err != nil {
		t.Fatal(err)
	}
	s := New()
	data, _ := (&Entry{Effects: []Effect{{Table: TableSettings, Row: body}}}).Encode()
	if err := s.Apply(data); err != nil {
		t.Fatal(err)
	}
	row := *one[*Setting](s.View(), TableSettings, "id", "voters")
	row.Value = 7
	again, err := encode(&row)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := decode(again, &m); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%s", m["later"]) != "kept" || fmt.Sprint(m["v"]) != "7" {
		t.Errorf("rewritten row is %v", m)
	}
}

func TestQueueOrderAndClasses(t *testing.T) {
	s := New()
	rows := []Row{}
	for i, tier := range []Tier{TierRoot, TierChild, TierRoot, TierChild} {
		e := exec("R1", i+1)
		e.Tier = tier
		rows = append(rows, e)
	}
	other := exec("R2", 1)
	other.Target = "u"
	later := exec("R3", 1)
	later.Due, later.ExecuteAfter = false, 50
	commit(t, s, 1, put(append(rows, other, later)...))
	v := s.View()
	var steps []int
	for e := range v.Queue(Class{Workspace: "W1", Module: "m", Target: "t", Type: TypeTask}) {
		steps = append(steps, e.Step)
	}
	if diff := cmp.Diff([]int{2, 4, 1, 3}, steps); diff != "" {
		t.Error(diff)
	}
	var targets []string
	for c := range v.Classes() {
		targets = append(targets, c.Target)
	}
	if diff := cmp.Diff([]string{"t", "u"}, targets); diff != "" {
		t.Error(diff)
	}
	if e := v.NextDue(); e == nil || e.Run != "R3" {
		t.Errorf("next due is %v", e)
	}
}

func TestRunsNewestFirstInPages(t *testing.T) {
	s := New()
	for i := 1; i <= 5; i++ {
		commit(t, s, 1, put(&Run{ID: fmt.Sprint("R", i), Workspace: "W1", Module: "m", Target: "t", CreatedAt: int64(i)}))
	}
	commit(t, s, 1, put(&Run{ID: "R9", Workspace: "W2", CreatedAt: 9}))
	page := func(before int64, id string, n int) (ids []string) {
		for r := range s.View().RunsByWorkspace("W1", before, id) {
			if len(ids) == n {
				break
			}
			ids = append(ids, r.ID)
		}
		return ids
	}
	if diff := cmp.Diff([]string{"R5", "R4"}, page(0, "", 2)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"R3", "R2", "R1"}, page(4, "R4", 9)); diff != "" {
		t.Error(diff)
	}
}

func TestWatchingFiresOnWhatWasRead(t *testing.T) {
	s := New()
	commit(t, s, 1, put(exec("R1", 1), exec("R2", 1)))
	v := s.View().Watching()
	for range v.RunExecutions("R1", 0) {
	}
	commit(t, s, 2, put(exec("R2", 2)))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.Changed().Wait(over); err == nil {
		t.Error("fired for another run")
	}
	e := *s.View().Execution(ExecutionID{"R1", 1, 1})
	e.AssignedAt = 3
	commit(t, s, 3, put(&e))
	if err := v.Changed().Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWaitIndex(t *testing.T) {
	s := New()
	done := make(chan error)
	go func() { done <- s.WaitIndex(t.Context(), 2) }()
	commit(t, s, 1, put(exec("R1", 1)))
	commit(t, s, 1, put(exec("R1", 2)))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestIDs(t *testing.T) {
	for text, want := range map[string]ExecutionID{
		"Rk7Q:3:12": {"Rk7Q", 3, 12}, "R:1": {}, "R:0:1": {}, "R:1:": {}, ":1:1": {}, "R:1:01": {}, "R:1:99999999999": {}, "": {},
	} {
		got, ok := ParseExecutionID(text)
		if got != want || ok != (want.Run != "") {
			t.Errorf("%q: %v %v", text, got, ok)
		}
		if ok && got.String() != text {
			t.Errorf("%q written as %q", text, got)
		}
	}
}

func TestRowLeavesTheIndexesItNoLongerBelongsTo(t *testing.T) {
	s := New()
	e := exec("R1", 1)
	e.Due, e.ExecuteAfter = false, 50
	commit(t, s, 1, put(e))
	places := func() (out []string) {
		v := s.View()
		if v.NextDue() != nil {
			out = append(out, "due")
		}
		for range v.Queue(e.Class()) {
			out = append(out, "queue")
		}
		for range v.Assigned("S1") {
			out = append(out, "session")
		}
		for range v.Unfinished("W1") {
			out = append(out, "open")
		}
		return out
	}
	for _, stage := range []struct {
		change func(*Execution)
		want   []string
	}{
		{func(*Execution) {}, []string{"due", "open"}},
		{func(e *Execution) { e.Due = true }, []string{"queue", "open"}},
		{func(e *Execution) { e.Session = "S1" }, []string{"session", "open"}},
		{func(e *Execution) { e.Result = &Result{Type: ResultCancelled} }, nil},
	} {
		next := *e
		stage.change(&next)
		e = &next
		commit(t, s, 1, put(e))
		if diff := cmp.Diff(stage.want, places()); diff != "" {
			t.Error(diff)
		}
	}
}
