package scheduler

import (
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
)

// listKey is the key of the list of an asset; each n is another one.
func listKey(n string) string { return strings.Repeat(n, 64/len(n)) }

// persist has an execution make an asset of two files.
func (r *rig) persist(session, execution, list string) state.Reference {
	r.Helper()
	return *r.ok(&PersistAsset{Session: session, Execution: execution, Name: "n", Count: 2, Size: 30, BlobKey: list}).Asset
}

func TestWhatIsKnownOfAnAssetIsFilledIn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	r.session("S", 4)
	root := r.ok(submitRun(w, r.now)).ExecutionID
	r.step()
	want := state.Reference{Kind: state.KindAsset, ID: "A", Name: "n", Count: 2, Size: 30, BlobKey: listKey("ab")}
	want.ID, _ = AssetID(listKey("ab"))
	if got := r.persist("S", root, listKey("ab")); !cmp.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if again, other := r.persist("S", root, listKey("ab")), r.persist("S", root, listKey("cd")); again.ID != want.ID || other.ID == want.ID {
		t.Errorf("the same list is %s, another one %s", again.ID, other.ID)
	}

	// An argument that names the asset, a step with a key: the value that was sent is left alone, and has the same key.
	argument := state.Value{Data: []byte("1"), References: []state.Reference{{Kind: state.KindAsset, ID: want.ID}}}
	call := &SubmitStep{Session: "S", Parent: root, Number: 1, Module: "m", Target: "t", Type: state.TypeTask, Arguments: []state.Value{argument},
		Cache: &state.Cache{All: true}}
	before := CallKey(call)
	child := r.ok(call)
	if sent := call.Arguments[0].References[0]; sent.BlobKey != "" || before != CallKey(call) {
		t.Errorf("the request was changed: %+v", sent)
	}
	id, _ := state.ParseStepID(child.StepID)
	step := r.store.View().Step(id)
	if got := step.Arguments[0].References[0]; !cmp.Equal(got, want) {
		t.Errorf("the argument refers to %+v, want %+v", got, want)
	}
	filled := *call
	filled.Arguments = step.Arguments
	if CallKey(&filled) != before {
		t.Error("the key of a call depends on what is filled in")
	}

	for name, q := range map[string]Request{
		"argument": &SubmitStep{Session: "S", Parent: root, Number: 2, Module: "m", Target: "t", Type: state.TypeTask,
			Arguments: []state.Value{{References: []state.Reference{{Kind: state.KindAsset, ID: "Anone"}}}}},
		"result": &ReportResult{Session: "S", Execution: root, Result: state.Result{Type: state.ResultValue,
			Value: &state.Value{References: []state.Reference{{Kind: state.KindAsset, ID: "Anone"}}}}},
		"use": &UseAsset{Session: "S", Execution: root, Asset: "Anone"},
	} {
		t.Log(name)
		r.refused(CodeNotFound, q)
	}
	for _, q := range []*PersistAsset{{Count: 0, BlobKey: listKey("ab")}, {Count: 1, BlobKey: listKey("ab")}, {Count: 2, BlobKey: "ab"}, {Count: 2, Size: -1, BlobKey: listKey("ab")}} {
		q.Session, q.Execution = "S", root
		r.refused(CodeBadRequest, q)
	}
	r.refused(CodeTooLarge, &PersistAsset{Session: "S", Execution: root, Count: 2, BlobKey: listKey("ab"), Name: strings.Repeat("n", maxAssetText+1)})
	r.refused(CodeFenced, &PersistAsset{Session: "other", Execution: root, Count: 2, BlobKey: listKey("ef")})
}

// What the leader saw unused and what was used meanwhile are told apart.
func TestOnlyUnusedAssetsAreForgotten(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	r.session("S", 4)
	root := r.ok(submitRun(w, r.now)).ExecutionID
	r.step()
	a, b, c := r.persist("S", root, listKey("ab")), r.persist("S", root, listKey("cd")), r.persist("S", root, listKey("ef"))
	read := int64(start + assetTouch + 1) // when the leader looked: nothing refers to them, let us say
	r.now = read + 1
	other := r.ok(submitRun(w, r.now)).ExecutionID
	r.step()
	r.ok(&UseAsset{Session: "S", Execution: other, Asset: b.ID})
	r.persist("S", other, listKey("ef"))
	r.ok(&ForgetAssets{Assets: []string{a.ID, b.ID, c.ID, "Anone"}, Before: ForgetBefore(read)})
	if v := r.store.View(); v.Asset(a.ID) != nil || v.Asset(b.ID) == nil || v.Asset(c.ID) == nil {
		t.Errorf("%v %v %v", v.Asset(a.ID), v.Asset(b.ID), v.Asset(c.ID))
	}
	for _, ref := range []state.Reference{b, c} { // rows of the execution name the lists
		keys := map[string]bool{}
		for row := range r.store.View().RunRows(state.RunOf(other)) {
			if _, asset := row.(*state.Asset); !asset {
				for key := range state.BlobKeys(row) {
					keys[key] = true
				}
			}
		}
		if !keys[ref.BlobKey] {
			t.Errorf("nothing of the run keeps %s", ref.ID)
		}
	}
	r.refused(CodeNotFound, &UseAsset{Session: "S", Execution: root, Asset: a.ID})
	r.ok(&ForgetAssets{Assets: []string{b.ID}, Before: ForgetBefore(r.now)})
	if r.store.View().Asset(b.ID) == nil {
		t.Error("what was used within the last minutes is forgotten")
	}
	if again := r.persist("S", root, listKey("ab")); again.ID != a.ID || r.store.View().Asset(a.ID) == nil {
		t.Error("it cannot be made again")
	}
}
