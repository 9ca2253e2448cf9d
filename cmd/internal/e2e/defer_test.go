package e2e

import (
	"encoding/json"
	"testing"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// TestDeferAndCache submits the same thing three times within its waiting time, and another thing twice one after the
// other: each runs once, and each run has the value.
func TestDeferAndCache(t *testing.T) {
	t.Parallel()
	m := startMesh(t, 1)
	n := m.leader()
	submit := func(token string, options map[string]json.RawMessage) string {
		got, err := n.client.Submit(t.Context(), client.SubmitRequest{WorkspaceID: m.workspace, Module: "flows", Target: "single",
			Arguments: arguments(token, ""), Options: options})
		if err != nil {
			t.Fatal(err)
		}
		return got.RunID
	}
	var runs []string
	for range 3 {
		runs = append(runs, submit("d", map[string]json.RawMessage{"delay": json.RawMessage(`3000`), "defer": json.RawMessage(`{"params":true}`)}))
	}
	for i, run := range runs {
		if got := m.value(n, run); got != `"d"` {
			t.Errorf("run %d gave %s", i, got)
		}
		_, root := m.document(n, run).Steps[run+":1"].Latest()
		if want := map[int]string{2: client.ResultValue}[i]; want == "" && (root.Result.Type != client.ResultDeferred || !root.Result.OK()) ||
			want != "" && root.Result.Type != want {
			t.Errorf("run %d ended with %s", i, root.Result.Raw)
		}
	}
	for i, want := range []string{client.ResultValue, client.ResultCached} {
		run := submit("c", map[string]json.RawMessage{"cache": json.RawMessage(`{"params":[0],"maxAge":600000}`)})
		if got := m.value(n, run); got != `"c"` {
			t.Errorf("cached run %d gave %s", i, got)
		}
		if _, root := m.document(n, run).Steps[run+":1"].Latest(); root.Result.Type != want {
			t.Errorf("cached run %d ended with %s", i, root.Result.Raw)
		}
	}
	if got := m.value(n, m.submit(n, "twice", "t")); got != `["t","t"]` {
		t.Errorf("the cached calls gave %s", got)
	}
	if started, _ := m.counts(); started["d"] != 1 || started["c"] != 1 || started["t"] != 1 {
		t.Errorf("bodies began: %v", started)
	}
}
