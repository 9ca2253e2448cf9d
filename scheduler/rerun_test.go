package scheduler

import (
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
)

func (r *rig) rerun(step string) *RerunStep {
	return &RerunStep{RequestID: ulidAt(r.now), Workspace: r.workspace(), Step: step}
}

func TestRerunMakesOneNewAttempt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	child := r.ok(call("S1", root, 1)).ExecutionID
	r.ok(valueOf("S1", child, "1"))
	id, _ := state.ParseExecutionID(child)
	again := r.rerun(id.StepID().String())
	first := r.ok(again).ExecutionID
	if second := r.ok(again).ExecutionID; second != first {
		t.Errorf("a repeat made %s beside %s", second, first)
	}
	if want := id.StepID().String() + ":2"; first != want {
		t.Errorf("attempt %s, want %s", first, want)
	}
	if r.result(child) != "value" || r.result(root) != "none" {
		t.Error("the earlier attempt or the parent was touched")
	}
	r.refused(CodeNotFound, r.rerun("Rnone:1"))
	r.refused(CodeBadRequest, r.rerun("nonsense"))
	other := r.rerun(id.StepID().String())
	other.Workspace = "W0"
	r.refused(CodeNotFound, other)
}

func TestRerunCancelsWhatIsUnfinishedAndWaitsUntilItIsGone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	child := r.ok(call("S1", root, 1)).ExecutionID
	alive := map[string]bool{root: true, child: true}
	r.soft.Holds = func(_, execution string) bool { return alive[execution] }
	id, _ := state.ParseExecutionID(root)
	again := r.ok(r.rerun(id.StepID().String())).ExecutionID
	r.drain()
	if r.result(root) != "cancelled" || r.result(child) != "cancelled" {
		t.Errorf("root %s, child %s", r.result(root), r.result(child))
	}
	placed := func() bool { r.drain(); return r.execution(again).Session != "" }
	if placed() {
		t.Fatal("placed while the earlier attempt may be alive")
	}
	soft := r.soft.Sessions
	r.soft.Sessions = map[string]SoftSession{}
	r.session("S2", 8) // S1 is out of reach: nobody knows whether the process is gone
	if placed() {
		t.Fatal("placed while nobody knows of the earlier attempt")
	}
	r.soft.Sessions = soft
	alive = nil
	if !placed() {
		t.Error("not placed though the earlier attempt is gone")
	}
}

func TestRerunStartsOnceTheSessionOfTheEarlierAttemptIsLost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	id, _ := state.ParseExecutionID(root)
	r.soft.Sessions = map[string]SoftSession{}
	again := r.ok(r.rerun(id.StepID().String())).ExecutionID
	r.session("S2", 8)
	r.ok(&LoseSession{Session: "S1", Reason: "lost"})
	r.drain()
	if e := r.execution(again); e.Session != "S2" {
		t.Errorf("session %q, want S2", e.Session)
	}
}
