package scheduler

import "github.com/coflux-mesh/coflux/consensus/state"

// Memo says whether a call is memoised within its run, and by which arguments. Nil leaves it to the run: all arguments if
// the run is memoised.
type Memo struct {
	// Off is never, whatever the run says.
	Off bool
	Params
}

// memoKey is the key of a call, "" when it is not memoised.
func memoKey(run *state.Run, parent *state.Execution, r *SubmitStep) string {
	var params Params
	switch {
	case r.Memo == nil && run.Durable:
		return durableKey(parent, r)
	case r.Memo == nil && run.Memo:
		params.All = true
	case r.Memo == nil || r.Memo.Off:
		return ""
	default:
		params = r.Memo.Params
	}
	return argumentsKey(r.Module+":"+r.Target, "", params, r.Arguments)
}

// memoised finds for a caller the newest execution of its run with the memo key, in its workspace or one that it inherits
// from, whose outcome is open or a value, and for which the caller would not wait for ever; nil when there is none. Where the
// key is of the caller's own calls (durableKey), an earlier attempt of it has made what is found.
func (d *decision) memoised(by *state.Execution, key string, own bool) (newest *state.Execution) {
	for w := range d.Lineage(by.Workspace) {
		for e := range d.Memoised(by.Run, w.ID, key) {
			if d.serves(e, by, own) {
				if newest == nil || e.CreatedAt > newest.CreatedAt {
					newest = e
				}
				break
			}
		}
	}
	return newest
}

// serves tells whether a caller may be given what it would have called: its outcome is open or a value, nobody ends it, and
// it does not wait for the caller. What the caller itself has called before (own) does not: nobody has to search for that.
func (d *decision) serves(e, by *state.Execution, own bool) bool {
	last := Last(&d.View, e.ID())
	switch {
	case last.Result != nil && last.Result.Type != state.ResultValue:
		return false
	case last.Result == nil && (d.underCancel(last) || !own && d.waitsFor(last, by)):
		return false
	}
	return true
}

// hit answers a call with an execution that is there already, and remembers that, so that a repeat is answered alike.
func (d *decision) hit(parent *state.Execution, r *SubmitStep, found *state.Execution) Answer {
	d.Put(&state.Hit{Parent: parent.ID().String(), Request: r.Number, Execution: found.ID().String(), Group: r.Group})
	return foundAnswer(found.ID().String(), r)
}

// foundAnswer names an execution of the target that is called.
func foundAnswer(execution string, r *SubmitStep) Answer {
	id, _ := state.ParseExecutionID(execution)
	return Answer{RunID: id.Run, StepID: id.StepID().String(), ExecutionID: execution, Module: r.Module, Target: r.Target}
}
