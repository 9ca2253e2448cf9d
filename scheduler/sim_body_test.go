package scheduler_test

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// simBody is user code: it calls, waits, cancels, raises or returns as its argument says.
type simBody struct {
	*simAgent
	id    string
	depth byte
	// recurrent: the step runs again when it gives null.
	recurrent bool
	// durable: it is resumed when it vanishes; placed: its calls are known by their place.
	durable, placed bool
	rng             *rand.Rand
	left            int // calls still to make
	number          int64
	children        []string
	equal           map[string]int                   // calls made so far, by what they have in common
	calls           map[string]*scheduler.SubmitStep // by the child that was answered
	wait            string                           // the child that it waits for
	blocked         bool
	asking          bool
	request         scheduler.Request
	answered        func(scheduler.Reply)
	asker           asker
	keeper          keeper
}

func newSimBody(a *simAgent, id string) *simBody {
	e := execution(a.view(), id)
	step := a.view().Step(e.ID().StepID())
	arguments := step.Arguments[0].Data
	b := &simBody{simAgent: a, id: id, calls: map[string]*scheduler.SubmitStep{}, depth: arguments[0], rng: rand.New(rand.NewPCG(binary.BigEndian.Uint64(arguments[1:]), uint64(2+e.Attempt)))}
	b.recurrent, b.durable, b.placed = step.Recurrent, step.Durable, a.view().Run(e.Run).Durable
	b.keeper = keeper{rng: rand.New(rand.NewPCG(binary.BigEndian.Uint64(arguments[1:]), uint64(2000+e.Attempt))), left: 2}
	b.asker = asker{rng: rand.New(rand.NewPCG(binary.BigEndian.Uint64(arguments[1:]), uint64(1000+e.Attempt))), left: 2}
	if b.depth > 0 && (e.Attempt <= 3 || b.durable && e.Attempt <= 6) { // a history has to come to an end
		b.left = b.rng.IntN(3) + int(b.depth/3)
	}
	return b
}

// run goes on until the body waits for something or has ended.
func (b *simBody) run() {
	for b.bodies[b.id] == b && !b.asking {
		switch {
		case b.request != nil:
			b.asking = true
			b.ask(b.request, func(r scheduler.Reply) {
				b.asking, b.request = false, nil
				b.answered(r)
			})
		case b.wait != "":
			if !b.look() {
				return
			}
		case b.asker.wait != "":
			if !b.lookInput() {
				return
			}
		case b.keeps():
		case !b.asks():
			b.next()
		}
	}
}

// next chooses what the body does now.
func (b *simBody) next() {
	n := b.rng.IntN(100)
	switch {
	case b.durable && !b.calm && attempt(b.id) < 8 && b.rng.IntN(6) == 0:
		b.vanish()
	case b.left > 0 && n < 60:
		b.left--
		b.call()
	case len(b.children) > 0 && n < 75:
		b.wait = b.children[b.rng.IntN(len(b.children))]
	case len(b.children) > 0 && n < 80:
		child := b.children[b.rng.IntN(len(b.children))]
		b.request = &scheduler.CancelHandles{Session: b.session, Execution: b.id, Handles: []string{child, "Rnone:1:1"}}
		if b.rng.IntN(4) == 0 { // or any other one, of whatever project
			b.request = &scheduler.CancelHandles{Session: b.session, Execution: b.id, Handles: []string{b.oracle.anyExecution(b.rng)}}
		}
		b.answered = b.orDie
	case n < 83 && attempt(b.id) < maxSimSuspensions && !b.calm:
		b.suspend()
	case n < 84 && !b.calm:
		b.vanish()
	case n < 86:
		failure := &state.Error{Type: "ValueError", Message: b.id}
		if b.rng.IntN(3) == 0 {
			retryable := b.rng.IntN(2) == 0
			failure.Retryable = &retryable
		}
		b.end(state.Result{Type: state.ResultError, Error: failure})
	case n < 89:
		b.end(state.Result{Type: state.ResultTimeout})
	case b.left == 0:
		data := []byte(b.id)
		if b.recurrent && b.rng.IntN(3) > 0 && attempt(b.id) < 6 || !b.recurrent && b.rng.IntN(20) == 0 {
			data = []byte("null")
		}
		value := &state.Value{Data: data}
		if string(data) != "null" && b.rng.IntN(3) == 0 {
			value.References = refer(b.someChildren()).References
		}
		if string(data) != "null" {
			value.References = append(value.References, b.keeper.some()...)
		}
		b.end(state.Result{Type: state.ResultValue, Value: value})
	}
}

func (b *simBody) call() {
	b.number++
	t := simTargets[b.rng.IntN(len(simTargets))]
	r := &scheduler.SubmitStep{Session: b.session, Parent: b.id, Number: b.number, Module: t.Module, Target: t.Name, Type: t.Type,
		Arguments: []state.Value{program(b.depth-1, b.rng.Uint64())}, Requires: drawRequires(b.rng)}
	r.Recurrent, r.Durable = b.rng.IntN(5) == 0, b.rng.IntN(3) == 0
	if b.rng.IntN(4) > 0 {
		share(r, b.depth-1, b.rng)
	}
	if len(b.children) > 0 && b.rng.IntN(3) == 0 {
		b.awaiting(r)
	}
	if b.depth > 1 && !b.calm && b.rng.IntN(6) == 0 {
		b.conspire(r)
	}
	if b.rng.IntN(6) == 0 {
		r.Delay = int64(b.rng.IntN(200))
	}
	if b.rng.IntN(3) == 0 {
		r.Retries = b.retries()
	}
	if b.rng.IntN(3) == 0 {
		r.Cache = someCache(b.rng)
	}
	if b.rng.IntN(3) == 0 {
		r.Defer = someParams(b.rng)
	}
	if b.placed && b.rng.IntN(2) == 0 { // one of few calls
		r.Type, r.Module, r.Target, r.Memo = state.TypeTask, "m", "a", nil
		r.Arguments = []state.Value{program(b.depth-1, 1)}
	}
	b.count(r)
	b.request = r
	b.answered = func(reply scheduler.Reply) {
		b.orDie(reply)
		b.children = append(b.children, reply.Answer.ExecutionID)
		b.calls[reply.Answer.ExecutionID] = r
	}
}

// orDie: a refusal means that the execution is over for the mesh; the agent kills it.
func (b *simBody) orDie(r scheduler.Reply) {
	if r.Err != nil {
		delete(b.bodies, b.id)
	}
}

// look reads the outcome of what the body waits for; false while there is none.
func (b *simBody) look() bool {
	id, _ := state.ParseExecutionID(b.wait)
	r := scheduler.Outcome(b.view(), id)
	b.blocked = r == nil
	if r == nil {
		return false
	}
	last, want := b.oracle.outcome(b.wait)
	if got := resultText(r); got != want {
		b.failf("%s waited for %s and saw %s, recorded is %s", b.id, b.wait, got, want)
	}
	if r.Type == state.ResultValue && string(r.Value.Data) != last && string(r.Value.Data) != "null" {
		b.failf("%s waited for %s and was given the value of %s", b.id, b.wait, r.Value.Data)
	}
	if r.Type.Failed() && !b.calm && b.rng.IntN(3) == 0 {
		b.send(b.calls[b.wait], nil) // a copy that was long on its way: it must not be another call
	}
	b.wait = ""
	return true
}

func (b *simBody) end(r state.Result) {
	delete(b.bodies, b.id)
	b.results[b.id] = r
}
