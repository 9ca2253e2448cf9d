package scheduler

import (
	"fmt"
	"slices"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
)

// room makes a workspace.
func (r *rig) room(project, name, base string) string {
	r.Helper()
	return r.ok(&CreateWorkspace{Project: project, Name: name, Base: base}).WorkspaceID
}

// detail commits one request that must be refused with the detail.
func (r *rig) detail(field, reason string, request Request) {
	r.Helper()
	err := r.step(request)[0].Err
	if err == nil || err.Code != CodeBadRequest || err.Details[field] != reason {
		r.Errorf("%s %+v answered %v, want the detail %s: %s", Name(request), request, err, field, reason)
	}
}

func TestWorkspaceNamesAndBases(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.room("p", "a", "")
	b := r.room("p", "b", a)
	c := r.room("p", "c", b)
	foreign := r.room("q", "a", "")
	for _, bad := range []string{"", "/", "a/", "/a", "a//b", "a b", "ä", "a\x00"} {
		r.detail("name", "invalid", &CreateWorkspace{Project: "p", Name: bad})
	}
	r.detail("name", "exists", &CreateWorkspace{Project: "p", Name: "a"})
	r.detail("name", "exists", &UpdateWorkspace{Workspace: b, Name: "a"})
	r.detail("name", "invalid", &UpdateWorkspace{Workspace: b, Name: "a b"})
	for _, base := range []string{"Wnone", foreign} {
		r.detail("baseId", "invalid", &CreateWorkspace{Project: "p", Name: "x", Base: base})
		r.detail("baseId", "invalid", &UpdateWorkspace{Workspace: a, Rebase: true, Base: base})
	}
	for _, base := range []string{a, b, c} {
		r.detail("baseId", "invalid", &UpdateWorkspace{Workspace: a, Rebase: true, Base: base})
	}
	r.detail("workspaceId", "has_dependencies", &ArchiveWorkspace{Workspace: a})
	r.ok(&UpdateWorkspace{Workspace: c, Rebase: true, Base: a})
	r.ok(&UpdateWorkspace{Workspace: b, Name: "b"})
	r.ok(&UpdateWorkspace{Workspace: b, Rebase: true})
	if w := r.store.View().Workspace(b); w.Base != "" || w.Name != "b" {
		t.Errorf("%+v", w)
	}
	r.ok(&ArchiveWorkspace{Workspace: c})
	r.ok(&ArchiveWorkspace{Workspace: a})
	r.detail("baseId", "invalid", &UpdateWorkspace{Workspace: b, Rebase: true, Base: a})
	for _, again := range []Request{&UpdateWorkspace{Workspace: a, Name: "x"}, &PauseWorkspace{Workspace: a}, &ResumeWorkspace{Workspace: a},
		&ArchiveWorkspace{Workspace: a}, submitRun(a, r.now), &Cancel{Workspace: a, Execution: "R:1:1"}} {
		r.refused(CodeNotFound, again)
	}
	if again := r.room("p", "a", ""); again == a {
		t.Error("the name of an archived workspace leads to it")
	}
}

// Names may be handed on within one batch, in any order: no index loses a row.
func TestWorkspacesSwapNamesInOneBatch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a, b := r.room("p", "a", ""), r.room("p", "b", "")
	for _, reply := range r.step(&UpdateWorkspace{Workspace: a, Name: "x"}, &UpdateWorkspace{Workspace: b, Name: "a"},
		&UpdateWorkspace{Workspace: a, Name: "b"}) {
		if reply.Err != nil {
			t.Fatal(reply.Err)
		}
	}
	v := r.store.View()
	for name, id := range map[string]string{"a": b, "b": a} {
		if w := v.WorkspaceByName("p", name); w == nil || w.ID != id {
			t.Errorf("%s is %+v, want %s", name, w, id)
		}
	}
	if v.WorkspaceByName("p", "x") != nil || len(slices.Collect(v.Workspaces("p"))) != 2 {
		t.Error("a name that is no more is still there")
	}
}

func TestWorkspacePause(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	w := r.execution(root).Workspace
	r.ok(&PauseWorkspace{Workspace: w})
	r.ok(&PauseWorkspace{Workspace: w})
	child := r.ok(call("S1", root, 1)).ExecutionID
	late := submitRun(w, r.now)
	late.Delay = 50
	delayed := r.ok(late).ExecutionID
	r.now += 100
	r.step()
	for _, id := range []string{child, delayed} {
		if e := r.execution(id); e.Session != "" || !e.Due {
			t.Errorf("while paused %s is %+v, want it queued", id, e)
		}
	}
	r.ok(valueOf("S1", root, "1"))
	r.ok(&ResumeWorkspace{Workspace: w})
	want := []string{"assigned S1 " + child, "assigned S1 " + delayed}
	if diff := cmp.Diff(want, r.events()); diff != "" {
		t.Errorf("the entry that ends the pause does not place what waited:\n%s", diff)
	}
}

func TestWorkspaceArchive(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	w := r.execution(root).Workspace
	r.soft.Sessions["S1"] = SoftSession{} // serves nothing more
	child := r.ok(call("S1", root, 1)).ExecutionID
	r.ok(&ArchiveWorkspace{Workspace: w})
	r.refused(CodeFenced, call("S1", root, 2))
	r.drain()
	for id, want := range map[string]string{root: "abandoned", child: "cancelled"} {
		if got := r.result(id); got != want {
			t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
	v := r.store.View()
	for range v.SessionsByWorkspace(w) {
		t.Error("a session is left")
	}
	if v.Run(r.execution(root).Run) == nil {
		t.Error("the history is gone")
	}
	// The node that served it does not bring it back, but serves one of the name that somebody makes.
	open := &OpenSession{Session: "S2", Project: "p", Workspace: "w", WorkspaceID: w, Node: "node-S1", NodeName: "S1", Boot: "1", Slots: 1}
	r.refused(CodeNotFound, open)
	if a := r.ok(&CreateWorkspace{Project: "p", Name: "w", Ensure: true, Seed: true}); a.WorkspaceID != "" {
		t.Error("what a node makes sure of brought the archived workspace back")
	}
	again := r.room("p", "w", "")
	if got := r.ok(open).WorkspaceID; got != again {
		t.Errorf("the session serves %s, want %s", got, again)
	}
	// A new name does not part a node from its workspace.
	r.ok(&UpdateWorkspace{Workspace: again, Name: "renamed"})
	open.Session, open.WorkspaceID = "S3", again
	if got := r.ok(open).WorkspaceID; got != again {
		t.Errorf("after the renaming the session serves %s, want %s", got, again)
	}
}

// An archive of any size goes through in entries of legal size.
func TestWorkspaceArchiveIsSwept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	var batch []Request
	for range 400 {
		batch = append(batch, submitRun(w, r.now))
	}
	for range 3 {
		for left := batch; len(left) > 0; {
			left = left[len(r.step(left...)):]
		}
		for i := range batch {
			batch[i] = submitRun(w, r.now)
		}
	}
	for i := range 60 {
		r.session(fmt.Sprint("S", i), 1)
	}
	r.ok(&ArchiveWorkspace{Workspace: w})
	r.drain()
	v := r.store.View()
	for e := range v.Unfinished(w) {
		t.Fatalf("%s is unfinished", e.ID())
	}
	for s := range v.SessionsByWorkspace(w) {
		t.Fatalf("session %s is left", s.ID)
	}
}

// A step may be run again where its results are inherited; the two workspaces do not disturb each other.
func TestRerunInADerivedWorkspace(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	w := r.execution(root).Workspace
	child := r.ok(call("S1", root, 1)).ExecutionID
	derived, other := r.room("p", "derived", w), r.room("p", "other", "")
	stepOf := func(id string) string { e, _ := state.ParseExecutionID(id); return e.StepID().String() }
	again := func(workspace, execution string) *RerunStep {
		return &RerunStep{RequestID: ulidAt(r.now), Workspace: workspace, Step: stepOf(execution)}
	}
	r.refused(CodeNotFound, again(other, child))
	r.ok(&OpenSession{Session: "S2", Project: "p", Workspace: "derived", Node: "node-S2", NodeName: "S2", Boot: "1", Slots: 8})
	r.ready("S2", derived)
	second := r.ok(again(derived, child)).ExecutionID
	if e := r.execution(second); e.Session != "S2" || e.Workspace != derived || r.result(child) != "none" {
		t.Errorf("%+v; the first attempt is %s", e, r.result(child))
	}
	grandchild := r.ok(call("S2", second, 1)).ExecutionID
	if e := r.execution(grandchild); e.Workspace != derived {
		t.Errorf("%+v", e)
	}
	r.refused(CodeNotFound, again(w, grandchild))                                    // its caller is in the derived one
	replies := r.step(&Cancel{Workspace: w, Execution: root}, call("S2", second, 2)) // decided while the cancellation is swept
	if replies[0].Err != nil || replies[1].Err != nil {
		t.Errorf("cancel: %v; a call in the derived workspace meanwhile: %v", replies[0].Err, replies[1].Err)
	}
	r.drain()
	for id, want := range map[string]string{root: "cancelled", child: "cancelled", second: "none", grandchild: "none"} {
		if got := r.result(id); got != want {
			t.Errorf("%s is %s, want %s: a cancellation keeps to its workspace", id, got, want)
		}
	}
	r.ok(&Cancel{Workspace: derived, Execution: second})
	r.drain()
	if got := r.result(grandchild); got != "cancelled" {
		t.Errorf("the grandchild is %s", got)
	}
}

func TestOtherProjectsAreOutOfReach(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	foreign := r.room("q", "w", "")
	theirs := r.ok(submitRun(foreign, r.now)).ExecutionID
	r.ok(&CancelHandles{Session: "S1", Execution: root, Handles: []string{theirs}})
	r.ok(&AddDependency{Session: "S1", Execution: root, On: []string{theirs}})
	if r.result(theirs) != "none" || r.store.View().HasDependency(root, theirs) {
		t.Error("an execution reached another project's")
	}
}

// Projects that have nothing to do with what is placed cost nothing, whatever waits in them.
func TestManyProjectsCostNothing(t *testing.T) { // not parallel: it counts allocations
	r := newRig(t)
	var batch []Request
	const projects = 500
	for i := range projects {
		batch = append(batch, &CreateWorkspace{Project: fmt.Sprint("p", i), Name: "w"})
	}
	var ids []string
	for left := batch; len(left) > 0; {
		replies := r.step(left...)
		for _, reply := range replies {
			ids = append(ids, reply.Answer.WorkspaceID)
		}
		left = left[len(replies):]
	}
	batch = batch[:0]
	for _, id := range ids {
		batch = append(batch, submitRun(id, r.now))
	}
	for left := batch; len(left) > 0; {
		left = left[len(r.step(left...)):]
	}
	r.session("S1", 4) // of project p
	w := r.store.View().Session("S1").Workspace
	looked := testing.AllocsPerRun(5, func() { newPlacer(r.store.View(), r.soft).close() })
	if e := r.execution(r.ok(submitRun(w, r.now)).ExecutionID); e.Session != "S1" {
		t.Errorf("not placed: %+v", e)
	}
	if looked > 200 {
		t.Errorf("a look at the queue made %.0f allocations: it goes through the other projects", looked)
	}
}
