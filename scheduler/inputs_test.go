package scheduler

import (
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
)

// question of a running execution.
func question(session, execution string, number int64, key string) *SubmitInput {
	return &SubmitInput{Session: session, Execution: execution, Number: number, Key: key, Template: "Go on, {who}?",
		Placeholders: []state.Placeholder{{Name: "who", Value: state.Value{Data: []byte(`"Joe"`)}}}, Schema: `{"type":"boolean"}`}
}

func answerTo(input, json string) *RespondInput {
	return &RespondInput{RequestID: ulidAt(start), Input: input, Value: state.Value{Data: []byte(json)}}
}

func (r *rig) input(id string) *state.Input {
	r.Helper()
	parsed, ok := state.ParseInputID(id)
	in := r.store.View().Input(parsed)
	if !ok || in == nil {
		r.Fatalf("input %q does not exist", id)
	}
	return in
}

func TestInputsAreNumberedAndARepeatIsRecognised(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	run := r.execution(root).Run
	first := r.ok(question("S1", root, 1, ""))
	second := r.ok(question("S1", root, 2, ""))
	if first.InputID != run+"/i1" || second.InputID != run+"/i2" {
		t.Errorf("made %s and %s", first.InputID, second.InputID)
	}
	if again := r.ok(question("S1", root, 1, "")); again != first {
		t.Errorf("a repeat is answered %+v, want %+v", again, first)
	}
	if n := r.store.View().Run(run).Inputs; n != 2 {
		t.Errorf("%d inputs, want 2", n)
	}
	r.refused(CodeFenced, question("S2", root, 3, ""))
	r.ok(valueOf("S1", root, "1"))
	r.refused(CodeFenced, question("S1", root, 3, ""))
	if again := r.ok(question("S1", root, 2, "")); again != second {
		t.Errorf("a repeat after the end is answered %+v, want %+v", again, second)
	}
}

func TestEqualKeysAreOneQuestion(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	first := r.ok(question("S1", root, 1, "k"))
	for number, change := range map[int64]func(*SubmitInput){
		2: func(*SubmitInput) {},
		3: func(q *SubmitInput) { q.Title, q.Actions, q.Initial = "T", []string{"Yes", "No"}, []byte("true") }, // the first ones stay
	} {
		q := question("S1", root, number, "k")
		change(q)
		if same := r.ok(q); same != first {
			t.Errorf("request %d is answered %+v, want %+v", number, same, first)
		}
	}
	for i, change := range []func(*SubmitInput){
		func(q *SubmitInput) { q.Template = "Another, {who}?" },
		func(q *SubmitInput) { q.Schema = "" },
		func(q *SubmitInput) { q.Placeholders[0].Value.Data = []byte(`"Ann"`) },
		func(q *SubmitInput) { q.Placeholders[0].Name = "name" },
		func(q *SubmitInput) { q.Placeholders = nil },
		func(q *SubmitInput) { q.Requires = state.Tags{"team": {"a"}} },
	} {
		q := question("S1", root, int64(10+i), "k")
		change(q)
		r.refused(CodeInputMismatch, q)
	}
	if other := r.ok(question("S1", root, 20, "l")); other == first {
		t.Error("another key gives the same input")
	}
	r.ok(&DismissInput{RequestID: ulidAt(start), Input: first.InputID})
	if same := r.ok(question("S1", root, 21, "k")); same != first {
		t.Errorf("after its end answered %+v, want %+v", same, first)
	}
	id, _ := state.ParseExecutionID(root)
	hits := 0
	for h := range r.store.View().Hits(id) {
		if hits++; h.Input != first.InputID || h.Execution != "" {
			t.Errorf("hit %+v", h)
		}
	}
	if hits != 3 {
		t.Errorf("%d hits, want 3", hits)
	}
}

func TestAKeyIsInheritedFromTheBaseAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	step := r.execution(root).ID().StepID().String()
	derived := r.ok(&CreateWorkspace{Project: "p", Name: "derived", Base: r.workspace()}).WorkspaceID
	r.ok(&OpenSession{Session: "S2", Project: "p", Workspace: "derived", Node: "node-S2", NodeName: "S2", Boot: "1", Slots: 8})
	r.ready("S2", derived)
	there := r.ok(&RerunStep{RequestID: ulidAt(start), Workspace: derived, Step: step}).ExecutionID
	base := r.ok(question("S1", root, 1, "k"))
	own := r.ok(question("S2", there, 1, "own"))
	if got := r.ok(question("S2", there, 2, "k")); got != base {
		t.Errorf("the derived workspace is given %+v, want %+v", got, base)
	}
	if got := r.ok(question("S1", root, 2, "own")); got == own {
		t.Error("the base is given what a derived workspace asks")
	}
	if got := r.ok(question("S2", there, 3, "own")); got != own {
		t.Errorf("the nearer one is %+v, want %+v", got, own)
	}
}

func TestTheFirstResponseWins(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		first func(input, root string) Request
		want  state.ResponseType
	}{
		{"false", func(in, _ string) Request { return answerTo(in, "false") }, state.ResponseValue},
		{"null", func(in, _ string) Request { return answerTo(in, "null") }, state.ResponseValue},
		{"dismissed", func(in, _ string) Request { return &DismissInput{RequestID: ulidAt(start), Input: in} }, state.ResponseDismissed},
		{"cancelled", func(in, root string) Request {
			return &CancelHandles{Session: "S1", Execution: root, Handles: []string{"Rnone/i1", in, "Rnone:1:1"}}
		}, state.ResponseCancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			root := r.running()
			in := r.ok(question("S1", root, 1, "")).InputID
			r.now += 5
			first := c.first(in, root)
			r.ok(first)
			got := r.input(in).Response
			if got == nil || got.Type != c.want || got.CreatedAt != r.now {
				t.Fatalf("the response is %+v", got)
			}
			if len(r.last.Events) != 1 || r.last.Events[0] != (Event{Kind: EventResponded, Input: r.input(in).ID()}) {
				t.Errorf("events %+v", r.last.Events)
			}
			if reply := r.step(first)[0]; reply.Err != nil {
				t.Errorf("a repeat is refused: %v", reply.Err)
			}
			r.refused(CodeAlreadyResponded, answerTo(in, "1"))
			r.refused(CodeAlreadyResponded, &DismissInput{RequestID: ulidAt(start), Input: in})
			r.ok(&CancelHandles{Session: "S1", Execution: root, Handles: []string{in}})
			if after := r.input(in).Response; after != got {
				t.Errorf("the response changed to %+v", after)
			}
		})
	}
}

func TestResponsesThatAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	in := r.ok(question("S1", root, 1, "")).InputID
	for _, id := range []string{"", "R", "Rnone/i1", in + "0", root, strings.Replace(in, "i1", "i01", 1)} {
		r.refused(CodeNotFound, answerTo(id, "1"))
		r.refused(CodeNotFound, &DismissInput{RequestID: ulidAt(start), Input: id})
	}
	late := answerTo(in, "1")
	late.RequestID = ulidAt(start - RequestWindow - 1)
	r.refused(CodeExpired, late)
	late.RequestID = "x"
	r.refused(CodeBadRequest, late)
	if r.input(in).Response != nil {
		t.Error("a refused answer counts")
	}
}

func TestQuestionsThatAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	for i, c := range []struct {
		code   string
		change func(*SubmitInput)
	}{
		{CodeBadRequest, func(q *SubmitInput) { q.Number = 0 }},
		{CodeBadRequest, func(q *SubmitInput) { q.Template = "" }},
		{CodeBadRequest, func(q *SubmitInput) { q.Key = "a\x00b" }},
		{CodeBadRequest, func(q *SubmitInput) { q.Actions = []string{"Yes"} }},
		{CodeBadRequest, func(q *SubmitInput) { q.Requires = state.Tags{"no colon:": {"1"}} }},
		{CodeTooLarge, func(q *SubmitInput) { q.Template = strings.Repeat("x", maxInputText) }},
		{CodeTooLarge, func(q *SubmitInput) { q.Placeholders = make([]state.Placeholder, maxPlaceholders+1) }},
		{CodeNotFound, func(q *SubmitInput) {
			q.Placeholders[0].Value.References = []state.Reference{{Kind: "input", ID: "Rnone/i1"}}
		}},
	} {
		q := question("S1", root, int64(i+1), "k")
		c.change(q)
		r.refused(c.code, q)
	}
	if n := r.store.View().Run(r.execution(root).Run).Inputs; n != 0 {
		t.Errorf("%d inputs, want none", n)
	}
}

func TestInputsCanBePassedOnWithinTheProject(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	in := r.ok(question("S1", root, 1, "")).InputID
	with := func(id string) []state.Value {
		return []state.Value{{Data: []byte(`{"type":"ref","index":0}`), References: []state.Reference{{Kind: "input", ID: id}}}}
	}
	given := call("S1", root, 2)
	given.Arguments = with(in)
	child := r.ok(given).ExecutionID
	given.Number, given.Arguments = 3, with("Rnone/i1")
	r.refused(CodeNotFound, given)
	value := with(in)[0]
	r.ok(&ReportResult{Session: "S1", Execution: child, Result: state.Result{Type: state.ResultValue, Value: &value}})

	r.ok(&OpenSession{Session: "S9", Project: "other", Workspace: "w", Node: "node-S9", NodeName: "S9", Boot: "1", Slots: 8})
	abroad := r.store.View().WorkspaceByName("other", "w").ID
	r.ready("S9", abroad)
	stranger := r.ok(submitRun(abroad, r.now)).ExecutionID
	given = call("S9", stranger, 1)
	given.Arguments = with(in)
	r.refused(CodeNotFound, given)
	r.ok(&CancelHandles{Session: "S9", Execution: stranger, Handles: []string{in}})
	r.ok(&AddDependency{Session: "S9", Execution: stranger, On: []string{in}})
	if r.input(in).Response != nil || Awaited(r.store.View(), r.input(in).ID()) {
		t.Error("another project reaches the input")
	}
	value = with(in)[0]
	r.refused(CodeNotFound, &ReportResult{Session: "S9", Execution: stranger, Result: state.Result{Type: state.ResultValue, Value: &value}})
}

func TestAnInputIsAwaitedWhileWhoAskedForItLives(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	limit := 1
	w := r.workspace()
	r.session("S1", 8)
	submit := submitRun(w, r.now)
	submit.Retries = &state.Retries{Limit: &limit}
	root := r.ok(submit).ExecutionID
	in := r.ok(question("S1", root, 1, "k")).InputID
	awaited := func() bool { return Awaited(r.store.View(), r.input(in).ID()) }
	if awaited() {
		t.Error("awaited before anybody asked for it")
	}
	r.ok(&AddDependency{Session: "S1", Execution: root, On: []string{in}})
	if !awaited() {
		t.Error("not awaited")
	}
	failed := &ReportResult{Session: "S1", Execution: root, Result: state.Result{Type: state.ResultError, Error: &state.Error{Type: "E"}}}
	r.ok(failed)
	if !awaited() {
		t.Error("not awaited although another attempt follows")
	}
	r.step()
	failed.Execution = strings.TrimSuffix(root, "1") + "2"
	r.ok(failed)
	if awaited() {
		t.Error("awaited by what is over")
	}
	var open []string
	for x := range r.store.View().OpenInputs(w) {
		open = append(open, x.ID().String())
	}
	if diff := cmp.Diff([]string{in}, open); diff != "" {
		t.Error(diff)
	}
}

// The largest question that is accepted can be answered.
func TestTheLargestInputThatIsAcceptedCanBeAnswered(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	q := question("S1", root, 1, "k")
	input := ""
	for size := state.MaxEntry; input == ""; size -= 64 {
		q.Placeholders = []state.Placeholder{{Name: "x", Value: state.Value{Data: make([]byte, size)}}}
		reply := r.step(q)[0]
		if input = reply.Answer.InputID; reply.Err != nil && reply.Err.Code != CodeTooLarge {
			t.Fatal(reply.Err)
		}
	}
	r.ok(&RespondInput{RequestID: ulidAt(r.now), Input: input, Value: state.Value{Data: make([]byte, 4<<10)}})
}

// Whether an input is awaited costs as much as there are attempts that asked for it, not as much as there are pairs of them.
func TestAwaitedIsLinear(t *testing.T) { // counts allocations, so not beside others
	costs := map[int]float64{}
	for _, many := range []int{50, 400} {
		r := newRig(t)
		root := r.running()
		in := r.ok(question("S1", root, 1, "k")).InputID
		for range many {
			r.now++
			r.ok(&AddDependency{Session: "S1", Execution: root, On: []string{in}})
			r.ok(suspend("S1", root))
			root = next(root, 1)
		}
		id, _ := state.ParseInputID(in)
		if !Awaited(r.store.View(), id) {
			t.Fatal("the last attempt does not count")
		}
		r.ok(valueOf("S1", root, "1"))
		if Awaited(r.store.View(), id) {
			t.Fatal("nobody waits any more")
		}
		costs[many] = testing.AllocsPerRun(1, func() { Awaited(r.store.View(), id) })
	}
	if costs[400] > 16*costs[50] {
		t.Errorf("with 50 and 400 attempts: %v allocations", costs)
	}
}
