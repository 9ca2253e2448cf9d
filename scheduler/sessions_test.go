package scheduler

import (
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
)

func open(session, node, boot string) *OpenSession {
	return &OpenSession{Session: session, Project: "p", Workspace: "w", Node: node, NodeName: node, Boot: boot, Slots: 2,
		Targets: []state.DeclaredTarget{{Module: "m", Name: "task", Type: state.TypeTask}}}
}

func (r *rig) sessionState(id string) string {
	s := r.store.View().Session(id)
	switch {
	case s == nil:
		return "gone"
	case s.State == state.SessionLost:
		return "lost"
	case s.State == state.SessionDraining:
		return "draining"
	}
	return "open"
}

func TestOpenSession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.ok(open("S1", "N1", "1"))
	if w := r.store.View().WorkspaceByName("p", "w"); w == nil || w.ID != a.WorkspaceID {
		t.Errorf("workspace is %+v, answered %+v", w, a)
	}
	_, before := r.store.Digest()
	if b := r.ok(open("S1", "N1", "1")); a != b {
		t.Errorf("repeat answered %+v, want %+v", b, a)
	}
	if _, after := r.store.Digest(); after != before {
		t.Error("a repeat changed the state")
	}
	s := r.store.View().Session("S1")
	class := state.Class{Workspace: a.WorkspaceID, Module: "m", Target: "task", Type: state.TypeTask}
	if !s.Serves(class) || s.Slots != 2 || s.OpenedAt != r.now {
		t.Errorf("session is %+v", s)
	}
	r.refused(CodeBadRequest, open("", "N1", "1"))
	r.refused(CodeBadRequest, open("S2", "", "1"))
	bad := open("S2", "N2", "1")
	bad.Workspace = "/"
	r.refused(CodeBadRequest, bad)
}

func TestOpenSessionOfOneNode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		requests []Request
		code     string
		want     map[string]string
	}{
		"a newer start displaces the older":  {[]Request{open("S1", "N1", "1"), open("S2", "N1", "2")}, "", map[string]string{"S1": "gone", "S2": "open"}},
		"a new session of the same start":    {[]Request{open("S1", "N1", "1"), open("S2", "N1", "1")}, "", map[string]string{"S1": "gone", "S2": "open"}},
		"another node is left alone":         {[]Request{open("S1", "N1", "1"), open("S2", "N2", "2")}, "", map[string]string{"S1": "open", "S2": "open"}},
		"a late open of an older start":      {[]Request{open("S2", "N1", "2"), open("S1", "N1", "1")}, CodeFenced, map[string]string{"S1": "gone", "S2": "open"}},
		"a lost session does not come back":  {[]Request{open("S1", "N1", "1"), &LoseSession{Session: "S1"}, open("S1", "N1", "1")}, CodeFenced, map[string]string{"S1": "gone"}},
		"an older start after the newer one": {[]Request{open("S2", "N1", "2"), &LoseSession{Session: "S2"}, open("S1", "N1", "1")}, CodeFenced, map[string]string{"S1": "gone", "S2": "gone"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			replies := r.step(c.requests...)
			code := ""
			if err := replies[len(replies)-1].Err; err != nil {
				code = err.Code
			}
			if code != c.code {
				t.Errorf("last answer is %q, want %q", code, c.code)
			}
			r.drain()
			got := map[string]string{}
			for id := range c.want {
				got[id] = r.sessionState(id)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUpdateSession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.ok(open("S1", "N1", "1"))
	r.ok(&UpdateSession{Session: "S1", Targets: []state.DeclaredTarget{{Module: "new", Name: "t"}}})
	if s := r.store.View().Session("S1"); s.Targets[0].Module != "new" || s.State != state.SessionOpen {
		t.Errorf("session is %+v", s)
	}
	r.ok(&UpdateSession{Session: "S1", Draining: true})
	if got := r.sessionState("S1"); got != "draining" {
		t.Errorf("session is %s", got)
	}
	r.refused(CodeFenced, &UpdateSession{Session: "S9"})
	replies := r.step(&LoseSession{Session: "S1"}, &UpdateSession{Session: "S1"})
	if replies[1].Err == nil || replies[1].Err.Code != CodeFenced {
		t.Errorf("a lost session was updated: %+v", replies[1])
	}
}

func TestADrainingSessionFinishesWhatItHas(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	r.ok(&UpdateSession{Session: "S1", Draining: true})
	child := r.ok(call("S1", root, 1)).ExecutionID
	if e := r.execution(child); e.Session != "" {
		t.Errorf("a draining session was given %s", child)
	}
	r.ok(valueOf("S1", root, "1"))
}

func TestALostSessionIsFencedAndWhatItHeldIsAbandoned(t *testing.T) {
	t.Parallel()
	lose := &LoseSession{Session: "S1", Reason: "lease"}
	r := newRig(t)
	root := r.running()
	child := r.ok(call("S1", root, 1)).ExecutionID
	ended := r.ok(call("S1", root, 2)).ExecutionID
	r.ok(valueOf("S1", ended, "1"))
	delete(r.soft.Sessions, "S1")
	queued := r.ok(call("S1", root, 3)).ExecutionID
	r.session("S2", 0)
	replies := r.step(lose, valueOf("S1", root, "late"), call("S1", child, 1), lose)
	for _, i := range []int{1, 2} {
		if replies[i].Err == nil || replies[i].Err.Code != CodeFenced {
			t.Errorf("request %d of a lost session answered %+v", i, replies[i])
		}
	}
	want := []string{"lost S1 :0:0", "finished  " + root, "abort S1 " + root, "finished  " + child, "abort S1 " + child}
	if diff := cmp.Diff(want, r.events()); diff != "" {
		t.Error(diff)
	}
	got := [4]string{r.result(root), r.result(child), r.result(ended), r.result(queued)}
	if got != [4]string{"abandoned", "abandoned", "value", "none"} {
		t.Errorf("results %v", got)
	}
	if e := r.execution(root); e.Result.Reason != "lease" || e.Node != "node-S1" {
		t.Errorf("execution is %+v %+v", e, e.Result)
	}
	if r.sessionState("S1") != "gone" || r.sessionState("S2") != "open" {
		t.Errorf("S1 is %s, S2 %s", r.sessionState("S1"), r.sessionState("S2"))
	}
	r.refused(CodeFenced, valueOf("S1", root, "later still"))
}

func TestOnlyTheNamedSessionIsLost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.ok(open("S1", "N1", "2"))
	r.ok(&LoseSession{Session: "S9"})
	if got := r.sessionState("S1"); got != "open" {
		t.Errorf("session is %s", got)
	}
}

func TestASessionThatHeldALotIsSweptInBoundedEntries(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	s := r.soft.Sessions["S1"]
	s.Running = -10_000 // all of them wait for something
	r.soft.Sessions["S1"] = s
	r.tree(root, 1_500, false)
	r.step(&LoseSession{Session: "S1", Reason: string(make([]byte, 4<<10))}) // a long reason does not stop the sweep
	for batches := 1; r.sessionState("S1") != "gone"; batches++ {
		if batches == 60 {
			t.Fatal("no end")
		}
		if !r.last.More {
			t.Fatalf("batch %d: the sweep stands still", batches)
		}
		r.step()
	}
	for e := range r.store.View().RunExecutions(r.execution(root).Run, 0) {
		if e.Session != "" && r.result(e.ID().String()) != "abandoned" {
			t.Fatalf("%s ended %s", e.ID(), r.result(e.ID().String()))
		}
	}
}

func TestALostSessionUnderCancellation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	child := r.ok(call("S1", root, 1)).ExecutionID
	r.step(r.cancel(root), &LoseSession{Session: "S1"})
	r.drain()
	if got := r.result(child); got != "cancelled" {
		t.Errorf("ended %s, want cancelled", got)
	}
}
