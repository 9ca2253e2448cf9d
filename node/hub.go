package node

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// hub is what a leader knows of its agents beyond the state (rules 4.3): rebuilt from one Hello per agent, gone with the
// leadership.
type hub struct {
	l       *leader
	started time.Duration

	mu     sync.Mutex // guards all below and the fields of links
	closed bool
	links  map[string]*link // by session; the latest stream of each
	// renewals are the times at which sessions were last heard of; the leader's start for those not in it.
	renewals map[string]time.Duration
	// losing are the sessions whose lease has run out and whose loss is being decided: none of them is renewed any more.
	losing map[string]bool
	// waiters are, by awaited execution or input, the waits for it.
	waiters map[string]map[waiter]bool
}

// link is the stream of one agent, reconciled.
type link struct {
	session   string
	workspace string
	stream    stream
	serves    map[state.Class]bool
	// held are the executions given to the agent whose processes are not known to be gone.
	held    map[string]*heldExecution
	running int // of held, not blocked
	roots   int // of held, roots
}

type heldExecution struct {
	root    bool
	blocked bool               // in a wait, using no slot
	waits   map[int64][]string // by number: what each wait of it is for
}

// waiter is one wait of an execution.
type waiter struct {
	session, execution string
	number             int64
}

func newHub(l *leader) *hub {
	return &hub{l: l, started: l.clock(), links: map[string]*link{}, renewals: map[string]time.Duration{},
		losing: map[string]bool{}, waiters: map[string]map[waiter]bool{}}
}

// close cuts all streams.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	links := slices.Collect(maps.Values(h.links))
	h.links = map[string]*link{}
	h.mu.Unlock()
	for _, k := range links {
		k.stream.cut()
	}
}

// soft gives the scheduler its view of the reachable agents.
func (h *hub) soft() scheduler.Soft {
	h.mu.Lock()
	defer h.mu.Unlock()
	soft := scheduler.Soft{Sessions: make(map[string]scheduler.SoftSession, len(h.links)), Holds: h.holds}
	for id, k := range h.links {
		soft.Sessions[id] = scheduler.SoftSession{Running: k.running, Roots: k.roots, Serves: k.serves}
	}
	return soft
}

// holds tells whether an agent still holds an execution.
func (h *hub) holds(session, execution string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.links[session]
	return k != nil && k.held[execution] != nil
}

// renewed notes a renewal that was heard at the given time; false when the session is being given up: then it must not
// be answered.
func (h *hub) renewed(session string, at time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.losing[session] {
		return false
	}
	if last, ok := h.renewals[session]; !ok || at > last {
		h.renewals[session] = at
	}
	return true
}

// expired tells whether a session has not been renewed for T_abandon. From then on it is not renewed, until kept.
func (h *hub) expired(session string, abandon time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok := h.renewals[session]
	if !ok {
		at = h.started
	}
	if h.losing[session] || h.l.clock()-at < abandon {
		return false
	}
	h.losing[session] = true
	return true
}

// kept takes expired back: the session could not be given up.
func (h *hub) kept(session string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.losing, session)
}

// attach makes a stream the session's one and reconciles both sides (rules A3, A4): what the agent does not know is sent
// again, what it holds in vain is aborted. false when the leadership is over, or the session, which may have been lost
// since it was admitted: the loss was told to those attached by then.
func (h *hub) attach(hello *Hello, s stream, welcome *Welcome) bool {
	id := hello.Open.Session
	var old *link
	defer func() {
		if old != nil {
			old.stream.cut() // takes its time, so not under the lock
		}
	}()
	h.mu.Lock()
	defer h.mu.Unlock()
	row := h.l.store.View().Session(id)
	if h.closed || row == nil || row.State == state.SessionLost {
		return false
	}
	if old = h.links[id]; old != nil {
		h.dropLocked(old)
	}
	k := &link{session: id, workspace: row.Workspace, stream: s, held: map[string]*heldExecution{}, serves: servesOf(row)}
	s.send(&Frame{Welcome: welcome})
	known := map[string]bool{}
	for _, e := range hello.Held {
		known[e] = true
	}
	view := h.l.store.View()
	for e := range view.Assigned(id) {
		name := e.ID().String()
		if !slices.Contains(hello.Ended, name) {
			k.hold(name, e.Tier == state.TierRoot)
		}
		if !known[name] {
			s.send(assignFrame(view, e))
		}
		delete(known, name)
	}
	for name := range known {
		if !slices.Contains(hello.Ended, name) {
			k.hold(name, false)
		}
		s.send(&Frame{Abort: &Abort{Execution: name}})
	}
	h.links[id] = k
	return true
}

// detach forgets a stream that has ended.
func (h *hub) detach(session string, s stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if k := h.links[session]; k != nil && k.stream == s {
		h.dropLocked(k)
	}
}

func (h *hub) dropLocked(k *link) {
	for name, e := range k.held {
		h.unwaitAllLocked(k, name, e)
	}
	delete(h.links, k.session)
}

// update takes over the targets that a session declares now.
func (h *hub) update(session string) {
	serves := servesOf(h.l.store.View().Session(session))
	h.mu.Lock()
	defer h.mu.Unlock()
	if k := h.links[session]; k != nil {
		k.serves = serves
	}
}

func servesOf(s *state.Session) map[state.Class]bool {
	if s == nil {
		return nil
	}
	serves := make(map[state.Class]bool, len(s.Targets))
	for _, t := range s.Targets {
		serves[state.Class{Workspace: s.Workspace, Module: t.Module, Target: t.Name, Type: t.Type}] = true
	}
	return serves
}

func (k *link) hold(execution string, root bool) {
	if k.held[execution] != nil {
		return
	}
	k.held[execution] = &heldExecution{root: root, waits: map[int64][]string{}}
	k.running++
	if root {
		k.roots++
	}
}

// terminated gives back what dead processes held.
func (h *hub) terminated(session string, executions []string) {
	h.mu.Lock()
	k := h.links[session]
	if k != nil {
		for _, name := range executions {
			e := k.held[name]
			if e == nil {
				continue
			}
			if !e.blocked {
				k.running--
			}
			if e.root {
				k.roots--
			}
			h.unwaitAllLocked(k, name, e)
			delete(k.held, name)
		}
	}
	h.mu.Unlock()
	h.l.kick()
}

// unwaitLocked ends one wait as a whole: it is answered, or taken back. What else it was for must not wake the
// execution out of a later wait. mu is held.
func (h *hub) unwaitLocked(w waiter, e *heldExecution) {
	for _, on := range e.waits[w.number] {
		delete(h.waiters[on], w)
		if len(h.waiters[on]) == 0 {
			delete(h.waiters, on)
		}
	}
	delete(e.waits, w.number)
}

func (h *hub) unwaitAllLocked(k *link, execution string, e *heldExecution) {
	for number := range e.waits {
		h.unwaitLocked(waiter{k.session, execution, number}, e)
	}
}

// selects answers a wait from the applied state, or registers it: look up, register, look up again (rules A17). While
// it waits the execution uses no slot (rules A1).
func (h *hub) selects(session string, q *Select) {
	if run := h.packedFor(session, q); run != "" {
		h.l.bring(run, func(err error) { h.selectsAgain(session, q, run, err) })
		return
	}
	h.mu.Lock()
	k := h.links[session]
	if k == nil || h.answerLocked(k, q) && !q.Poll {
		h.mu.Unlock()
		return
	}
	if q.Poll { // the end of the answer, whatever was found
		k.stream.send(&Frame{Nothing: &Nothing{Execution: q.Execution, Number: q.Number}})
		h.mu.Unlock()
		h.l.note(session, q)
		return
	}
	if e := k.held[q.Execution]; e != nil {
		if !e.blocked {
			e.blocked = true
			k.running--
		}
		w := waiter{session, q.Execution, q.Number}
		e.waits[q.Number] = q.Handles
		for _, on := range q.Handles {
			if h.waiters[on] == nil {
				h.waiters[on] = map[waiter]bool{}
			}
			h.waiters[on][w] = true
		}
		if h.answerLocked(k, q) { // it came in between
			h.goesOnLocked(k, w)
		}
	}
	h.mu.Unlock()
	h.l.kick()
	h.l.note(session, q)
}

// handlesPerRequest keeps a request about many executions well below what fits an entry.
const handlesPerRequest = 500

// note has the dependencies recorded with whatever entry comes next; nobody waits for it. Of a poll only those on inputs are:
// an input is shown to people once it was asked for.
func (l *leader) note(session string, q *Select) {
	var fresh []string
	view := l.store.View()
	for _, on := range q.Handles {
		_, input := state.ParseInputID(on)
		if (input || !q.Poll) && !view.HasDependency(q.Execution, on) {
			fresh = append(fresh, on)
		}
	}
	for some := range slices.Chunk(fresh, handlesPerRequest) {
		r := &scheduler.AddDependency{Session: session, Execution: q.Execution, On: some}
		_ = l.enqueue(r, false, func(scheduler.Reply, error) {})
	}
}

// answerLocked sends the outcomes of those handles that are final; false when none is. mu is held.
func (h *hub) answerLocked(k *link, q *Select) (any bool) {
	view := h.l.store.View()
	for _, name := range q.Handles {
		if o := outcomeOf(view, k.workspace, name); o != nil {
			k.stream.send(&Frame{Outcome: o})
			any = true
		}
	}
	return any
}

// outcomeOf an execution or input as seen from a workspace; nil while there is none.
func outcomeOf(view *state.View, workspace, name string) *Outcome {
	if _, ok := state.ParseInputID(name); ok {
		in := scheduler.VisibleInput(view, workspace, name)
		switch {
		case in == nil:
			return &Outcome{Execution: name, Unknown: true}
		case in.Response == nil:
			return nil
		}
		return &Outcome{Execution: name, Response: in.Response}
	}
	e := scheduler.Visible(view, workspace, name)
	if e == nil {
		return &Outcome{Execution: name, Unknown: true}
	}
	if r := scheduler.Outcome(view, e.ID()); r != nil {
		return &Outcome{Execution: name, Result: r}
	}
	return nil
}

// unblock says that an execution goes on, though nothing it waits for has come.
func (h *hub) unblock(session string, u *Unblock) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if k := h.links[session]; k != nil {
		h.goesOnLocked(k, waiter{session, u.Execution, u.Number})
	}
}

// goesOnLocked ends a wait; after the last one the execution uses a slot again. While another of its threads waits it
// uses none: nobody can tell whether the first one has more to do, and what the other waits for may need the slot. mu is
// held.
func (h *hub) goesOnLocked(k *link, w waiter) {
	e := k.held[w.execution]
	if e == nil {
		return
	}
	h.unwaitLocked(w, e)
	if e.blocked && len(e.waits) == 0 {
		e.blocked = false
		k.running++
	}
}
