package api

import (
	"encoding/json"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
)

// TestMemoInTheRunDocument shows keys, and each call that found what was there among the children, once.
func TestMemoInTheRunDocument(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	m.openSession("s1", "n1", "alpha", workflowTarget("m", "t"), taskTarget("m", "pay"))
	got := submit(t, s, map[string]any{"workspaceId": w, "module": "m", "target": "t", "arguments": [][]string{}, "memo": true})
	group := 3
	number := int64(0)
	call := func(argument string, memo *scheduler.Memo, group *int) scheduler.Answer {
		number++
		return m.must(&scheduler.SubmitStep{Session: "s1", Parent: got.ExecutionID, Number: number, Module: "m", Target: "pay",
			Type: state.TypeTask, Arguments: []state.Value{{Data: []byte(argument)}}, Memo: memo, Group: group})
	}
	first := call("1", nil, nil)
	again := m.must(&scheduler.RerunStep{RequestID: ulid.Make().String(), Workspace: w, Step: first.StepID})
	watch := newRunWatch(seenRun{Run: m.store.View().Run(got.RunID)})
	watch.look(m.store.View())
	for range 3 { // the re-run, three times
		if a := call("1", nil, &group); a.ExecutionID != again.ExecutionID {
			t.Fatalf("found %+v", a)
		}
	}
	if steps, _ := watch.look(m.store.View()); len(steps) != 1 || steps[got.StepID] == nil {
		t.Errorf("a stream is told of %v, want the step that called", steps)
	}
	last := call("1", &scheduler.Memo{Off: true}, nil)
	rep := ask(s, "GET", "/topics/workspaces/"+w+"/runs/"+got.RunID, "")
	var doc runDoc
	if err := json.Unmarshal(rep.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	want := []childDoc{{first.StepID, 1, nil}, {first.StepID, 2, &group}, {last.StepID, 1, nil}}
	if diff := cmp.Diff(want, doc.Steps[got.StepID].Executions["1"].Children); diff != "" {
		t.Error(diff)
	}
	key := doc.Steps[first.StepID].MemoKey
	if key == nil || len(*key) != 10 || doc.Steps[got.StepID].MemoKey == nil || doc.Steps[last.StepID].MemoKey != nil {
		t.Errorf("keys: %s", rep.Body)
	}
}
