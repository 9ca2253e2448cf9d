package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"testing"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// TestReadYourWrites changes something through one node and looks at it through another at once, with another client: what
// was answered is seen everywhere.
func TestReadYourWrites(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	for range 3 {
		m.add()
	}
	m.ready()
	for round := range 12 { // each node has each part several times, the leader too
		at := func(k int) *client.Client { return m.nodes[(round+k*(1+round%2))%3].client }
		if err := readsItsWrites(t.Context(), at, fmt.Sprintf("space/%d", round)); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

// readsItsWrites takes a workspace and a run of its through their life.
func readsItsWrites(ctx context.Context, at func(int) *client.Client, name string) error {
	w, err := at(0).CreateWorkspace(ctx, name, "")
	if err != nil {
		return err
	}
	spaces, err := at(1).Workspaces(ctx)
	if err != nil || spaces.Value[w].Name != name {
		return fmt.Errorf("after it was created: %v, %w", spaces.Value, err)
	}
	flow := map[string]map[string]json.RawMessage{"m": {"f": json.RawMessage(`{"parameters":[],"waitFor":[],"delay":0}`)}}
	if err := at(2).RegisterManifests(ctx, w, flow); err != nil {
		return err
	}
	if _, err := at(0).Workflow(ctx, w, "m", "f"); err != nil {
		return fmt.Errorf("after it was registered: %w", err)
	}
	run, err := at(1).Submit(ctx, client.SubmitRequest{WorkspaceID: w, Module: "m", Target: "f"})
	if err != nil {
		return err
	}
	if _, err := at(2).Run(ctx, w, run.RunID); err != nil {
		return fmt.Errorf("after it was submitted: %w", err)
	}
	if queue, err := at(0).Queue(ctx, w); err != nil || len(queue.Value) != 1 {
		return fmt.Errorf("after it was submitted the queue has %v, %w", queue.Value, err)
	}
	if err := at(1).CancelExecution(ctx, w, run.ExecutionID); err != nil {
		return err
	}
	doc, err := at(2).Run(ctx, w, run.RunID)
	if err != nil || doc.Value.Steps[run.StepID].Executions["1"].Result == nil {
		return fmt.Errorf("after it was cancelled it has no result, %w", err)
	}
	if _, err := at(0).RerunStep(ctx, w, run.StepID); err != nil {
		return err
	}
	doc, err = at(1).Run(ctx, w, run.RunID)
	if err != nil || doc.Value.Steps[run.StepID].Executions["2"] == nil {
		return fmt.Errorf("after it was run again it has no second attempt, %w", err)
	}
	if err := at(2).PauseWorkspace(ctx, w); err != nil {
		return err
	}
	if spaces, err = at(0).Workspaces(ctx); err != nil || spaces.Value[w].State != "paused" {
		return fmt.Errorf("after the pause: %v, %w", spaces.Value[w], err)
	}
	if err := at(1).ArchiveWorkspace(ctx, w); err != nil {
		return err
	}
	if err := at(2).ResumeWorkspace(ctx, w); !client.IsCode(err, client.CodeNotFound) {
		return fmt.Errorf("after it was archived it can be resumed: %v", err)
	}
	return nil
}

// TestWorkerOfANewWorkspace creates a workspace through one node, attaches a worker to the second, submits through the third
// and looks through the first, each at once.
func TestWorkerOfANewWorkspace(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	for range 3 {
		m.add()
	}
	m.ready()
	n1, n2, n3 := m.nodes[0], m.nodes[1], m.nodes[2]
	n1.said(`^Created workspace 'fresh'\.\n$`, "workspaces", "create", "fresh")
	m.worker(n2.host(), "--workspace", "fresh", "--register")
	await(t, patience, func() string {
		if o := n3.cli("manifests", "inspect", "-w", "fresh"); o.status != 0 || !regexp.MustCompile(`(?m)^flows$`).MatchString(o.stdout) {
			return "the worker has not registered: " + o.String()
		}
		return ""
	})
	run := n3.said(`^R\w+\n$`, "submit", "-w", "fresh", "flows/parent", `"new"`, `""`)
	n1.said(`^\["new", "new.1"\]\n$`, "runs", "result", "-w", "fresh", run)
}
