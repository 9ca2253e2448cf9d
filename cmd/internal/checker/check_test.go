package checker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func load(t *testing.T, name string) *History {
	t.Helper()
	h, err := Load(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestACleanHistory(t *testing.T) {
	t.Parallel()
	for _, v := range Check(load(t, "clean")) {
		if v.Status != Kept || v.Looked == 0 {
			t.Errorf("%s: %s, looked at %d: %v", v.Invariant, v.Status, v.Looked, v.Problems)
		}
	}
}

// A checker that cannot fail is not trusted: each promise has a history that breaks it, and only it.
func TestViolatingHistories(t *testing.T) {
	t.Parallel()
	dirs, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	covered := map[string]bool{}
	for _, d := range dirs {
		want, _, _ := strings.Cut(d.Name(), "-")
		if want == "clean" {
			continue
		}
		covered[want] = true
		t.Run(d.Name(), func(t *testing.T) {
			t.Parallel()
			for _, v := range Check(load(t, d.Name())) {
				if (v.Status == Violated) != (v.Invariant == want) {
					t.Errorf("%s: %s %v", v.Invariant, v.Status, v.Problems)
				}
				if v.Status == Violated {
					t.Log(v.Problems)
				}
			}
		})
	}
	for _, c := range checks {
		if !covered[c.invariant] {
			t.Errorf("no history breaks %s", c.invariant)
		}
	}
}

func TestAnEmptyHistoryProvesNothing(t *testing.T) {
	t.Parallel()
	h, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range Check(h) {
		if v.Status != NotChecked {
			t.Errorf("%s: %s", v.Invariant, v.Status)
		}
	}
}

func TestAnUnansweredCancelMayTakeEffectAtAnyTime(t *testing.T) {
	t.Parallel()
	submit := Event{Type: TypeOp, Op: "submit", Client: "c"}
	get := Event{Type: TypeOp, Op: "get", Run: "R1"}
	cancel := Event{Type: TypeOp, Op: "cancel", Run: "R1"}
	line := func(e Event, id int64, phase string, at int64, status string) Event {
		e.ID, e.Phase, e.At = id, phase, at
		if phase == "ok" {
			e.Run, e.Status = "R1", status
		}
		return e
	}
	h, err := New([]Event{
		line(submit, 1, "invoke", 1, ""), line(submit, 1, "ok", 2, ""),
		line(cancel, 2, "invoke", 3, ""), line(cancel, 2, "info", 4, ""),
		line(get, 3, "invoke", 5, ""), line(get, 3, "ok", 6, unfinished),
		line(get, 4, "invoke", 7, ""), line(get, 4, "ok", 8, "cancelled"),
	})
	if err != nil {
		t.Fatal(err)
	}
	f := &finding{}
	checkLinearizable(h, f)
	if f.looked == 0 || f.found != 0 {
		t.Errorf("looked %d, problems %v", f.looked, f.problems)
	}
}

func TestReadRefusesWhatIsNoHistory(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no json":               "hello",
		"unknown type":          `{"type":"thing"}`,
		"answered, not asked":   `{"type":"op","id":1,"op":"get","phase":"ok"}`,
		"asked twice":           "{\"type\":\"op\",\"id\":1,\"phase\":\"invoke\"}\n{\"type\":\"op\",\"id\":1,\"phase\":\"invoke\"}",
		"unknown phase":         "{\"type\":\"op\",\"id\":1,\"phase\":\"invoke\"}\n{\"type\":\"op\",\"id\":1,\"phase\":\"maybe\"}",
		"a field of wrong type": `{"type":"op","id":"one"}`,
	} {
		events, err := Read(strings.NewReader(text))
		if err == nil {
			_, err = New(events)
		}
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// Whoever waits sees the end of the attempts that follow each other, not the first failure.
func TestRetriedOutcomes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		seen, value string
		broken      bool
	}{"the last attempt": {"value", "1", false}, "the first failure": {"error", "E: no", true}} {
		h, err := New([]Event{
			{Type: TypeFinal, Node: "n1", Run: "R1", Execution: "R1:1:1", Status: "error", Value: "E: no", Retries: 1, Retry: 2},
			{Type: TypeFinal, Node: "n1", Run: "R1", Execution: "R1:1:2", Status: "value", Value: "1", Retries: 1},
			{Type: TypeFinal, Node: "n1", Run: "R1", Execution: "R1:2:1", Parent: "R1:1:2", Status: "error", Value: "E: no", Retries: 1, Retry: 2},
			{Type: TypeFinal, Node: "n1", Run: "R1", Execution: "R1:2:2", Parent: "R1:1:2", Status: "value", Value: "1", Retries: 1},
			{Type: TypeEffect, Event: "read", Execution: "R1:1:2", Child: "R1:2:1", Status: c.seen, Value: c.value, At: 1},
			{Type: TypeOp, ID: 1, Op: "result", Phase: "invoke", Run: "R1", At: 1},
			{Type: TypeOp, ID: 1, Op: "result", Phase: "ok", Run: "R1", Status: c.seen, Value: c.value, At: 2},
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, check := range []func(*History, *finding){checkResults, checkHandles} {
			f := &finding{}
			check(h, f)
			if f.looked == 0 || (f.found > 0) != c.broken {
				t.Errorf("%s, check %d: %v", name, i, f.problems)
			}
		}
	}
}
