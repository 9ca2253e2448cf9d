package node

import (
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/pyexec"
)

// selecting is one wait of a body.
type selecting struct {
	e       *execution
	request pyexec.SelectRequest
	handles []string
	// looking: the leader has not said yet what is final already. Until then only the first of the handles can win.
	looking bool
	// suspending: its time is over, the execution is to be suspended.
	suspending bool
	found      map[int]*Outcome // by index of the handle
	timer      *time.Timer
	reply      func(*pyexec.Outcome, error) // nil once answered
}

// Select waits for the first of some executions and inputs to be final. The lowest index wins among those that are.
func (e *execution) Select(req pyexec.SelectRequest, reply func(*pyexec.Outcome, error)) {
	e.effects.do(func() {
		handles, err := selectHandles(req.Handles)
		if err == nil && len(handles) == 0 {
			err = &pyexec.RequestError{Code: "select_error", Message: "select needs at least one handle"}
		}
		if err != nil {
			reply(nil, err)
			return
		}
		q := &selecting{e: e, request: req, handles: handles, reply: reply, looking: true, found: map[int]*Outcome{}}
		e.a.mu.Lock()
		defer e.a.mu.Unlock()
		if e.ended || q.resolveLocked() {
			return
		}
		q.looking = q.looks()
		e.selects[req.Number] = q
		for _, h := range handles {
			if e.a.waiting[h] == nil {
				e.a.waiting[h] = map[*execution]bool{}
			}
			e.a.waiting[h][e] = true
		}
		q.startTimer()
		q.sendLocked()
	})
}

// atOnce tells whether it ends when nothing is final already.
func (q *selecting) atOnce() bool { return q.request.Timeout != nil && *q.request.Timeout <= 0 }

// looks tells whether the leader is asked what is final before it is waited for.
func (q *selecting) looks() bool { return q.atOnce() || len(q.handles) > 1 }

func (q *selecting) sendLocked() {
	q.e.a.sendLocked(&Frame{Select: &Select{Execution: q.e.id, Number: q.request.Number, Handles: q.handles, Poll: q.looking}})
}

// selectAgainLocked tells a new leader what the execution waits for. a.mu is held.
func (e *execution) selectAgainLocked() {
	for _, q := range e.selects {
		if !q.suspending {
			q.looking = q.looks()
			q.sendLocked()
		}
	}
}

// blockedLocked tells whether the body does nothing but wait. a.mu is held.
func (e *execution) blockedLocked() bool { return len(e.selects) > 0 }

// resolveLocked answers the wait if it is known which of the handles wins. a.mu is held.
func (q *selecting) resolveLocked() bool {
	if q.suspending {
		return false
	}
	if c := q.e.a.runs[q.e.run]; c != nil {
		for i, h := range q.handles {
			if o := c.outcomes[h]; o != nil {
				q.found[i] = o
			}
		}
	}
	winner := -1
	for i, o := range q.found {
		if o.Unknown && !q.looking { // the whole wait is wrong
			winner = i
			break
		}
		if winner < 0 || i < winner {
			winner = i
		}
	}
	if winner < 0 || q.looking && winner > 0 {
		return false
	}
	o, reply := q.found[winner], q.reply
	q.e.withdrawLocked(q)
	go q.deliver(winner, o, reply)
	return true
}

// deliver gives the body the outcome; values may have to be fetched for it.
func (q *selecting) deliver(winner int, o *Outcome, reply func(*pyexec.Outcome, error)) {
	if q.request.CancelRemaining && len(q.handles) > 1 && !o.Unknown {
		var rest []string
		for i, h := range q.handles {
			if _, input := state.ParseInputID(h); i != winner && !input { // inputs stay open
				rest = append(rest, h)
			}
		}
		q.e.cancelHandles(rest, func(error) { q.answer(winner, o, reply) }) // in the body's eyes both happen at once
		return
	}
	q.answer(winner, o, reply)
}

func (q *selecting) answer(winner int, o *Outcome, reply func(*pyexec.Outcome, error)) {
	if o.Unknown {
		_, input := state.ParseInputID(o.Execution)
		reply(nil, unknownHandle(o.Execution, input))
		return
	}
	var out *pyexec.Outcome
	var err error
	if o.Response != nil {
		out, err = q.e.a.Values.responseToPython(q.e.ctx, winner, o.Response)
	} else {
		out, err = q.e.a.Values.outcomeToPython(q.e.ctx, winner, o.Result)
	}
	if err != nil {
		reply(nil, &pyexec.RequestError{Code: "select_error", Message: err.Error()})
		return
	}
	q.e.a.Trace.at(o.Execution, "outcome_delivered")
	reply(out, nil)
}

// withdrawLocked ends a wait. a.mu is held.
func (e *execution) withdrawLocked(q *selecting) {
	delete(e.selects, q.request.Number)
	q.reply = nil
	if q.timer != nil {
		q.timer.Stop()
	}
	for _, h := range q.handles {
		still := false
		for _, other := range e.selects {
			for _, oh := range other.handles {
				still = still || oh == h
			}
		}
		if !still {
			delete(e.a.waiting[h], e)
			if len(e.a.waiting[h]) == 0 {
				delete(e.a.waiting, h)
			}
		}
	}
}

// expire ends a wait whose time is over, without a winner, or with the suspension of the execution.
func (q *selecting) expire() {
	a := q.e.a
	a.mu.Lock()
	reply := q.reply
	switch {
	case reply == nil:
	case q.request.Suspend:
		reply = nil // when it is decided
		q.suspendLocked()
	default:
		q.e.withdrawLocked(q)
		a.sendLocked(&Frame{Unblock: &Unblock{Execution: q.e.id, Number: q.request.Number}})
	}
	a.mu.Unlock()
	if reply != nil {
		reply(nil, nil)
	}
}

// outcome learns the final result of an execution or input: a wait for it goes on, a later one is answered from memory.
func (a *agent) outcome(o *Outcome) {
	id, ok := state.ParseExecutionID(o.Execution)
	a.mu.Lock()
	defer a.mu.Unlock()
	for e := range a.waiting[o.Execution] {
		if c := a.runs[e.run]; c != nil {
			c.outcomes[o.Execution] = o
		}
		for _, q := range e.selects {
			q.learnLocked(o)
		}
	}
	if c := a.runs[id.Run]; ok && c != nil && !o.Unknown {
		c.outcomes[o.Execution] = o
		for name := range c.outcomes {
			if len(c.outcomes) <= maxOutcomes {
				break
			}
			delete(c.outcomes, name)
		}
	}
}

// maxOutcomes bounds the outcomes of a run that are kept in memory. The leader is asked for what was dropped; whoever
// waited when it came was told.
const maxOutcomes = 10_000

// learnLocked takes the outcome over if it is of one of the handles. a.mu is held.
func (q *selecting) learnLocked(o *Outcome) {
	for i, h := range q.handles {
		if h == o.Execution {
			q.found[i] = o
		}
	}
	q.resolveLocked()
}

// nothing is told when the leader has looked: what is final has come before. A poll then ends, a suspending one suspends,
// and anything else begins to wait.
func (a *agent) nothing(n *Nothing) {
	a.mu.Lock()
	var reply func(*pyexec.Outcome, error)
	if e := a.executions[n.Execution]; e != nil {
		if q := e.selects[n.Number]; q != nil && q.looking {
			q.looking = false
			switch {
			case q.resolveLocked():
			case !q.atOnce():
				q.sendLocked()
			case q.request.Suspend:
				q.suspendLocked()
			default:
				reply = q.reply
				e.withdrawLocked(q)
			}
		}
	}
	a.mu.Unlock()
	if reply != nil {
		reply(nil, nil)
	}
}
