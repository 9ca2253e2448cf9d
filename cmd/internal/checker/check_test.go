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
