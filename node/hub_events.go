package node

import (
	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// tell pushes what a committed entry means for agents. It never blocks: streams queue, and are cut when full.
func (h *hub) tell(events []scheduler.Event) {
	if len(events) == 0 {
		return
	}
	view := h.l.store.View()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		switch e.Kind {
		case scheduler.EventAssigned:
			h.assignedLocked(view, e)
		case scheduler.EventFinished:
			h.finishedLocked(view, e.Execution)
		case scheduler.EventAbort:
			if k := h.links[e.Session]; k != nil {
				k.stream.send(&Frame{Abort: &Abort{Execution: e.Execution.String()}})
			}
		case scheduler.EventSessionLost:
			if k := h.links[e.Session]; k != nil {
				k.stream.send(&Frame{Fenced: &Fenced{Reason: "the session was given up by the leader"}})
				h.dropLocked(k)
			}
			delete(h.renewals, e.Session)
			delete(h.losing, e.Session)
		case scheduler.EventResponded:
			if in := view.Input(e.Input); in != nil && in.Response != nil {
				h.resolveLocked(&Outcome{Execution: e.Input.String(), Response: in.Response})
			}
		}
	}
}

func (h *hub) assignedLocked(view *state.View, e scheduler.Event) {
	k, execution := h.links[e.Session], view.Execution(e.Execution)
	if k == nil || execution == nil || execution.Result != nil {
		return // reconciled when the agent comes back
	}
	k.hold(e.Execution.String(), execution.Tier == state.TierRoot)
	k.stream.send(assignFrame(view, execution))
	h.l.trace.at(e.Execution.String(), "assign_sent")
}

func assignFrame(view *state.View, e *state.Execution) *Frame {
	a := &Assign{Execution: e.ID().String(), Workspace: e.Workspace, Module: e.Module, Target: e.Target, Root: e.Tier == state.TierRoot}
	if s := view.Step(e.ID().StepID()); s != nil {
		a.Arguments, a.TimeoutMS = s.Arguments, s.Timeout
	}
	if run := view.Run(e.Run); run != nil {
		a.Durable = run.Durable
	}
	return &Frame{Assign: a}
}

// finishedLocked tells everybody who waits for the execution or for an attempt that it follows from, and the agent that
// holds the parent in any case: most waits are then answered without leaving the node. A failure that is followed by
// another attempt tells nobody.
func (h *hub) finishedLocked(view *state.View, id state.ExecutionID) {
	result := scheduler.Outcome(view, id)
	if result == nil {
		return
	}
	for e := range scheduler.Chain(view, id) {
		name := e.ID().String()
		told := h.resolveLocked(&Outcome{Execution: name, Result: result})
		if e.Attempt > 1 {
			continue // its parent knows the first attempt, and asks for another where it was given one
		}
		if session := parentSession(view, e.ID()); session != "" && !told[session] {
			if k := h.links[session]; k != nil {
				k.stream.send(&Frame{Outcome: &Outcome{Execution: name, Result: result}})
			}
		}
		h.l.trace.at(name, "outcome_sent")
	}
}

// resolveLocked ends the waits for an execution or input; it gives the sessions that were told.
func (h *hub) resolveLocked(o *Outcome) (told map[string]bool) {
	told = map[string]bool{}
	frame, name := &Frame{Outcome: o}, o.Execution
	for w := range h.waiters[name] {
		k := h.links[w.session]
		if k == nil {
			continue
		}
		h.goesOnLocked(k, w)
		if !told[w.session] {
			told[w.session] = true
			k.stream.send(frame)
		}
	}
	delete(h.waiters, name)
	return told
}

// parentSession is the session that runs the execution's caller, "" when nobody does.
func parentSession(view *state.View, id state.ExecutionID) string {
	s := view.Step(id.StepID())
	if s == nil {
		return ""
	}
	parent, ok := state.ParseExecutionID(s.Parent)
	if !ok {
		return ""
	}
	if e := view.Execution(parent); e != nil && e.Result == nil {
		return e.Session
	}
	return ""
}
