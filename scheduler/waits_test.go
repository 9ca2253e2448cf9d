package scheduler

import (
	"fmt"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
)

// refs is a value that refers to executions.
func refs(ids ...string) state.Value {
	v := state.Value{Data: []byte("[]")}
	for _, id := range ids {
		v.References = append(v.References, state.Reference{Kind: state.KindExecution, ID: id})
	}
	return v
}

// waiting makes a call that waits for the listed arguments; it gives its execution.
func (r *rig) waiting(parent string, number int64, waitFor []int, arguments ...state.Value) string {
	r.Helper()
	c := call("S1", parent, number)
	c.Arguments, c.WaitFor = arguments, waitFor
	return r.ok(c).ExecutionID
}

func valueRefs(execution string, ids ...string) *ReportResult {
	v := refs(ids...)
	return &ReportResult{Session: "S1", Execution: execution, Result: state.Result{Type: state.ResultValue, Value: &v}}
}

func TestACallWaitsForTheHandlesInItsArguments(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	var ids []string
	for n := range 4 {
		ids = append(ids, r.ok(call("S1", root, int64(n+1))).ExecutionID)
	}
	id := r.waiting(root, 5, []int{2, 0, 9}, refs(ids[0]), refs(ids[3]), refs(ids[1], "Rnone:1:1", ids[2]))
	pending := func(want ...string) {
		t.Helper()
		var got []string
		for _, ref := range WaitsFor(r.store.View(), r.execution(id)) {
			got = append(got, ref.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("it waits for: %s", diff)
		}
		if e := r.execution(id); (e.Session != "") != (len(want) == 0) {
			t.Errorf("%v waits; %+v", waitsLeft(r), e)
		}
	}
	pending(ids[0], ids[1], ids[2])
	r.ok(valueOf("S1", ids[2], "1"))
	pending(ids[0], ids[1])
	r.ok(failed("S1", ids[1], state.ResultError)) // an end like any other
	pending(ids[0])
	r.ok(suspend("S1", ids[0]))
	pending(ids[0])
	r.ok(valueOf("S1", next(ids[0], 1), "1"))
	pending()
	if len(waitsLeft(r)) != 0 {
		t.Errorf("waits are left: %v", waitsLeft(r))
	}
}

func TestACallWaitsForWhatTheValuesReferTo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	var ids []string
	for n := range 6 {
		ids = append(ids, r.ok(call("S1", root, int64(n+1))).ExecutionID)
	}
	id := r.waiting(root, 10, []int{0}, refs(ids[0], ids[5]))
	for _, end := range []struct {
		of   string
		refs []string
	}{
		{ids[0], []string{ids[1], ids[2]}},
		{ids[2], []string{ids[0], ids[3]}}, // in a circle, and not the one that it waits for now
		{ids[1], []string{ids[1]}},         // to itself
		{ids[3], []string{ids[2], ids[4]}},
		{ids[4], nil},
		{ids[5], []string{ids[4]}},
	} {
		if e := r.execution(id); e.Session != "" || e.Wait != state.WaitAll {
			t.Fatalf("before the end of %s: %+v", end.of, e)
		}
		r.ok(valueRefs(end.of, end.refs...))
	}
	if e := r.execution(id); e.Session == "" {
		t.Errorf("it still waits: %+v", e)
	}
}

// What was final before the call was made leads on to what is not, through several values.
func TestACallWaitsForWhatIsBehindFinalValues(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	first, second, open := r.ok(call("S1", root, 1)).ExecutionID, r.ok(call("S1", root, 2)).ExecutionID, r.ok(call("S1", root, 3)).ExecutionID
	r.ok(valueRefs(second, open))
	r.ok(valueRefs(first, second))
	id := r.waiting(root, 4, []int{0}, refs(first))
	if e := r.execution(id); e.Session != "" || e.Wait != state.WaitAll {
		t.Fatalf("it does not wait: %+v", e)
	}
	r.ok(valueOf("S1", open, "1"))
	if e := r.execution(id); e.Session == "" {
		t.Errorf("it still waits: %+v", e)
	}
}

// Values may lead back to who waits: that is not waited for.
func TestACallDoesNotWaitForItself(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	giver, open := r.ok(call("S1", root, 1)).ExecutionID, r.ok(call("S1", root, 2)).ExecutionID
	id := r.waiting(root, 3, []int{0}, refs(giver))
	second := r.waiting(root, 4, []int{0}, refs(id))
	r.ok(valueRefs(giver, id, second, root, open))
	if e := r.execution(id); e.Session != "" || len(WaitsFor(r.store.View(), e)) != 1 {
		t.Errorf("it waits for %v: %+v", WaitsFor(r.store.View(), e), e)
	}
	r.ok(valueOf("S1", open, "1"))
	if e := r.execution(id); e.Session == "" {
		t.Errorf("it waits for %v, what waits for itself", WaitsFor(r.store.View(), e))
	}
}

func TestACallWhoseHandlesAreFinalDoesNotWait(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	one := r.ok(call("S1", root, 1)).ExecutionID
	r.ok(valueOf("S1", one, "1"))
	open := r.ok(call("S1", root, 2)).ExecutionID
	input := r.ok(&SubmitInput{Session: "S1", Execution: root, Number: 3, Template: "?"}).InputID
	other := state.Value{References: []state.Reference{{Kind: state.KindInput, ID: input}, {Kind: "fragment", BlobKey: "ab"}}}
	for n, c := range []struct {
		waitFor   []int
		arguments []state.Value
	}{
		{[]int{0}, []state.Value{refs(one)}},
		{[]int{1}, []state.Value{refs(open), refs(one)}},
		{nil, []state.Value{refs(open)}},
		{[]int{7}, []state.Value{refs(open)}},
		{[]int{0}, []state.Value{other}},
	} {
		if e := r.execution(r.waiting(root, int64(10+n), c.waitFor, c.arguments...)); e.Session == "" {
			t.Errorf("%d: it waits: %+v", n, e)
		}
	}
	c := call("S1", root, 20)
	c.WaitFor = []int{-1}
	r.refused(CodeBadRequest, c)
}

func TestAWaitAndADelayBothHold(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"the time", "the end"} {
		r := newRig(t)
		root := r.running()
		one := r.ok(call("S1", root, 1)).ExecutionID
		c := call("S1", root, 2)
		c.Arguments, c.WaitFor, c.Delay = []state.Value{refs(one)}, []int{0}, 100
		id := r.ok(c).ExecutionID
		for n := range 2 {
			if r.execution(id).Session != "" {
				t.Errorf("after %s alone it starts", first)
			}
			if (first == "the time") == (n == 0) {
				r.now += 100
				r.step()
			} else {
				r.ok(valueOf("S1", one, "1"))
			}
		}
		if r.execution(id).Session == "" {
			t.Errorf("after both, %s first, it does not start", first)
		}
	}
}

func TestACacheHitDoesNotWait(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	open := r.ok(call("S1", root, 1)).ExecutionID
	cached := func(number int64, version string, waitFor ...int) *SubmitStep {
		c := call("S1", root, number)
		c.Arguments, c.WaitFor, c.Cache = []state.Value{refs(open)}, waitFor, &state.Cache{All: true, Version: version}
		return c
	}
	linked := func(id, to string) {
		t.Helper()
		if e := r.execution(id); r.result(id) != "cached" || e.Result.Link != to {
			t.Errorf("%s is not linked to %s: %+v", id, to, e)
		}
	}
	one := r.ok(cached(2, "a")).ExecutionID
	r.ok(valueOf("S1", one, "1"))
	linked(r.ok(cached(3, "a", 0)).ExecutionID, one) // to what gave a value
	two := r.ok(cached(4, "b", 0)).ExecutionID
	linked(r.ok(cached(5, "b", 0)).ExecutionID, two) // to what waits itself
	if got := r.result(two); got != "none" {
		t.Errorf("without anything that stands in it is %s", got)
	}
}

// Something must not have the outcome of what waits for it.
func TestNothingIsLinkedToWhatWaitsForIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	giver := r.ok(call("S1", root, 1)).ExecutionID
	c := call("S1", root, 2)
	c.Arguments, c.WaitFor, c.Cache = []state.Value{refs(giver)}, []int{0}, &state.Cache{}
	waits := r.ok(c).ExecutionID
	late := call("S1", giver, 1)
	late.Delay, late.Cache = 50, &state.Cache{}
	one := r.ok(late).ExecutionID
	r.ok(valueRefs(giver, one))
	r.now += 50
	r.step()
	if e := r.execution(one); e.Session == "" || r.execution(waits).Wait != state.WaitAll {
		t.Errorf("it waits for what waits for it: %+v", e.Result)
	}
}

func TestTheCallOfAWorkflowWaitsBeforeItBecomesARun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	open := r.ok(call("S1", root, 1)).ExecutionID
	c := call("S1", root, 2)
	c.Target, c.Type, c.Arguments, c.WaitFor = "flow", state.TypeWorkflow, []state.Value{refs(open)}, []int{0}
	id := r.ok(c).ExecutionID
	if got := r.result(id); got != "none" {
		t.Fatalf("it is %s", got)
	}
	r.ok(valueOf("S1", open, "1"))
	r.drain()
	link := r.execution(id).Result
	if link == nil || link.Type != state.ResultSpawned || r.execution(link.Link).Session == "" {
		t.Errorf("it is %+v", link)
	}
}

func TestFurtherAttemptsWaitAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	open := r.ok(call("S1", root, 1)).ExecutionID
	id := r.waiting(root, 2, []int{0}, refs(open))
	step, _ := state.ParseExecutionID(id)
	again := r.ok(&RerunStep{RequestID: ulidAt(r.now), Workspace: r.execution(id).Workspace, Step: step.StepID().String()}).ExecutionID
	if e := r.execution(again); r.result(id) != "cancelled" || e.Wait != state.WaitAll || e.Session != "" {
		t.Errorf("%s; %+v", r.result(id), e)
	}
	r.ok(valueOf("S1", open, "1"))
	r.drain()
	if e := r.execution(again); e.Session == "" {
		t.Errorf("it still waits: %+v", e)
	}
	if len(waitsLeft(r)) != 0 {
		t.Errorf("waits are left: %v", waitsLeft(r))
	}
}

// What waits for an execution that turns out to be a link waits for the end of that.
func TestWaitsFollowLinks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	other := call("S1", root, 3)
	other.Cache = &state.Cache{}
	stand := r.ok(other).ExecutionID
	late := call("S1", root, 1)
	late.Delay, late.Cache = 50, &state.Cache{}
	one := r.ok(late).ExecutionID
	id := r.waiting(root, 2, []int{0}, refs(one))
	r.now += 50
	r.step()
	if r.result(one) != "cached" || r.execution(id).Wait != state.WaitAll {
		t.Fatalf("%s %+v", r.result(one), r.execution(id))
	}
	r.ok(valueOf("S1", stand, "1"))
	r.drain()
	if e := r.execution(id); e.Session == "" {
		t.Errorf("it still waits: %+v", e)
	}
}

// Nothing of what is waited for makes an entry larger, however many there are.
func TestAWaitForManyCostsAsMuchAsForOne(t *testing.T) {
	t.Parallel()
	sizes := map[int]int{}
	for _, many := range []int{2, 300} {
		r := newRig(t)
		root := r.running()
		var ids []string
		for n := range many {
			ids = append(ids, r.ok(call("S1", root, int64(n+1))).ExecutionID)
		}
		id := r.waiting(root, 9999, []int{0}, refs(ids...))
		for _, one := range ids[:many-1] {
			r.ok(valueOf("S1", one, "1"))
			sizes[many] = max(sizes[many], r.entry)
		}
		if e := r.execution(id); e.Wait != state.WaitAll || e.Session != "" {
			t.Errorf("%+v", e)
		}
	}
	if sizes[300] > sizes[2]+20 {
		t.Errorf("entries of %v bytes", fmt.Sprint(sizes))
	}
}

// More than are written down at once are waited for all the same.
func TestAWaitForMoreThanIsWrittenDownAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	var ids []string
	for n := range maxWaits + 2 {
		ids = append(ids, r.ok(call("S1", root, int64(n+1))).ExecutionID)
	}
	id := r.waiting(root, 9999, []int{0}, refs(ids...))
	if n := len(waitsLeft(r)); n != maxWaits {
		t.Errorf("%d rows are written", n)
	}
	for i, one := range ids {
		if e := r.execution(id); e.Wait != state.WaitAll {
			t.Fatalf("it goes on before the end of number %d", i)
		}
		r.ok(valueOf("S1", one, "1"))
	}
	r.drain()
	if e := r.execution(id); e.Session == "" {
		t.Errorf("it still waits for %v", waitsLeft(r))
	}
}

// Those who wait become runs although what all of them carry does not fit an entry.
func TestAnEndLetsManyLargeCallsGoOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	first := r.ok(call("S1", root, 1)).ExecutionID
	var waiting []string
	for n := range int64(sweepChunk) {
		c := call("S1", root, n+2)
		c.Type, c.Target, c.WaitFor = state.TypeWorkflow, "flow", []int{0}
		c.Arguments = []state.Value{{Data: []byte(`{"type":"ref","index":0}`), References: []state.Reference{{Kind: state.KindExecution, ID: first}}},
			{Data: make([]byte, 2*state.MaxEntry/sweepChunk)}}
		waiting = append(waiting, r.ok(c).ExecutionID)
	}
	r.ok(valueOf("S1", first, "1"))
	for range 20 {
		r.step()
	}
	for _, id := range waiting {
		if got := r.result(id); got != "spawned" {
			t.Fatalf("call %s is %s", id, got)
		}
	}
}

// The search costs as much as there are attempts, not as much as there are pairs of them.
func TestTheSearchForWhoWaitsIsLinear(t *testing.T) { // counts allocations, so not beside others
	r := newRig(t)
	root := r.running()
	suspended, costs := 0, map[int]float64{}
	for _, many := range []int{50, 400} {
		for ; suspended < many; suspended++ {
			r.now++
			r.ok(suspend("S1", root))
			root = next(root, 1)
		}
		d := &decision{Tx: &state.Tx{View: *r.store.View()}}
		e := r.execution(root)
		if waiting, all := d.waitingFor(e); len(waiting) != many+1 || !all {
			t.Fatalf("%d of %d attempts are found", len(waiting), many+1)
		}
		costs[many] = testing.AllocsPerRun(1, func() { d.waitingFor(e) })
	}
	if costs[400] > 16*costs[50] {
		t.Errorf("with 50 and 400 attempts: %v allocations", costs)
	}
}
