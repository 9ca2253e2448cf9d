package scheduler

import (
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// memoised is a call with arguments of this text, memoised by all of them.
func memoised(session, parent string, number int64, arguments ...string) *SubmitStep {
	c := call(session, parent, number)
	c.Arguments, c.Memo = texts(arguments...), &Memo{Params: Params{All: true}}
	return c
}

func texts(data ...string) (out []state.Value) {
	for _, d := range data {
		out = append(out, state.Value{Data: []byte(d)})
	}
	return out
}

func TestAnEqualCallIsGivenWhatIsThere(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	first := r.ok(memoised("S1", root, 1, `"a"`))
	steps := func() int { return r.store.View().Run(first.RunID).Steps }
	same := r.ok(memoised("S1", root, 2, `"a"`)) // while it is open
	if same != first || steps() != 2 {
		t.Errorf("answered %+v, want %+v", same, first)
	}
	r.ok(valueOf("S1", first.ExecutionID, "1"))
	if same := r.ok(memoised("S1", root, 3, `"a"`)); same != first || steps() != 2 {
		t.Errorf("after its value answered %+v, want %+v", same, first)
	}
	if other := r.ok(memoised("S1", root, 4, `"b"`)); other == first {
		t.Error("other arguments are given the same")
	}
	plain := call("S1", root, 5)
	plain.Arguments = texts(`"a"`)
	if other := r.ok(plain); other == first {
		t.Error("a call without memo was given a memoised one")
	}
	v := r.store.View()
	id, _ := state.ParseExecutionID(root)
	hits := 0
	for h := range v.Hits(id) {
		if h.Execution != first.ExecutionID {
			t.Errorf("hit %+v", h)
		}
		hits++
	}
	if hits != 2 {
		t.Errorf("%d hits, want 2", hits)
	}
}

func TestARepeatOfAHitIsAnsweredAlike(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	first := r.ok(memoised("S1", root, 1, `1`))
	r.ok(memoised("S1", root, 2, `1`))
	r.ok(&ReportResult{Session: "S1", Execution: first.ExecutionID, Result: state.Result{Type: state.ResultError, Error: &state.Error{Type: "E"}}})
	if again := r.ok(memoised("S1", root, 2, `1`)); again != first {
		t.Errorf("the repeat was answered %+v, want %+v", again, first)
	}
	if fresh := r.ok(memoised("S1", root, 3, `1`)); fresh == first {
		t.Error("a new call was given what has failed")
	}
	r.ok(valueOf("S1", root, "1"))
	r.step(memoised("S1", root, 2, `1`))
	if reply := r.step(memoised("S1", root, 2, `1`))[0]; reply.Answer != first {
		t.Errorf("after the caller's end the repeat was answered %+v %v", reply.Answer, reply.Err)
	}
	r.refused(CodeFenced, memoised("S9", root, 2, `1`))
}

// What ended as anything but a value is not found, the newest of the others is.
func TestWhichExecutionIsFound(t *testing.T) {
	t.Parallel()
	ends := map[string]func(r *rig, id string){
		"open":  func(*rig, string) {},
		"value": func(r *rig, id string) { r.ok(valueOf("S1", id, "1")) },
		"error": func(r *rig, id string) {
			r.ok(&ReportResult{Session: "S1", Execution: id, Result: state.Result{Type: state.ResultError, Error: &state.Error{Type: "E"}}})
		},
		"timeout": func(r *rig, id string) {
			r.ok(&ReportResult{Session: "S1", Execution: id, Result: state.Result{Type: state.ResultTimeout}})
		},
		"abandoned": func(r *rig, id string) {
			r.ok(&ReportResult{Session: "S1", Execution: id, Result: state.Result{Type: state.ResultAbandoned}})
		},
		"cancelled": func(r *rig, id string) { r.ok(&Cancel{Workspace: r.execution(id).Workspace, Execution: id}) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			root := r.running()
			first := r.ok(memoised("S1", root, 1, `1`))
			end(r, first.ExecutionID)
			second := r.ok(memoised("S1", root, 2, `1`))
			if got, want := second == first, name == "open" || name == "value"; got != want {
				t.Errorf("found %v, want %v", got, want)
			}
			// A re-run of the step is newer than all.
			r.now++
			again := r.ok(&RerunStep{RequestID: ulidAt(r.now), Workspace: r.execution(root).Workspace, Step: first.StepID})
			if third := r.ok(memoised("S1", root, 3, `1`)); third.ExecutionID != again.ExecutionID {
				t.Errorf("found %s, want the re-run %s", third.ExecutionID, again.ExecutionID)
			}
		})
	}
}

func TestARerunOfTheCallerFindsWhatItsFirstAttemptCalled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	child := r.ok(memoised("S1", root, 1, `1`))
	r.ok(valueOf("S1", child.ExecutionID, "1"))
	r.ok(valueOf("S1", root, "1"))
	step, _ := state.ParseExecutionID(root)
	again := r.ok(&RerunStep{RequestID: ulidAt(r.now), Workspace: r.execution(root).Workspace, Step: step.StepID().String()})
	r.step()
	if found := r.ok(memoised("S1", again.ExecutionID, 1, `1`)); found != child {
		t.Errorf("found %+v, want %+v", found, child)
	}
}

func TestADerivedWorkspaceFindsWhatItsBaseCalled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	child := r.ok(memoised("S1", root, 1, `1`))
	r.ok(valueOf("S1", child.ExecutionID, "1"))
	r.ok(valueOf("S1", root, "1"))
	derived := r.room("p", "derived", r.execution(root).Workspace)
	r.ok(&OpenSession{Session: "S2", Project: "p", Workspace: "derived", Node: "node-S2", NodeName: "S2", Boot: "1", Slots: 8})
	r.ready("S2", derived)
	step, _ := state.ParseExecutionID(root)
	again := r.ok(&RerunStep{RequestID: ulidAt(r.now), Workspace: derived, Step: step.StepID().String()})
	if found := r.ok(memoised("S2", again.ExecutionID, 1, `1`)); found != child {
		t.Errorf("found %+v, want %+v", found, child)
	}
}

// TestNobodyIsGivenWhatIsBeingCancelled: from the entry of the cancellation on, whether the sweep has come there or not.
func TestNobodyIsGivenWhatIsBeingCancelled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	one, two := r.ok(call("S1", root, 1)).ExecutionID, r.ok(call("S1", root, 2)).ExecutionID
	shared := r.ok(memoised("S1", one, 1, `1`))
	replies := r.step(&Cancel{Workspace: r.execution(root).Workspace, Execution: one}, memoised("S1", two, 1, `1`))
	if replies[0].Err != nil || replies[1].Err != nil || replies[1].Answer.ExecutionID == shared.ExecutionID {
		t.Errorf("%v; %v %+v", replies[0].Err, replies[1].Err, replies[1].Answer)
	}
	r.drain()
	if got := r.result(replies[1].Answer.ExecutionID); got != "none" {
		t.Errorf("the new call ended as %s", got)
	}
}

func TestCancellationFollowsTheFirstCaller(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	one, two := r.ok(call("S1", root, 1)).ExecutionID, r.ok(call("S1", root, 2)).ExecutionID
	shared := r.ok(memoised("S1", one, 1, `1`))
	if found := r.ok(memoised("S1", two, 1, `1`)); found != shared {
		t.Fatalf("found %+v", found)
	}
	r.ok(&Cancel{Workspace: r.execution(root).Workspace, Execution: two})
	r.drain()
	if got := r.result(shared.ExecutionID); got != "none" {
		t.Errorf("%s with its second caller", got)
	}
	r.ok(&Cancel{Workspace: r.execution(root).Workspace, Execution: one})
	r.drain()
	if got := r.result(shared.ExecutionID); got != "cancelled" {
		t.Errorf("%s after its caller was cancelled", got)
	}
}

func TestTheRunsMemoAndTheCallsOwn(t *testing.T) {
	t.Parallel()
	all, off, first := &Memo{Params: Params{All: true}}, &Memo{Off: true}, &Memo{Params: Params{Indexes: []int{0}}}
	for name, c := range map[string]struct {
		run        bool
		one, other *Memo
		arguments  []string
		found      bool
	}{
		"neither":                      {false, nil, nil, []string{"1", "2"}, false},
		"the run's":                    {true, nil, nil, []string{"1", "2"}, true},
		"the run's, other arguments":   {true, nil, nil, []string{"1", "3"}, false},
		"off wins":                     {true, off, off, []string{"1", "2"}, false},
		"off does not look":            {true, nil, off, []string{"1", "2"}, false},
		"off is not found":             {true, off, nil, []string{"1", "2"}, false},
		"its own":                      {false, all, all, []string{"1", "2"}, true},
		"all of them are the run's":    {true, all, nil, []string{"1", "2"}, true},
		"by the first":                 {false, first, first, []string{"1", "3"}, true},
		"by the first, another":        {false, first, first, []string{"2", "2"}, false},
		"by the first, in such a run":  {true, first, first, []string{"1", "3"}, true},
		"fewer arguments":              {true, nil, nil, []string{"1"}, false},
		"fewer arguments that count":   {false, first, first, []string{"1"}, true},
		"without the one that matters": {false, first, first, []string{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			w := r.workspace()
			r.session("S1", 8)
			submit := submitRun(w, r.now)
			submit.Memo = c.run
			root := r.ok(submit).ExecutionID
			if got := r.execution(root).MemoKey != ""; got != c.run {
				t.Errorf("the root has a key: %v", got)
			}
			one, other := call("S1", root, 1), call("S1", root, 2)
			one.Memo, one.Arguments = c.one, texts("1", "2")
			other.Memo, other.Arguments = c.other, texts(c.arguments...)
			if got := r.ok(one) == r.ok(other); got != c.found {
				t.Errorf("found %v, want %v", got, c.found)
			}
		})
	}
}

func TestMemoStaysWithinItsRunAndTarget(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	other := r.ok(submitRun(r.execution(root).Workspace, r.now)).ExecutionID
	first := r.ok(memoised("S1", root, 1, `1`))
	if found := r.ok(memoised("S1", other, 1, `1`)); found.RunID == first.RunID {
		t.Error("found in another run")
	}
	task := memoised("S1", root, 2, `1`)
	task.Target = "task2"
	if found := r.ok(task); found == first {
		t.Error("found for another target")
	}
	r.refused(CodeBadRequest, &SubmitStep{Session: "S1", Parent: root, Number: 9, Module: "m", Target: "task", Type: state.TypeTask,
		Memo: &Memo{Params: Params{Indexes: []int{-1}}}})
}

// Semantics 7: only equality of keys matters.
func TestArgumentsKey(t *testing.T) {
	t.Parallel()
	blob := state.Value{BlobKey: "9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0", Size: 5}
	handle := func(id string) state.Value {
		return state.Value{Data: []byte(`{"type":"ref","index":0}`), References: []state.Reference{{Kind: "execution", ID: id, Module: "m", Target: "t"}}}
	}
	renamed := handle("R:1:1")
	renamed.References[0].Target = "u"
	fragment := func(format, key, metadata string) []state.Value {
		return []state.Value{{Data: []byte(`{"type":"ref","index":0}`), References: []state.Reference{
			{Kind: "fragment", Format: format, BlobKey: key, Size: 3, Metadata: []byte(metadata)}}}}
	}
	keys := map[string]string{}
	for name, key := range map[string]string{
		"a":                  argumentsKey("n", "", Params{All: true}, texts("a")),
		"a, by index":        argumentsKey("n", "", Params{Indexes: []int{0}}, texts("a", "b")),
		"a, b":               argumentsKey("n", "", Params{All: true}, texts("a", "b")),
		"b, a":               argumentsKey("n", "", Params{Indexes: []int{1, 0}}, texts("a", "b")),
		"ab":                 argumentsKey("n", "", Params{All: true}, texts("ab")),
		"none":               argumentsKey("n", "", Params{Indexes: []int{}}, texts("a")),
		"none of other":      argumentsKey("m", "", Params{Indexes: []int{}}, texts("a")),
		"absent":             argumentsKey("n", "", Params{Indexes: []int{1}}, texts("a")),
		"the text absent":    argumentsKey("n", "", Params{Indexes: []int{0}}, texts("absent")),
		"version":            argumentsKey("n", "1", Params{Indexes: []int{}}, nil),
		"namespace, version": argumentsKey("", "n", Params{Indexes: []int{}}, nil),
		"1.0":                argumentsKey("n", "", Params{All: true}, texts("1.0")),
		"1":                  argumentsKey("n", "", Params{All: true}, texts("1")),
		"aaa":                argumentsKey("n", "", Params{All: true}, texts("aaa")),
		"aaa in a blob":      argumentsKey("n", "", Params{All: true}, []state.Value{blob}),
		"R:1:1":              argumentsKey("n", "", Params{All: true}, []state.Value{handle("R:1:1")}),
		"R:1:1 renamed":      argumentsKey("n", "", Params{All: true}, []state.Value{renamed}),
		"fragment":           argumentsKey("n", "", Params{All: true}, fragment("bytes", "ab", "{}")),
		"other format":       argumentsKey("n", "", Params{All: true}, fragment("pickle", "ab", "{}")),
		"other bytes":        argumentsKey("n", "", Params{All: true}, fragment("bytes", "cd", "{}")),
		"other metadata":     argumentsKey("n", "", Params{All: true}, fragment("bytes", "ab", `{"a":1}`)),
		"R:1:2":              argumentsKey("n", "", Params{All: true}, []state.Value{handle("R:1:2")}),
	} {
		keys[name] = key
	}
	same := [][2]string{{"a", "a, by index"}, {"aaa", "aaa in a blob"}, {"R:1:1", "R:1:1 renamed"}}
	for a, ka := range keys {
		for b, kb := range keys {
			want := a == b
			for _, s := range same {
				want = want || s == [2]string{a, b} || s == [2]string{b, a}
			}
			if (ka == kb) != want {
				t.Errorf("%q and %q have equal keys: %v, want %v", a, b, ka == kb, want)
			}
		}
	}
}

// A hit costs an entry that does not grow with the number of calls, and does not read the hits before it.
func TestAHitCostsTheSameWhateverWentBefore(t *testing.T) { // not parallel: it counts allocations
	r := newRig(t)
	root := r.running()
	r.ok(memoised("S1", root, 1, `1`))
	var sizes []int
	number := int64(1)
	cost := func() float64 {
		return testing.AllocsPerRun(20, func() {
			number++
			r.ok(memoised("S1", root, number, `1`))
			sizes = append(sizes, r.entry)
		})
	}
	few := cost()
	for number < 3_000 {
		var batch []Request
		for range 200 {
			number++
			batch = append(batch, memoised("S1", root, number, `1`))
		}
		r.step(batch...)
	}
	if many := cost(); many > 2*few || sizes[len(sizes)-1] > sizes[0]+8 {
		t.Errorf("a hit takes %.0f allocations and %d bytes, at first %.0f and %d", many, sizes[len(sizes)-1], few, sizes[0])
	}
	if steps := r.store.View().Run(r.execution(root).Run).Steps; steps != 2 {
		t.Errorf("%d steps were made", steps)
	}
}
