package scheduler

import (
	"fmt"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
)

// assigned gives what the latest step gave away, as "session execution".
func (r *rig) assigned() (out []string) {
	for _, e := range r.last.Events {
		if e.Kind == EventAssigned {
			out = append(out, e.Session+" "+e.Execution.String())
		}
	}
	return out
}

// occupy says how many slots and live roots an agent has in use.
func (r *rig) occupy(session string, running, roots int) {
	s := r.soft.Sessions[session]
	s.Running, s.Roots = running, roots
	r.soft.Sessions[session] = s
}

// Rules A1: a caller that waits gives its slot back, so one slot runs any depth.
func TestOneSlotRunsARecursion50Deep(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	r.session("S1", 1)
	running := r.ok(submitRun(w, r.now)).ExecutionID
	var waiting []string
	for depth := range 50 {
		r.occupy("S1", 1, 1)
		child := r.ok(call("S1", running, 1)).ExecutionID
		if e := r.execution(child); e.Session != "" {
			t.Fatalf("depth %d: a second body was placed on one slot", depth)
		}
		waiting = append(waiting, running)
		r.occupy("S1", 0, 1) // the caller waits
		r.step()
		if e := r.execution(child); e.Session != "S1" {
			t.Fatalf("depth %d: stands still", depth)
		}
		running = child
	}
	for i := len(waiting) - 1; i >= 0; i-- {
		r.ok(valueOf("S1", running, "1"))
		running = waiting[i]
	}
	r.ok(valueOf("S1", running, "1"))
}

func TestChildrenComeBeforeRootsThenTheOldest(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	r.occupy("S1", 8, 1)
	w := r.execution(root).Workspace
	var want []string
	var roots, children []string
	for i := range 3 {
		r.now++
		roots = append(roots, r.ok(submitRun(w, r.now)).ExecutionID)
		r.now++
		children = append(children, r.ok(call("S1", root, int64(i+1))).ExecutionID)
	}
	for _, id := range append(children, roots...) {
		want = append(want, "S1 "+id)
	}
	var got []string
	for range 3 {
		r.occupy("S1", 6, 1) // two slots at a time
		r.step()
		got = append(got, r.assigned()...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestADelayedExecutionStandsInTheQueueFromItsDueTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	r.occupy("S1", 8, 1)
	delayed := call("S1", root, 1)
	delayed.Delay = 10
	late := r.ok(delayed).ExecutionID
	r.now += 5
	early := r.ok(call("S1", root, 2)).ExecutionID
	r.now += 10
	r.occupy("S1", 6, 1)
	r.step()
	if diff := cmp.Diff([]string{"S1 " + early, "S1 " + late}, r.assigned()); diff != "" {
		t.Error(diff)
	}
}

func TestTheRootCapNeverBindsDescendants(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	w := r.execution(root).Workspace
	r.occupy("S1", 0, RootsPerSlot*8)
	held := r.ok(submitRun(w, r.now)).ExecutionID
	if e := r.execution(held); e.Session != "" {
		t.Error("a root was placed above the cap")
	}
	child := r.ok(call("S1", root, 1)).ExecutionID
	if diff := cmp.Diff([]string{"S1 " + child}, r.assigned()); diff != "" {
		t.Error(diff)
	}
	r.now++
	r.occupy("S1", 0, RootsPerSlot*8-1)
	second := r.ok(submitRun(w, r.now)).ExecutionID
	if diff := cmp.Diff([]string{"S1 " + held}, r.assigned()); diff != "" {
		t.Error(diff)
	}
	r.occupy("S1", 0, RootsPerSlot*8)
	r.session("S2", 1) // another agent is not bound by the cap of the first
	r.step()
	if e := r.execution(second); e.Session != "S2" {
		t.Errorf("the second root is with %q", e.Session)
	}
}

func TestLeastLoadedFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	r.session("S1", 2)
	r.session("S2", 8)
	r.session("S3", 4)
	r.occupy("S1", 1, 0) // a half
	r.occupy("S2", 3, 0) // three eighths
	r.occupy("S3", 2, 0) // a half
	var batch []Request
	for range 9 {
		batch = append(batch, submitRun(w, r.now))
	}
	r.step(batch...)
	load := map[string]int{}
	for _, e := range r.last.Events {
		load[e.Session]++
	}
	if diff := cmp.Diff(map[string]int{"S1": 1, "S2": 5, "S3": 2}, load); diff != "" {
		t.Error(diff)
	}
	if first := r.last.Events[0].Session; first != "S2" {
		t.Errorf("the first went to %s", first)
	}
}

func TestTiesSpread(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	for i := range 4 {
		r.session(fmt.Sprint("S", i), 1)
	}
	hits := map[string]int{}
	for range 200 { // all are idle each time
		r.ok(submitRun(w, r.now))
		hits[r.last.Events[0].Session]++
	}
	for i := range 4 {
		if n := hits[fmt.Sprint("S", i)]; n < 25 {
			t.Errorf("session S%d got %d of 200", i, n)
		}
	}
}

func TestOnlyReadySessionsThatServeTheTarget(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(r *rig)
		placed bool
	}{
		"ready":                         {func(*rig) {}, true},
		"row without a stream":          {func(r *rig) { delete(r.soft.Sessions, "S1") }, false},
		"stream without a row":          {func(r *rig) { r.soft.Sessions["S9"] = r.soft.Sessions["S1"]; delete(r.soft.Sessions, "S1") }, false},
		"lost":                          {func(r *rig) { r.step(&LoseSession{Session: "S1"}) }, false},
		"draining":                      {func(r *rig) { r.step(&UpdateSession{Session: "S1", Draining: true}) }, false},
		"no free slot":                  {func(r *rig) { r.occupy("S1", 2, 0) }, false},
		"over its slots":                {func(r *rig) { r.occupy("S1", 3, 0) }, false},
		"one free slot":                 {func(r *rig) { r.occupy("S1", 1, 0) }, true},
		"serves nothing":                {func(r *rig) { r.soft.Sessions["S1"] = SoftSession{} }, false},
		"serves it in another room":     {func(r *rig) { r.ready("S1", "Wother") }, false},
		"serves it as another type":     {func(r *rig) { r.serveOnly(state.Class{Module: "m", Target: "flow", Type: state.TypeTask}) }, false},
		"serves another target":         {func(r *rig) { r.serveOnly(state.Class{Module: "m", Target: "x", Type: state.TypeWorkflow}) }, false},
		"serves it in another module":   {func(r *rig) { r.serveOnly(state.Class{Module: "x", Target: "flow", Type: state.TypeWorkflow}) }, false},
		"serves this and nothing else":  {func(r *rig) { r.serveOnly(state.Class{Module: "m", Target: "flow", Type: state.TypeWorkflow}) }, true},
		"two streams, one of them lost": {func(r *rig) { r.session("S2", 1); r.step(&LoseSession{Session: "S1"}) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			w := r.workspace()
			r.session("S1", 2)
			c.change(r)
			id := r.ok(submitRun(w, r.now)).ExecutionID
			if got := r.execution(id).Session != ""; got != c.placed {
				t.Errorf("placed %v, want %v", got, c.placed)
			}
			if r.last.More {
				t.Error("the leader would spin")
			}
		})
	}
}

func (r *rig) serveOnly(c state.Class) {
	c.Workspace = r.store.View().WorkspaceByName("p", "w").ID
	r.soft.Sessions["S1"] = SoftSession{Serves: map[state.Class]bool{c: true}}
}

// Rules 2.2: work is proportional to what is placed, not to what waits: a class that nobody serves costs one seek, and of
// a class that is served only the head is read.
func TestPlacementDoesNotReadTheBacklog(t *testing.T) { // not parallel: it counts allocations
	step := func(backlog int) float64 {
		r := newRig(t)
		root := r.running()
		ready := r.soft
		r.soft = Soft{}
		for n := 0; n < backlog; n += 100 {
			var batch []Request
			for i := range 100 {
				c := call("S1", root, int64(n+i+1))
				c.Target = []string{"task", "unserved"}[i%2]
				batch = append(batch, c)
			}
			r.step(batch...)
		}
		r.soft = ready
		r.occupy("S1", 7, 1)
		return testing.AllocsPerRun(20, func() {
			scratch := r.store.Scratch()
			out := Step(scratch, Input{Now: r.now, Random: r.ids, Soft: r.soft})
			if len(out.Events) != 1 {
				t.Errorf("%d placed, want 1", len(out.Events))
			}
		})
	}
	few, many := step(100), step(5_000)
	if many > 2*few {
		t.Errorf("placing one of 5,000 takes %.0f allocations, one of 100 takes %.0f", many, few)
	}
}

func TestPlacementOfMuchIsSpreadOverBatches(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	ready := r.soft
	r.soft = Soft{}
	r.tree(root, 1_200, false)
	r.soft = ready
	r.occupy("S1", -100_000, 1)
	placed := 0
	for r.last.More = true; r.last.More; {
		r.step()
		if n := len(r.assigned()); n > maxPlace || n == 0 {
			t.Fatalf("%d placed in one batch", n)
		}
		placed += len(r.assigned())
	}
	if placed != 1_200 {
		t.Errorf("%d placed, want 1200", placed)
	}
}
