package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// written is what a pack's file would have of each run.
func (r *rig) written(runs ...string) map[string][]state.Effect {
	r.Helper()
	rows := map[string][]state.Effect{}
	for _, run := range runs {
		effects, _, err := state.EncodeRun(r.store.View(), run)
		if err != nil {
			r.Fatal(err)
		}
		rows[run] = effects
	}
	return rows
}

// packing asks for some runs of workspace w to be packed as they are now.
func (r *rig) packing(pack string, runs ...string) *PackRuns {
	r.Helper()
	q := &PackRuns{File: PackFile{ID: pack, BlobKey: "key of " + pack, Size: 1, First: 1, Last: 2}, Workspace: r.workspace(), Before: r.now}
	for _, run := range runs {
		_, digest, err := state.EncodeRun(r.store.View(), run)
		if err != nil {
			r.Fatal(err)
		}
		q.Runs = append(q.Runs, PackedRun{ID: run, Digest: digest})
	}
	return q
}

// finished makes a run with one child that is over.
func (r *rig) finished() (run string) {
	r.Helper()
	root := r.ok(submitRun(r.workspace(), r.now)).ExecutionID
	child := r.ok(call("S1", root, 1)).ExecutionID
	r.ok(valueOf("S1", child, "1"))
	r.ok(valueOf("S1", root, "2"))
	return state.RunOf(root)
}

func (r *rig) packed(run string) string {
	if p := r.store.View().Packed(run); p != nil {
		return p.ID
	}
	return ""
}

func rowsOf(v *state.View, run string) (n int) {
	for range v.RunRows(run) {
		n++
	}
	return n
}

func TestARunLeavesAndReturnsAsItWas(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.workspace()
	r.session("S1", 8)
	run, other := r.finished(), r.finished()
	rows := r.written(run, other)
	r.ok(r.packing("P1", run))
	r.ok(r.packing("P1", other))
	v := r.store.View()
	if v.Run(run) != nil || rowsOf(v, run)+rowsOf(v, other) != 0 || r.packed(run) != "P1" || r.packed(other) != "P1" || r.packed("Rnone") != "" {
		t.Errorf("%d rows stay, packed in %q", rowsOf(v, run), r.packed(run))
	}
	r.refused(CodePacked, &RerunStep{RequestID: ulidAt(r.now), Workspace: r.workspace(), Step: run + ":2"})
	r.refused(CodePacked, &Cancel{Workspace: r.workspace(), Execution: run + ":1:1"})
	r.refused(CodePacked, &RespondInput{RequestID: ulidAt(r.now), Input: run + "/i1"})
	unpack := &UnpackRuns{Runs: []UnpackedRun{{Run: run, Pack: "P1", Rows: rows[run], Digest: state.RowsDigest(rows[run])}}}
	r.ok(unpack)
	r.ok(unpack) // a repeat
	if diff := cmp.Diff(rows[run], r.written(run)[run], encoded); diff != "" || r.packed(run) != "" || r.packed(other) != "P1" {
		t.Errorf("it came back changed: %s", diff)
	}
	if again := r.ok(&RerunStep{RequestID: ulidAt(r.now), Workspace: r.workspace(), Step: run + ":2"}); again.ExecutionID != run+":2:2" {
		t.Errorf("run again as %s", again.ExecutionID)
	}
}

func TestWhatIsNeededStays(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	r.session("S1", 8)
	root := r.ok(submitRun(w, r.now)).ExecutionID
	q := call("S1", root, 1)
	q.Type, q.Target = state.TypeWorkflow, "flow"
	spawned := r.ok(q).ExecutionID
	child := r.execution(spawned).Result.Link
	r.ok(valueOf("S1", child, "1"))
	r.ok(r.packing("P1", state.RunOf(root), state.RunOf(child)))
	if r.packed(state.RunOf(root)) != "" || r.packed(state.RunOf(child)) != "" {
		t.Error("a run that goes on was packed, or one that has its outcome")
	}
	r.ok(valueOf("S1", root, "2"))
	early := r.packing("P1", state.RunOf(root), state.RunOf(child))
	early.Before = r.now - 1
	r.ok(early)
	changed := r.packing("P1", state.RunOf(root))
	changed.Runs[0].Digest++
	r.ok(changed)
	if r.packed(state.RunOf(root)) != "" {
		t.Error("a run was packed too early, or as it is no more")
	}
	rows := r.written(state.RunOf(root), state.RunOf(child))
	r.ok(r.packing("P1", state.RunOf(child), state.RunOf(root)))
	if r.packed(state.RunOf(root)) != "P1" || r.packed(state.RunOf(child)) != "P1" {
		t.Error("two runs that need each other only were not packed")
	}
	one := func(run string) UnpackedRun {
		return UnpackedRun{Run: run, Pack: "P1", Rows: rows[run], Digest: state.RowsDigest(rows[run])}
	}
	r.refused(CodePacked, &UnpackRuns{Runs: []UnpackedRun{one(state.RunOf(root))}}) // its link would lead nowhere
	r.ok(&UnpackRuns{Runs: []UnpackedRun{one(state.RunOf(root)), one(state.RunOf(child))}})
	if r.store.View().Pack("P1") != nil {
		t.Error("an empty pack stays")
	}
}

func TestALargeRunIsErasedBitByBit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	r.session("S1", 1000)
	root := r.ok(submitRun(w, r.now)).ExecutionID
	for i := range int64(300) {
		r.ok(valueOf("S1", r.ok(call("S1", root, i+1)).ExecutionID, "1"))
	}
	r.ok(valueOf("S1", root, "2"))
	run := state.RunOf(root)
	rows := r.written(run)[run]
	r.ok(r.packing("P1", run))
	if left := rowsOf(r.store.View(), run); left == 0 || r.store.View().Run(run) != nil || !r.last.More {
		t.Fatalf("%d of %d rows are left", left, len(rows))
	}
	all := UnpackedRun{Run: run, Pack: "P1", Rows: rows, Digest: state.RowsDigest(rows)}
	r.refused(CodeBusy, &UnpackRuns{Runs: []UnpackedRun{all}})
	r.drain()
	if left := rowsOf(r.store.View(), run); left != 0 {
		t.Fatalf("%d rows are left", left)
	}
	part := all
	part.Rows, part.More = rows[:100], true
	r.ok(&UnpackRuns{Runs: []UnpackedRun{part}})
	rest := all
	rest.Rows = rows[101:]
	r.refused(CodeBusy, &UnpackRuns{Runs: []UnpackedRun{rest}})
	r.ok(&EraseLeftovers{}) // another leader comes
	r.drain()
	if left := rowsOf(r.store.View(), run); left != 0 {
		t.Fatalf("%d rows of a run that is packed are left", left)
	}
	r.ok(&UnpackRuns{Runs: []UnpackedRun{part}})
	rest.Rows = rows[100:]
	r.ok(&UnpackRuns{Runs: []UnpackedRun{rest}})
	if diff := cmp.Diff(rows, r.written(run)[run], encoded); diff != "" || r.store.View().Sweep(eraseOf(run)) != nil {
		t.Errorf("it came back changed: %s", diff)
	}
}

func TestPackedValuesStandIn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	cached := state.Cache{All: true, MaxAge: age(1000)}
	source := r.ok(submitRun(r.workspace(), r.now)).ExecutionID
	q := call("S1", source, 1)
	q.Cache, q.Arguments = &cached, []state.Value{{Data: []byte("1")}}
	first := r.ok(q).ExecutionID
	r.ok(valueOf("S1", first, "7"))
	r.ok(valueOf("S1", source, "8"))
	pack, e := r.packing("P1", state.RunOf(source)), r.execution(first)
	kept := KeptValue{Workspace: e.Workspace, Key: e.CacheKey, Execution: first, CreatedAt: e.CreatedAt, CompletedAt: e.CompletedAt, Value: *e.Result.Value}
	pack.Runs[0].Kept = []KeptValue{kept}
	r.ok(pack)
	r.now += 1000
	hit := r.cached(root, 1, cached, "1")
	if diff := cmp.Diff([]string{"cached " + first}, r.links(hit)); diff != "" {
		t.Fatal(diff)
	}
	out := Outcome(r.store.View(), r.execution(hit).ID())
	if out == nil || out.Type != state.ResultValue || string(out.Value.Data) != "7" {
		t.Errorf("its outcome is %+v", out)
	}
	r.now++
	if miss := r.cached(root, 2, cached, "1"); r.result(miss) != "none" {
		t.Error("a value that is too old was used")
	}
	evict := &PackRuns{File: PackFile{ID: "P1", BlobKey: "key of P1"}, Workspace: r.workspace(), Evict: 3}
	r.ok(evict)
	for range r.store.View().OldestKept() {
		t.Error("a value was not evicted")
	}
}

func TestOnlyValuesThatMayBeUsedAreKept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	keep := func(name string, created, completed int64) {
		scratch := r.store.Scratch()
		if err := (&batch{scratch: scratch, Input: Input{Now: r.now}}).try(func(d *decision) error {
			d.keep(&KeptValue{Workspace: w, Key: "k", Execution: name, CreatedAt: created, CompletedAt: completed})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		data, _ := scratch.Entry(r.now).Encode()
		if err := r.store.Apply(data); err != nil {
			t.Fatal(err)
		}
	}
	for i, step := range []struct {
		created, completed int64
		want               string
	}{
		{10, 20, "0"},
		{5, 15, "0"},      // made and completed before
		{8, 30, "0 2"},    // made before, completed later: for a lesser age
		{12, 25, "3 2"},   // takes the place of the first
		{40, 50, "4"},     // of all
		{41, 45, "5 4"},   // newer
		{41, 60, "6"},     // of all
		{30, 60, "6"},     // as late, made before
		{100, 100, "8"},   //
		{100, 100, "8"},   // the same
		{101, 90, "10 8"}, //
	} {
		keep(fmt.Sprint(i), step.created, step.completed)
		var names []string
		for k := range r.store.View().Kept(w, "k") {
			names = append(names, k.Execution)
		}
		if got := strings.Join(names, " "); got != step.want {
			t.Errorf("after %d: %s, want %s", i, got, step.want)
		}
	}
}

func TestForgottenRunsAndMergedPacks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	r.session("S1", 8)
	var runs []string
	for range 4 {
		runs = append(runs, r.finished())
	}
	r.ok(r.packing("P1", runs[0], runs[1]))
	r.ok(r.packing("P2", runs[2], runs[3]))
	r.ok(&ForgetRuns{Pack: "P1", Runs: []string{runs[0], "Rnone", runs[2]}})
	r.ok(&ForgetRuns{Pack: "P1", Runs: []string{runs[0]}})
	p := r.store.View().Pack("P1")
	if p.Has(runs[0]) || !p.Lost(runs[0]) || !p.Has(runs[1]) || p.Lost("Rnone") {
		t.Errorf("%+v", p)
	}
	r.refused(CodeNotFound, &RerunStep{RequestID: ulidAt(r.now), Workspace: w, Step: runs[0] + ":1"})
	merge := &MergePacks{File: PackFile{ID: "P3", BlobKey: "b", Size: 1}, From: []MergedPack{{"P1", []string{runs[0], runs[1]}}, {"P2", []string{runs[2]}}}}
	r.refused(CodeBadRequest, merge) // it lacks a run of P2
	merge.From[1].Runs = append(merge.From[1].Runs, runs[3])
	r.ok(merge)
	r.ok(merge)
	got := slices.Sorted(r.store.View().Pack("P3").List())
	want := slices.Sorted(slices.Values(runs[1:]))
	if diff := cmp.Diff(want, got); diff != "" || r.packed(runs[0]) != "P3" || r.packed(runs[3]) != "P3" {
		t.Errorf("%s; %s", diff, r.packed(runs[0]))
	}
	r.ok(&ForgetRuns{Pack: "P3", Runs: runs})
	if p := r.store.View().Pack("P3"); p.BlobKey != "" || len(p.Gone()) != 4 || p.Count() != 0 {
		t.Errorf("%+v", p)
	}
}

func TestARepeatedSubmissionKnowsAPackedRun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	r.session("S1", 8)
	q := submitRun(w, r.now)
	root := r.ok(q).ExecutionID
	r.ok(valueOf("S1", root, "1"))
	r.ok(r.packing("P1", state.RunOf(root)))
	r.refused(CodePacked, q)
	r.ok(&ForgetRuns{Pack: "P1", Runs: []string{state.RunOf(root)}})
	if answer := r.ok(q); answer.RunID != state.RunOf(root) {
		t.Errorf("a removed run is run again as %s", answer.RunID)
	}
}

// encoded compares encoded rows.
var encoded = cmpopts.IgnoreUnexported(state.Effect{})
