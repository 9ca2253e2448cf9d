package node

import (
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/coflux-mesh/coflux/scheduler"
)

// Suspend has the execution end without an outcome, and another attempt follow it. What the body asked for before is
// decided before.
func (e *execution) Suspend(req pyexec.SuspendRequest, reply func(error)) {
	e.effects.do(func() {
		r := &scheduler.Suspend{Execution: e.id, Delay: int64(req.Delay), ExecuteAfter: int64(req.ExecuteAfter)}
		if r.Delay > 0 {
			r.ExecuteAfter = 0 // was counted by another clock
		}
		e.a.mu.Lock()
		defer e.a.mu.Unlock()
		e.suspendLocked(r, func(err *scheduler.Error) {
			if err != nil {
				reply(&pyexec.RequestError{Code: "suspend_error", Message: err.Message})
				return
			}
			reply(nil)
		})
	})
}

// suspendLocked asks for the suspension. answer is told why there is none, or nil right before the process is killed. mu
// is held.
func (e *execution) suspendLocked(r *scheduler.Suspend, answer func(refusal *scheduler.Error)) {
	e.suspending = true
	e.askLocked(r, func(p scheduler.Reply) {
		if p.Err != nil {
			e.a.mu.Lock()
			e.suspending = false
			e.a.mu.Unlock()
			answer(p.Err) // where the execution is over for the leader, it says so itself
			return
		}
		answer(nil)
		e.a.abort(e.id)
	})
}

// suspendLocked ends a wait, whose time is over, with the suspension of the execution until one of the handles is final. What
// becomes final meanwhile is the next attempt's. mu is held.
func (q *selecting) suspendLocked() {
	q.suspending = true
	r := &scheduler.Suspend{Execution: q.e.id}
	for _, h := range q.handles {
		kind := state.KindExecution
		if _, input := state.ParseInputID(h); input {
			kind = state.KindInput
		}
		r.Handles = append(r.Handles, state.Reference{Kind: kind, ID: h})
	}
	q.e.suspendLocked(r, func(refusal *scheduler.Error) {
		if refusal == nil {
			return // it is answered with all others
		}
		a := q.e.a
		a.mu.Lock()
		reply := q.reply
		if reply != nil {
			q.e.withdrawLocked(q)
			a.sendLocked(&Frame{Unblock: &Unblock{Execution: q.e.id, Number: q.request.Number}})
		}
		a.mu.Unlock()
		if reply != nil {
			reply(nil, &pyexec.RequestError{Code: "select_error", Message: refusal.Code + ": " + refusal.Message})
		}
	})
}

// giveUpLocked ends all waits of a suspended execution without a winner. The replies have to be called without mu, which is
// held.
func (e *execution) giveUpLocked() (replies []func(*pyexec.Outcome, error)) {
	if !e.suspending {
		return nil
	}
	for _, q := range e.selects {
		replies = append(replies, q.reply)
		e.withdrawLocked(q)
	}
	return replies
}

// startTimer has a wait end when its time is over. The time goes on while there is no leader.
func (q *selecting) startTimer() {
	if t := q.request.Timeout; t != nil && *t > 0 {
		q.timer = time.AfterFunc(t.Duration(), q.expire)
	}
}
