package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/hashicorp/go-hclog"
)

// slowRunner takes a moment to start a body: during runs while it does.
type slowRunner struct {
	during func(id string)

	mu     sync.Mutex // guards the rest
	bodies map[string]pyexec.Host
}

func (r *slowRunner) Run(job pyexec.Job, host pyexec.Host) error {
	if r.during != nil {
		r.during(job.ExecutionID)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bodies[job.ExecutionID] = host
	return nil
}

func (r *slowRunner) Kill(id string) {
	r.mu.Lock()
	host := r.bodies[id]
	delete(r.bodies, id)
	r.mu.Unlock()
	if host != nil {
		host.Terminated()
	}
}

func (r *slowRunner) KillAll()                     {}
func (r *slowRunner) AliveUntil(int64)             {}
func (r *slowRunner) Revive(context.Context) error { return nil }

func newLoneAgent(t *testing.T) (*agent, *slowRunner) {
	t.Helper()
	r := &slowRunner{bodies: map[string]pyexec.Host{}}
	a := newAgent(agentConfig{Runner: r, Logger: hclog.NewNullLogger(), Clock: boottime,
		Dial: func(context.Context) (stream, error) { return nil, errors.New("nobody leads") }})
	a.Start()
	t.Cleanup(a.Stop)
	return a, r
}

// More calls than a stream can hold wait for a leader: the next stream brings them all, in order.
func TestManyAsksReachTheNextLeader(t *testing.T) {
	t.Parallel()
	const many = 3 * maxQueuedFrames
	a, _ := newLoneAgent(t)
	a.mu.Lock()
	for i := range many {
		a.askLocked(&scheduler.RegisterGroup{Execution: "R:1:1", ID: i}, nil)
	}
	a.mu.Unlock()
	mine, leader := newPipe()
	if err := a.welcome(mine, &Welcome{Term: 1, FenceMS: 7000}, boottime()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for next := uint64(1); next <= many; {
		frames, err := leader.recv(ctx)
		if err != nil {
			t.Fatalf("the stream ended before request %d of %d: %v", next, many, err)
		}
		for _, f := range frames {
			if f.Request.ID != next {
				t.Fatalf("request %d came where %d was due", f.Request.ID, next)
			}
			next++
			a.answered(&Answer{ID: f.Request.ID})
		}
	}
}

// An execution is cancelled while its process is only being made: the process is killed all the same.
func TestAbortWhileStarting(t *testing.T) {
	t.Parallel()
	a, r := newLoneAgent(t)
	r.during = a.abort
	a.assigned(&Assign{Execution: "R:1:1"})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if !a.waitIdle(ctx) {
		t.Fatal("the body of an aborted execution runs on")
	}
}

// The process is gone before the turn of its result came: its file is released only then.
func TestResultFileOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	a, r := newLoneAgent(t)
	a.assigned(&Assign{Execution: "R:1:1"})
	var e *execution
	for deadline := time.Now().Add(10 * time.Second); e == nil; time.Sleep(time.Millisecond) {
		r.mu.Lock()
		if host := r.bodies["R:1:1"]; host != nil {
			e = host.(*execution)
		}
		r.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatal("the body was not started")
		}
	}
	path := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(path, []byte(`"large"`), 0o600); err != nil {
		t.Fatal(err)
	}
	busy, done := make(chan struct{}), make(chan struct{})
	e.effects.do(func() { <-busy })
	release := func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
	e.Result(pyexec.Result{Value: &pyexec.Value{Type: "file", Path: path}, Release: release})
	e.Terminated()
	e.effects.do(func() { close(done) })
	close(busy)
	<-done
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, q := range a.asks {
		if got, err := scheduler.DecodeRequest(q.body); err != nil {
			t.Error(err)
		} else if r := got.(*scheduler.ReportResult).Result; r.Type != state.ResultValue || string(r.Value.Data) != `"large"` {
			t.Errorf("the result is %s", fmt.Sprintf("%+v", r))
		}
	}
	if len(a.asks) != 1 {
		t.Errorf("%d results", len(a.asks))
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file was not released")
	}
}

// A run of very many executions takes no more and no more memory: outcomes that nobody asks for are dropped.
func TestOutcomesAreBounded(t *testing.T) {
	t.Parallel()
	a, _ := newLoneAgent(t)
	a.assigned(&Assign{Execution: "R:1:1"})
	for i := range maxOutcomes + 100 {
		a.outcome(&Outcome{Execution: state.ExecutionID{Run: "R", Step: i + 2, Attempt: 1}.String(), Result: &state.Result{}})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.runs["R"].outcomes); n > maxOutcomes {
		t.Errorf("%d outcomes kept", n)
	}
}

// awayBlobs has no blob and waits for as long as it may.
type awayBlobs struct{ blobStore }

func (awayBlobs) Path(ctx context.Context, _ string) (string, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

// A lost session does not wait for values that its executions were still waiting for.
func TestFencedWhileValuesAreAway(t *testing.T) {
	t.Parallel()
	a, _ := newLoneAgent(t)
	a.Values = values{blobs: awayBlobs{}}
	a.assigned(&Assign{Execution: "R:1:1", Arguments: []state.Value{{BlobKey: "away"}}})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := a.fenced(ctx, "test"); err != nil {
		t.Fatal(err)
	}
}
