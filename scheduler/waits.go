package scheduler

import "github.com/coflux-mesh/coflux/consensus/state"

// final tells whether something that is waited for in a workspace has come to its end, and gives the value of an execution
// that has one. What does not exist there, or is of another project, is not waited for.
func final(v *state.View, workspace string, ref state.Reference) (value *state.Value, over bool) {
	if ref.Kind == state.KindInput {
		in := VisibleInput(v, workspace, ref.ID)
		return nil, in == nil || in.Response != nil
	}
	e := Visible(v, workspace, ref.ID)
	if e == nil {
		return nil, true
	}
	r := Outcome(v, e.ID())
	if r == nil {
		return nil, false
	}
	if r.Type == state.ResultValue {
		value = r.Value
	}
	return value, true
}

// maxWaits bounds the rows that one decision makes of the waits of one execution. What is beyond is waited for when those are
// final.
const maxWaits = 1000

// awaitArguments has an attempt wait until all that the listed arguments refer to is final, and what the values found
// there refer to, and so on (semantics 10).
func (d *decision) awaitArguments(e *state.Execution) {
	e.Wait = state.WaitNone
	if d.await(e, awaited(d.Step(e.ID().StepID()))) > 0 {
		e.Wait = state.WaitAll
	}
}

// await makes rows of what of the references is not final; it gives how many there are. What may have to wait for the
// execution itself is not waited for: values may lead in circles.
func (d *decision) await(e *state.Execution, refs []state.Reference) (rows int) {
	s := search{v: &d.View, workspace: e.Workspace, seen: map[string]bool{e.ID().String(): true}}
	s.look(refs)
	if len(s.open) == 0 {
		return 0
	}
	waiting, _ := d.waitingFor(e)
	for _, r := range s.open {
		id, _ := state.ParseExecutionID(r.ID)
		if last := Last(&d.View, id); last != nil && waiting[last.ID()] {
			continue
		}
		rows++
		if w := (&state.Wait{Execution: e.ID().String(), Kind: r.Kind, On: r.ID}); !d.HasWait(w) {
			d.Put(w)
		}
	}
	return rows
}

// awaited are the references of the arguments that a step waits for.
func awaited(s *state.Step) (refs []state.Reference) {
	for _, i := range s.WaitFor {
		if i < len(s.Arguments) {
			refs = append(refs, s.Arguments[i].References...)
		}
	}
	return refs
}

// search goes through references and the values behind them for those that are not final, up to maxWaits.
type search struct {
	v         *state.View
	workspace string
	seen      map[string]bool // values may refer to each other
	open      []state.Reference
}

func (s *search) look(refs []state.Reference) {
	for _, r := range refs {
		if r.Kind != state.KindExecution || s.seen[r.ID] || len(s.open) == maxWaits {
			continue
		}
		s.seen[r.ID] = true
		value, over := final(s.v, s.workspace, r)
		switch {
		case !over:
			s.open = append(s.open, r)
		case value != nil:
			s.look(value.References)
		}
	}
}

// WaitsFor lists what an execution that was not given away waits for.
func WaitsFor(v *state.View, e *state.Execution) (open []state.Reference) {
	if e.Wait == state.WaitNone || e.Result != nil {
		return nil
	}
	for w := range v.Waits(e.ID()) {
		open = append(open, state.Reference{Kind: w.Kind, ID: w.On})
	}
	return open
}

// wake marks that an execution has come to its end, if it has, and somebody waits for it or for one that arrives at it:
// they go on in a sweep, however many they are.
func (d *decision) wake(id state.ExecutionID) {
	if !d.AnyWaits() || Outcome(&d.View, id) == nil {
		return
	}
	for e := range Chain(&d.View, id) {
		for range d.Waiters(state.KindExecution, e.ID().String()) {
			d.Put(&state.Sweep{ID: "wake " + id.String(), Kind: state.SweepWake, Subject: id.String()})
			return
		}
	}
}

// wakeInput marks that an input has its response, and somebody waits for it.
func (d *decision) wakeInput(id state.InputID) {
	for range d.Waiters(state.KindInput, id.String()) {
		d.Put(&state.Sweep{ID: "wake " + id.String(), Kind: state.SweepWake, Subject: id.String()})
		return
	}
}

// sweepWake lets go on what waits for an execution, or for one that arrives at it, or for an input.
func (d *decision) sweepWake(s *state.Sweep, limit int) (used int, done bool) {
	subject := []state.Reference{{Kind: state.KindInput, ID: s.Subject}}
	if id, ok := state.ParseExecutionID(s.Subject); ok {
		subject = nil
		for e := range Chain(&d.View, id) {
			subject = append(subject, state.Reference{Kind: state.KindExecution, ID: e.ID().String()})
		}
	}
	for _, r := range subject {
		for w := range d.Waiters(r.Kind, r.ID) {
			if used >= limit {
				return used, false
			}
			used += d.goOn(w)
		}
	}
	return used, true
}

// goOn ends one wait; it gives how many rows it changed. Of those that wait for any, and of what ended while it waited,
// rows are left behind: each goes when what it names is final.
func (d *decision) goOn(w *state.Wait) (rows int) {
	d.Delete(w)
	id, _ := state.ParseExecutionID(w.Execution)
	e := d.Execution(id)
	if e == nil || e.Wait == state.WaitNone || e.Result != nil {
		return 1
	}
	next := *e
	if next.Wait = state.WaitNone; e.Wait == state.WaitAll {
		if value, _ := final(&d.View, e.Workspace, state.Reference{Kind: w.Kind, ID: w.On}); value != nil {
			rows = d.await(e, value.References)
		}
		for range d.Waits(id) {
			return 1 + rows
		}
		d.awaitArguments(&next)
	}
	if next.Wait == state.WaitNone {
		d.Put(&next)
		if !d.underCancel(&next) {
			d.nowDue(id)
		}
	}
	return 2
}

// maxSearch bounds the search of waitingFor.
const maxSearch = 1000

// waitsFor tells whether the unfinished x may have to wait for e: then e must not wait for x, nor have its outcome. Where
// that cannot be told it is taken to be so, which costs only a call.
func (d *decision) waitsFor(x, e *state.Execution) bool {
	waiting, all := d.waitingFor(e)
	return !all || waiting[x.ID()]
}

// waitingFor gives who may have to wait for an execution: itself, what called it, was given it or does not start before it
// is final, up to the root, and whatever has its outcome with what called that. all is false when there are too many.
func (d *decision) waitingFor(e *state.Execution) (waiting map[state.ExecutionID]bool, all bool) {
	open, waiting := []*state.Execution{e}, map[state.ExecutionID]bool{}
	add := func(id string) *state.Execution {
		parsed, ok := state.ParseExecutionID(id)
		if !ok {
			return nil
		}
		x := d.Execution(parsed)
		if x != nil {
			open = append(open, x)
		}
		return x
	}
	for len(open) > 0 {
		w := open[len(open)-1]
		open = open[:len(open)-1]
		if waiting[w.ID()] {
			continue
		}
		if waiting[w.ID()] = true; len(waiting) > maxSearch {
			return waiting, false
		}
		for same := range d.Linked(w.ID()) { // with the next this comes to all of its Chain, once
			open = append(open, same)
		}
		if before := retriedBy(&d.View, w); before != nil {
			open = append(open, before)
		}
		for h := range d.HitsOf(w.ID()) {
			add(h.Parent)
		}
		for h := range d.Waiters(state.KindExecution, w.ID().String()) {
			if x := add(h.Execution); x != nil && x.Wait == state.WaitNone {
				open = open[:len(open)-1] // left behind
			}
		}
		if by := parentOf(&d.View, w.ID().StepID()); by != nil {
			// Later attempts, too, may be given what an earlier one has called.
			open = append(open, by, lastAttempt(&d.View, by), d.LatestAttempt(by.ID().StepID()))
		}
	}
	return waiting, true
}
