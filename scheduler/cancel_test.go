package scheduler

import (
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
)

func (r *rig) cancel(id string) *Cancel {
	return &Cancel{Workspace: r.execution(id).Workspace, Execution: id}
}

func TestCancelEndsAnExecutionAndItsDescendants(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	a := r.ok(call("S1", root, 1)).ExecutionID
	b := r.ok(call("S1", root, 2)).ExecutionID
	aa := r.ok(call("S1", a, 1)).ExecutionID
	ab := r.ok(call("S1", a, 2)).ExecutionID
	aaa := r.ok(call("S1", aa, 1)).ExecutionID
	r.ok(valueOf("S1", ab, "1"))
	r.ok(valueOf("S1", aa, "1")) // ended, but what it called still runs
	r.ok(r.cancel(a))
	r.drain()
	got := map[string]string{}
	for _, id := range []string{root, a, b, aa, ab, aaa} {
		got[id] = r.result(id)
	}
	want := map[string]string{root: "none", a: "cancelled", b: "none", aa: "value", ab: "value", aaa: "cancelled"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for s := range r.store.View().Sweeps() {
		t.Errorf("sweep %s is left", s.ID)
	}
}

func TestCancelTellsWhoMustKillAndWhoWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	child := r.ok(call("S1", root, 1)).ExecutionID
	r.soft.Sessions = nil
	queued := r.ok(call("S1", root, 2)).ExecutionID
	r.ok(r.cancel(root))
	want := []string{
		"finished  " + root, "abort S1 " + root, "finished  " + child, "abort S1 " + child, "finished  " + queued,
	}
	if diff := cmp.Diff(want, r.events()); diff != "" {
		t.Error(diff)
	}
}

func TestCancelOfWhatHasEndedStillEndsItsDescendants(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	child := r.ok(call("S1", root, 1)).ExecutionID
	r.ok(valueOf("S1", root, "1"))
	r.ok(r.cancel(root))
	r.ok(r.cancel(root)) // again, harmless
	r.drain()
	if got := [2]string{r.result(root), r.result(child)}; got != [2]string{"value", "cancelled"} {
		t.Errorf("results %v", got)
	}
}

func TestCancelRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	r.refused(CodeNotFound, &Cancel{Workspace: "Wother", Execution: root})
	r.refused(CodeNotFound, &Cancel{Workspace: r.execution(root).Workspace, Execution: "Rnone:1:1"})
	r.refused(CodeNotFound, &Cancel{Workspace: r.execution(root).Workspace, Execution: "nonsense"})
}

func TestCancelHandles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	a := r.ok(call("S1", root, 1)).ExecutionID
	b := r.ok(call("S1", root, 2)).ExecutionID
	ab := r.ok(call("S1", a, 1)).ExecutionID
	r.ok(valueOf("S1", b, "1"))
	r.ok(&CancelHandles{Session: "S1", Execution: root, Handles: []string{"Rnone:1:1", "nonsense", b, a}})
	r.drain()
	if got := [4]string{r.result(root), r.result(a), r.result(b), r.result(ab)}; got != [4]string{"none", "cancelled", "value", "cancelled"} {
		t.Errorf("results %v", got)
	}
	r.step(&LoseSession{Session: "S1"})
	r.refused(CodeFenced, &CancelHandles{Session: "S1", Execution: root, Handles: []string{b}})
}

// tree makes children of the root in one deep chain or many beside each other, without any session ready.
func (r *rig) tree(root string, n int, deep bool) (ids []string) {
	parent := root
	for i := 0; i < n; {
		batch := []Request{}
		for range 100 {
			batch = append(batch, call("S1", root, int64(i+1+len(batch))))
		}
		if deep {
			batch = []Request{call("S1", parent, 1)}
		}
		for _, reply := range r.step(batch...) {
			if reply.Err != nil {
				r.Fatal(reply.Err)
			}
			ids = append(ids, reply.Answer.ExecutionID)
			parent = reply.Answer.ExecutionID
			i++
		}
	}
	return ids
}

func TestCancelOfADeepRecursion(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	s := r.soft.Sessions["S1"]
	s.Running = -1000 // each one waits for the next: no slot is used
	r.soft.Sessions["S1"] = s
	ids := r.tree(root, 300, true)
	r.ok(r.cancel(ids[0]))
	r.drain()
	for _, id := range ids {
		if r.result(id) != "cancelled" {
			t.Fatalf("%s ended %s", id, r.result(id))
		}
	}
	if r.result(root) != "none" {
		t.Errorf("the caller ended %s", r.result(root))
	}
}

func TestCancelOf10000StepsIsSweptInBoundedEntries(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	r.soft.Sessions = nil
	r.tree(root, 10_000, false)
	r.ok(r.cancel(root))
	for batches := 0; ; batches++ {
		if batches > 40 {
			t.Fatal("no end")
		}
		finished := 0
		for _, e := range r.last.Events {
			if e.Kind == EventFinished {
				finished++
			}
		}
		if finished > maxSweep+1 || r.entry > 3*state.BatchBytes {
			t.Errorf("batch %d: %d executions in %d bytes", batches, finished, r.entry)
		}
		if !r.last.More {
			break
		}
		r.step()
	}
	for e := range r.store.View().RunExecutions(r.execution(root).Run, 0) {
		if e.Result == nil || e.Result.Type != state.ResultCancelled {
			t.Fatalf("%s is %+v", e.ID(), e.Result)
		}
	}
}

// From the entry of the cancellation on every decision treats the descendants as cancelled, swept or not.
func TestWhatASweepHasNotReachedIsCancelledAllTheSame(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	ready := r.soft
	r.soft = Soft{}
	ids := r.tree(root, 2_000, false)
	r.soft = ready
	r.step() // places 8
	var held string
	for e := range r.store.View().Assigned("S1") {
		held = e.ID().String()
	}
	if held == root || held == ids[0] {
		t.Fatalf("holds %s", held)
	}
	r.soft = Soft{}
	queued := ids[len(ids)-1]
	grandchild := r.ok(call("S1", held, 1)).ExecutionID
	before := r.result(held)
	replies := r.step(r.cancel(root), call("S1", held, 2), valueOf("S1", held, "1"))
	if before != "none" || replies[1].Err == nil || replies[1].Err.Code != CodeCancelled {
		t.Errorf("a call under cancellation answered %+v", replies[1])
	}
	if replies[2].Err != nil || r.result(held) != "cancelled" {
		t.Errorf("a result after the cancellation was answered %v and recorded as %s", replies[2].Err, r.result(held))
	}
	r.soft = ready
	if r.result(queued) != "none" || r.result(grandchild) != "none" {
		t.Fatal("the sweep is through already: the test shows nothing")
	}
	for r.last.More {
		r.step()
		for _, e := range r.last.Events {
			if e.Kind == EventAssigned {
				t.Fatalf("%s was given away", e.Execution)
			}
		}
	}
	if r.result(queued) != "cancelled" || r.result(grandchild) != "cancelled" {
		t.Errorf("ended %s and %s", r.result(queued), r.result(grandchild))
	}
}

func TestASweepThatMeetsABugDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	child := r.ok(call("S1", root, 1)).ExecutionID
	scratch := r.store.Scratch()
	_ = scratch.Try(func(tx *state.Tx) error {
		tx.Put(&state.Sweep{ID: "a", Kind: 99, Subject: "nothing"})
		return nil
	})
	bugs := 0
	out := Step(scratch, Input{Now: r.now, Random: r.ids, Requests: []Request{r.cancel(root)}, Log: func(string, ...any) { bugs++ }})
	if bugs != 1 || out.More {
		t.Errorf("%d bugs told, more %v", bugs, out.More)
	}
	id, _ := state.ParseExecutionID(child)
	if e := scratch.View().Execution(id); e.Result == nil {
		t.Error("the other sweep was held up")
	}
}
