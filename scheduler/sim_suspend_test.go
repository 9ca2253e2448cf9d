package scheduler_test

import (
	"errors"
	"fmt"
	"slices"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// maxSimSuspensions bounds the attempts after which a body of the simulator does not suspend itself any more.
const maxSimSuspensions = 6

// suspend has the body give its process up, for a while, or until one of its children is over.
func (b *simBody) suspend() {
	r := &scheduler.Suspend{Session: b.session, Execution: b.id}
	switch b.rng.IntN(4) {
	case 0:
		r.Delay = int64(b.rng.IntN(300))
	case 1:
		r.ExecuteAfter = b.now + int64(b.rng.IntN(400)) - 100
	default:
		for _, id := range b.someChildren() {
			r.Handles = append(r.Handles, state.Reference{Kind: state.KindExecution, ID: id})
		}
		if asked := b.asker.inputs; len(asked) > 0 {
			r.Handles = append(r.Handles, state.Reference{Kind: state.KindInput, ID: asked[b.rng.IntN(len(asked))]})
		}
	}
	b.request = r
	b.answered = func(reply scheduler.Reply) {
		b.orDie(reply)
		delete(b.bodies, b.id)
	}
}

// someChildren are up to three of what the body has called.
func (b *simBody) someChildren() (ids []string) {
	for range min(len(b.children), 1+b.rng.IntN(3)) {
		ids = append(ids, b.children[b.rng.IntN(len(b.children))])
	}
	return ids
}

// awaiting gives a call an argument that refers to what the body has called before, and mostly has it wait for that.
func (b *simBody) awaiting(r *scheduler.SubmitStep) {
	ids := b.someChildren()
	r.Arguments = append(r.Arguments, refer(ids))
	if b.rng.IntN(5) > 0 {
		r.WaitFor = []int{len(r.Arguments) - 1, 7}
	}
}

// refer is a value that refers to executions; its text says to which, so that equal texts are equal values.
func refer(ids []string) state.Value {
	v := state.Value{Data: []byte(fmt.Sprint("refs ", ids))}
	for _, id := range ids {
		v.References = append(v.References, state.Reference{Kind: state.KindExecution, ID: id})
	}
	return v
}

func referred(v *state.Value) (ids []string) {
	for _, r := range v.References {
		if r.Kind != state.KindAsset {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// suspended books the attempt that follows a suspension.
func (o *oracle) suspended(r *scheduler.Suspend, reply scheduler.Reply, now int64) error {
	e, code := o.speaks(r.Session, r.Execution)
	if e == nil {
		return refusedAs(reply, code)
	}
	if reply.Err != nil {
		return errors.New("a session that may speak was refused")
	}
	switch {
	case e.result != "":
	case e.doomed:
		e.result = "cancelled"
	default:
		e.result = "suspended"
		due := max(now, now+r.Delay, r.ExecuteAfter)
		next := o.again(e, e.workspace, now, due)
		next.before, e.retry, next.latest, next.after = e, next, due, after(now, due-now)
		if e.durable {
			next.later = ""
		}
		if next.lap = e.lap; !o.progress(e) {
			next.losses = e.losses
		}
		for _, h := range r.Handles {
			next.any = append(next.any, h.ID)
			if in := o.inputs[h.ID]; in != nil {
				in.awaits[e.id] = true
			}
		}
		next.waiting = o.waits(next)
		o.collapse(next)
	}
	return nil
}

// waitFor notes what a call waits for before it starts.
func (e *oracleExec) waitFor(indexes []int, arguments []state.Value) *oracleExec {
	for _, i := range indexes {
		if i < len(arguments) {
			e.all = append(e.all, referred(&arguments[i])...)
		}
	}
	return e
}

// waits tells whether an execution must not start yet: counted from the ends themselves. What may have to wait for it is
// not waited for.
func (o *oracle) waits(e *oracleExec) bool {
	if len(e.any) > 0 {
		return o.anyOpen(e)
	}
	open := o.open(e.all, map[string]bool{e.id: true})
	if len(open) == 0 {
		return false
	}
	waiting := o.waitingFor(e)
	for _, id := range open {
		if last, _ := o.outcome(id); !waiting[last] {
			return true
		}
	}
	return false
}

// anyOpen tells whether none of those is over of which one is enough.
func (o *oracle) anyOpen(e *oracleExec) bool {
	for _, id := range e.any {
		if in := o.inputs[id]; in != nil && in.response != "" {
			return false
		} else if in != nil {
			continue
		}
		if _, result := o.outcome(id); result != "" {
			return false
		}
	}
	return true
}

// open are those of the executions, and of those that their values refer to, that are not over.
func (o *oracle) open(ids []string, seen map[string]bool) (open []string) {
	for _, id := range ids {
		if o.execs[id] == nil || seen[id] {
			continue
		}
		seen[id] = true
		if last, result := o.outcome(id); result == "" {
			open = append(open, id)
		} else {
			open = append(open, o.open(o.execs[last].refs, seen)...)
		}
	}
	return open
}

// waitingFor are the executions that may have to wait for one.
func (o *oracle) waitingFor(e *oracleExec) map[string]bool {
	waiting := map[string]bool{}
	todo := []*oracleExec{e}
	for len(todo) > 0 {
		w := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if w == nil || waiting[w.id] {
			continue
		}
		waiting[w.id] = true
		todo = append(todo, w.parent)
		for _, id := range o.order {
			x := o.execs[id]
			if x.link == w || x.retry == w || x.waiting && slices.Contains(append(o.open(x.all, map[string]bool{}), x.any...), w.id) {
				todo = append(todo, x)
			}
			for _, found := range x.hits {
				if found == w.id {
					todo = append(todo, x)
				}
			}
		}
	}
	return waiting
}

// woken follows what goes on in this turn, in the order in which it does where that matters.
func (o *oracle) woken(t *turn) error {
	finished := map[string]bool{}
	var order []string
	for _, ev := range t.out.Events {
		if id := ev.Execution.String(); ev.Kind == scheduler.EventFinished && !finished[id] {
			finished[id] = true
			order = append(order, id)
		}
	}
	for _, id := range o.order {
		if !finished[id] {
			order = append(order, id)
		}
	}
	for _, name := range order {
		e := o.execs[name]
		id, _ := state.ParseExecutionID(name)
		row := o.view.Execution(id)
		switch {
		case e == nil || row == nil || e.result != "":
			continue
		case !e.waiting && row.Wait != state.WaitNone:
			return fmt.Errorf("%s waits for nothing", name)
		case !e.waiting:
			continue
		case row.Wait == state.WaitNone && o.waits(e):
			return fmt.Errorf("%s goes on although not all that it waits for is over: %v %v", name, e.all, e.any)
		case row.Wait == state.WaitNone:
			e.waiting = false
			if (e.after == 0 || e.fell) && !e.doomed {
				if err := o.begins(e, t.now); err != nil {
					return err
				}
			}
		case row.Result == nil && !t.out.More && !(len(e.any) > 0 && o.anyOpen(e)) && len(o.open(e.all, map[string]bool{e.id: true})) == 0:
			return fmt.Errorf("%s still waits for %v %v", name, e.all, e.any)
		}
	}
	return nil
}

// waits are what is waited for before a start.
func (s *sim) waits() (all []string) {
	for _, id := range s.oracle.order {
		for _, on := range scheduler.WaitsFor(s.view(), execution(s.view(), id)) {
			all = append(all, id+" waits for "+on.ID)
		}
	}
	return all
}

// waitsLeft finds rows that wait for what is over. Those that wait for a question nobody has answered stay.
func (o *oracle) waitsLeft(v *state.View) error {
	for _, id := range o.order {
		for w := range v.Waits(execution(v, id).ID()) {
			if in := o.inputs[w.On]; in == nil || in.response != "" {
				return fmt.Errorf("%s still waits for %s", w.Execution, w.On)
			}
		}
	}
	return nil
}
