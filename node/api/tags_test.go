package api

import (
	"encoding/json"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/google/go-cmp/cmp"
)

// TestTags submits tags in every form that clients use and reads them back.
func TestTags(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	m.must(&scheduler.OpenSession{Session: "s1", Project: "default", Workspace: "default", Node: "n1", NodeName: "alpha", Boot: "1",
		Slots: 4, Targets: []state.DeclaredTarget{workflowTarget("m", "t")}, Provides: state.Tags{"region": {"eu"}}, Accepts: state.Tags{"disk": {"ssd"}}})
	got := submit(t, s, map[string]any{"workspaceId": w, "module": "m", "target": "t", "arguments": [][]string{},
		"requires": map[string]any{"gpu": true, "cpu": false, "region": "eu", "disk": []string{"ssd", "nvme"}, "off": []string{}}})
	read := func(path string, doc any) {
		t.Helper()
		rep := ask(s, "GET", "/topics/workspaces/"+w+path, "")
		if err := json.Unmarshal(rep.Body.Bytes(), doc); err != nil || rep.Code != 200 {
			t.Fatal(rep.Code, rep.Body)
		}
	}
	var run runDoc
	read("/runs/"+got.RunID, &run)
	if diff := cmp.Diff(map[string][]string{"gpu": {"true"}, "cpu": {"false"}, "region": {"eu"}, "disk": {"ssd", "nvme"}, "off": {}}, run.Requires); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string][]string{}, run.Steps[got.StepID].Requires); diff != "" {
		t.Error("the root step's own:", diff)
	}
	var queue map[string]queuedDoc
	read("/queue", &queue)
	entry := queue[got.ExecutionID]
	if diff := cmp.Diff(map[string][]string{"gpu": {"true"}, "cpu": {"false"}, "region": {"eu"}, "disk": {"nvme", "ssd"}}, entry.Requires); diff != "" {
		t.Error(diff)
	}
	if entry.Reason == nil || *entry.Reason != "no node that serves the workflow m/t provides cpu:false" {
		t.Errorf("the reason is %v", entry.Reason)
	}
	var sessions map[string]sessionDoc
	read("/sessions", &sessions)
	if s := sessions["s1"]; cmp.Diff(map[string][]string{"region": {"eu"}}, s.Provides) != "" || cmp.Diff(map[string][]string{"disk": {"ssd"}}, s.Accepts) != "" {
		t.Errorf("%+v", s)
	}
	m.must(&scheduler.UpdateSession{Session: "s1", Targets: []state.DeclaredTarget{workflowTarget("m", "t")}})
	if s := m.store.View().Session("s1"); cmp.Diff(state.Tags{"region": {"eu"}}, s.Provides) != "" {
		t.Error("an update took the tags off")
	}
}
