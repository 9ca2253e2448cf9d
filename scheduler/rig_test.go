package scheduler

import (
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/oklog/ulid/v2"
)

// rig is one replica with a leader that commits whatever it decides.
type rig struct {
	*testing.T
	store *state.Store
	ids   *mrand.Rand
	now   int64
	soft  Soft
	// last is what the latest step gave, entry its size in bytes.
	last  Output
	entry int
}

// start is where the log time of every rig begins.
const start = 1_700_000_000_000

func newRig(t *testing.T) *rig {
	return &rig{T: t, store: state.New(), ids: mrand.New(mrand.NewPCG(1, 1)), now: start, soft: Soft{Sessions: map[string]SoftSession{}}}
}

// step decides and commits one batch and gives the replies.
func (r *rig) step(requests ...Request) []Reply {
	r.Helper()
	scratch := r.store.Scratch()
	r.last = Step(scratch, Input{Now: r.now, Random: r.ids, Soft: r.soft, Requests: requests})
	data, err := scratch.Entry(r.now).Encode()
	if err != nil {
		r.Fatal(err)
	}
	if r.entry = len(data); r.entry > state.MaxEntry {
		r.Fatalf("entry of %d bytes", r.entry)
	}
	if err := r.store.Apply(data); err != nil {
		r.Fatal(err)
	}
	return r.last.Replies
}

// ok commits one request that must be accepted.
func (r *rig) ok(request Request) Answer {
	r.Helper()
	reply := r.step(request)[0]
	if reply.Err != nil {
		r.Fatalf("%s refused: %v", Name(request), reply.Err)
	}
	return reply.Answer
}

// refused commits one request that must be refused with the code.
func (r *rig) refused(code string, request Request) {
	r.Helper()
	reply := r.step(request)[0]
	if reply.Err == nil || reply.Err.Code != code {
		r.Errorf("%s answered %+v %v, want refusal %s", Name(request), reply.Answer, reply.Err, code)
	}
	if reply.Answer != (Answer{}) {
		r.Errorf("%s was refused and answered: %+v", Name(request), reply.Answer)
	}
}

// workspace makes one.
func (r *rig) workspace() string {
	r.Helper()
	return r.ok(&CreateWorkspace{Project: "p", Name: "w", Ensure: true}).WorkspaceID
}

func ulidAt(ms int64) string {
	return ulid.MustNew(uint64(ms), rand.Reader).String()
}

func submitRun(workspace string, now int64) *SubmitRun {
	return &SubmitRun{RequestID: ulidAt(now), Workspace: workspace, Module: "m", Target: "flow"}
}

// session opens one that serves everything in use and makes it ready with the given free slots.
func (r *rig) session(id string, slots int) {
	r.Helper()
	answer := r.ok(&OpenSession{Session: id, Project: "p", Workspace: "w", Node: "node-" + id, NodeName: id, Boot: "1", Slots: slots})
	r.ready(id, answer.WorkspaceID)
}

func (r *rig) ready(id, workspace string) {
	serves := map[state.Class]bool{
		{Workspace: workspace, Module: "m", Target: "flow", Type: state.TypeWorkflow}: true,
		{Workspace: workspace, Module: "m", Target: "task", Type: state.TypeTask}:     true,
	}
	r.soft.Sessions[id] = SoftSession{Serves: serves}
}

// running opens session S1 and starts a run on it; it gives the root execution.
func (r *rig) running() string {
	r.Helper()
	w := r.workspace()
	r.session("S1", 8)
	root := r.ok(submitRun(w, r.now)).ExecutionID
	if e := r.execution(root); e.Session != "S1" {
		r.Fatalf("the root was not placed: %+v", e)
	}
	return root
}

// calls of a running execution.
func call(session, parent string, number int64) *SubmitStep {
	return &SubmitStep{Session: session, Parent: parent, Number: number, Module: "m", Target: "task", Type: state.TypeTask}
}

func valueOf(session, execution, json string) *ReportResult {
	return &ReportResult{Session: session, Execution: execution,
		Result: state.Result{Type: state.ResultValue, Value: &state.Value{Data: []byte(json)}}}
}

func (r *rig) execution(id string) *state.Execution {
	r.Helper()
	parsed, ok := state.ParseExecutionID(id)
	e := r.store.View().Execution(parsed)
	if !ok || e == nil {
		r.Fatalf("execution %q does not exist", id)
	}
	return e
}

// result is how an execution ended, "none" before.
func (r *rig) result(id string) string {
	r.Helper()
	e := r.execution(id)
	if e.Result == nil {
		return "none"
	}
	return e.Result.Type.String()
}

// drain steps until there is nothing more to do at once.
func (r *rig) drain() {
	r.Helper()
	for range 100 {
		r.step()
		if !r.last.More {
			return
		}
	}
	r.Fatal("there is always more to do")
}

// events of the latest step, as text.
func (r *rig) events() (out []string) {
	names := map[EventKind]string{EventAssigned: "assigned", EventFinished: "finished", EventAbort: "abort", EventSessionLost: "lost"}
	for _, e := range r.last.Events {
		out = append(out, fmt.Sprintf("%s %s %s", names[e.Kind], e.Session, e.Execution))
	}
	return out
}
