package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/hashicorp/go-hclog"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if pyexec.GuardMain() {
		return
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// startNode runs a real node on loopback with free ports.
func startNode(t *testing.T, name string, change func(*Config)) *Node {
	t.Helper()
	cfg := Default()
	cfg.Name, cfg.DataDir = name, filepath.Join(t.TempDir(), name)
	cfg.GossipPort, cfg.PeerPort, cfg.HTTPPort, cfg.Concurrency = 0, 0, 0, 4
	cfg.DrainTimeout = 2 * time.Second
	change(&cfg)
	n, err := New(cfg, hclog.New(&hclog.LoggerOptions{Name: name, Output: testWriter{t}, Level: hclog.Debug}))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Stop(context.Background()) })
	return n
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	if testing.Verbose() {
		fmt.Print(string(p))
	}
	return len(p), nil
}

// module writes a Python module into a directory of its own and gives the directory.
func module(t *testing.T, name, code string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name+".py"), []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// submit starts a run and waits for its outcome.
func submit(t *testing.T, n *Node, module, target string, args ...string) *state.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	view, err := n.router.Linear(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r := &scheduler.SubmitRun{RequestID: ulid.Make().String(), Workspace: view.WorkspaceByName("default", "default").ID, Module: module, Target: target}
	for _, a := range args {
		r.Arguments = append(r.Arguments, state.Value{Data: []byte(a)})
	}
	reply, err := n.router.Do(ctx, r)
	if err != nil || reply.Err != nil {
		t.Fatal(err, reply.Err)
	}
	id, _ := state.ParseExecutionID(reply.Answer.ExecutionID)
	for {
		view := n.store.View().Watching()
		if result := scheduler.Outcome(view, id); result != nil {
			return result
		}
		if err := view.Changed().Wait(ctx); err != nil {
			for e := range n.store.View().RunExecutions(id.Run, 0) {
				t.Logf("%s session=%q result=%v", e.ID(), e.Session, e.Result)
			}
			t.Fatalf("run %s has no result: %v", id, err)
		}
	}
}

const greetings = `
from coflux import task, workflow

@task()
def build_greeting(name):
    return f"Hello, {name}!"

@workflow()
def my_workflow(name):
    print(build_greeting(name))
    return "done"

@task()
def down(n):
    return 0 if n == 0 else 1 + down(n - 1)

@workflow()
def deep(n):
    return down(n)

@workflow()
def fails():
    raise ValueError("no")
`

func TestOneNodeRunsTheMainJob(t *testing.T) {
	t.Parallel()
	dir := module(t, "greetings", greetings)
	n := startNode(t, "one", func(c *Config) { c.Repos, c.Path = []string{"greetings"}, []string{dir} })
	for range 3 {
		began := time.Now()
		r := submit(t, n, "greetings", "my_workflow", `"Joe"`)
		if r.Type != state.ResultValue || string(r.Value.Data) != `"done"` {
			t.Fatalf("%v %+v", r.Type, r.Error)
		}
		t.Log(time.Since(began))
	}
	if r := submit(t, n, "greetings", "fails"); r.Type != state.ResultError || r.Error.Message != "no" {
		t.Errorf("%v %+v", r.Type, r.Error)
	}
}

func TestOneSlotRunsAnyDepthOfCalls(t *testing.T) {
	t.Parallel()
	dir := module(t, "greetings", greetings)
	n := startNode(t, "one", func(c *Config) { c.Repos, c.Path, c.Concurrency = []string{"greetings"}, []string{dir}, 1 })
	r := submit(t, n, "greetings", "deep", "50")
	if r.Type != state.ResultValue || string(r.Value.Data) != "50" {
		t.Fatalf("%v %+v %+v", r.Type, r.Error, r.Value)
	}
}
