package scheduler

import (
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
)

func TestTheFirstResultWins(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	r.now += 5
	r.ok(valueOf("S1", root, "1"))
	if diff := cmp.Diff([]string{"finished  " + root}, r.events()); diff != "" {
		t.Error(diff)
	}
	r.now += 5
	r.ok(valueOf("S1", root, "2")) // accepted silently: the agent may forget it
	r.ok(&ReportResult{Session: "S1", Execution: root, Result: state.Result{Type: state.ResultError}})
	if len(r.last.Events) != 0 {
		t.Errorf("a second result told %v", r.events())
	}
	e := r.execution(root)
	if string(e.Result.Value.Data) != "1" || e.CompletedAt != start+5 {
		t.Errorf("execution is %+v, result %+v", e, e.Result)
	}
	if got := Outcome(r.store.View(), e.ID()); got != e.Result {
		t.Errorf("outcome is %+v", got)
	}
}

func TestResultRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	r.session("S2", 1)
	r.refused(CodeFenced, valueOf("S2", root, "1"))
	r.refused(CodeFenced, valueOf("S9", root, "1"))
	r.refused(CodeFenced, valueOf("S1", "Rnone:1:1", "1"))
	r.refused(CodeBadRequest, valueOf("S1", "nonsense", "1"))
	r.refused(CodeBadRequest, &ReportResult{Session: "S1", Execution: root})
	r.refused(CodeBadRequest, &ReportResult{Session: "S1", Execution: root, Result: state.Result{Type: 99}})
	r.refused(CodeTooLarge, valueOf("S1", root, string(make([]byte, state.MaxEntry))))
	if r.result(root) != "none" {
		t.Errorf("result is %s", r.result(root))
	}
}

func TestHowAParentEndsAndItsChildren(t *testing.T) {
	t.Parallel()
	for result, want := range map[state.ResultType]string{
		state.ResultValue: "none", state.ResultError: "none", state.ResultAbandoned: "none",
		state.ResultTimeout: "cancelled", state.ResultCancelled: "cancelled",
	} {
		t.Run(result.String(), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			root := r.running()
			child := r.ok(call("S1", root, 1)).ExecutionID
			r.ok(&ReportResult{Session: "S1", Execution: root, Result: state.Result{Type: result}})
			r.drain()
			if got := [2]string{r.result(root), r.result(child)}; got != [2]string{result.String(), want} {
				t.Errorf("parent and child ended %v", got)
			}
		})
	}
}
