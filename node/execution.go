package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/coflux-mesh/coflux/scheduler"
)

// execution is one body that the agent accepted: it lives from its assignment until its process is gone and its result,
// if it has one, is committed.
type execution struct {
	a   *agent
	id  string
	run string
	// assign says what to run.
	assign *Assign
	// effects keeps the order of what the body asks for, while values are moved to and from blobs.
	effects serial
	// equal counts the calls of a durable run by scheduler.CallKey. Only effects touches it.
	equal  map[string]int
	ctx    context.Context // ends with the process
	cancel context.CancelFunc
	series *series // of its metrics
	files  *assetFiles

	// The rest is guarded by a.mu.
	selects map[int64]*selecting
	// suspending: its suspension was asked for.
	suspending bool
	reported   bool // a result was handed to the leader
	committed  bool // and the leader has it
	aborted    bool // the leader wants no result
	ended      bool // the process is gone
	void       bool // the session is lost
}

var _ pyexec.Host = (*execution)(nil)

// assigned accepts an execution, once.
func (a *agent) assigned(w *Assign) {
	id, ok := state.ParseExecutionID(w.Execution)
	a.mu.Lock()
	if !ok || a.executions[w.Execution] != nil || a.known.has(w.Execution) {
		a.mu.Unlock()
		return // known: what became of it is on its way already (rules A4)
	}
	e := &execution{a: a, id: w.Execution, run: id.Run, assign: w, selects: map[int64]*selecting{}, files: newAssetFiles()}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.series = newSeries(e.keepMetric, e.warnMetric)
	a.executions[e.id] = e
	if a.runs[e.run] == nil {
		a.runs[e.run] = &runCache{outcomes: map[string]*Outcome{}}
	}
	a.runs[e.run].live++
	a.mu.Unlock()
	a.Trace.at(e.id, "assign_received")
	a.wg.Go(e.start)
}

// start hands the body to Python.
func (e *execution) start() {
	job := pyexec.Job{ExecutionID: e.id, Module: e.assign.Module, Target: e.assign.Target,
		Timeout: time.Duration(e.assign.TimeoutMS) * time.Millisecond}
	for i, v := range e.assign.Arguments {
		arg, err := e.a.Values.toPython(e.ctx, &v)
		if err != nil {
			e.fail(fmt.Sprintf("argument %d: %v", i, err))
			return
		}
		job.Arguments = append(job.Arguments, arg)
	}
	for e.admitted() {
		err := e.a.Runner.Run(job, e)
		if errors.Is(err, pyexec.ErrFenced) {
			e.a.refused() // nothing was started
			continue
		}
		if err != nil {
			e.fail(err.Error())
		} else if e.unwanted() {
			e.a.Runner.Kill(e.id) // whoever wanted its end met no process yet
		}
		return
	}
}

// unwanted tells whether nothing that the body could still do counts.
func (e *execution) unwanted() bool {
	e.a.mu.Lock()
	defer e.a.mu.Unlock()
	return e.aborted || e.void
}

// admitted tells whether the body may begin now. It waits for a runner that is on its way back from a fence.
func (e *execution) admitted() bool {
	for {
		e.a.mu.Lock()
		gone, fenced, reviving := e.aborted || e.void, e.a.lease.expired, e.a.lease.reviving
		e.a.mu.Unlock()
		switch {
		case gone:
			e.Terminated()
			return false
		case fenced:
			e.Lost()
			return false
		case reviving == nil:
			return true
		}
		<-reviving
	}
}

// fail ends an execution whose body never began.
func (e *execution) fail(message string) {
	e.Result(pyexec.Result{Error: &pyexec.Error{Type: pyexec.TypeInternal, Message: message}})
	e.Terminated()
}

// abort kills an execution whose result the leader has decided.
func (a *agent) abort(id string) {
	a.mu.Lock()
	e := a.executions[id]
	running := e != nil && !e.ended
	var replies []func(*pyexec.Outcome, error)
	if e != nil {
		replies = e.giveUpLocked()
		e.aborted = true
		e.cancel() // values on their way to or from it are not wanted
		a.forgetLocked(e)
	}
	a.mu.Unlock()
	for _, reply := range replies {
		reply(nil, nil)
	}
	if running {
		a.Runner.Kill(id)
	}
}

// idleNow tells whether the agent holds no execution.
func (a *agent) idleNow() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.executions) == 0
}

// forgetLocked drops an execution when nothing more can come of it. mu is held.
func (a *agent) forgetLocked(e *execution) {
	if !e.ended || !(e.committed || e.aborted || e.void) || a.executions[e.id] != e {
		return
	}
	delete(a.executions, e.id)
	a.known.add(e.id)
	if c := a.runs[e.run]; c != nil {
		if c.live--; c.live == 0 {
			delete(a.runs, e.run)
		}
	}
	if len(a.executions) == 0 && a.idle != nil {
		close(a.idle)
		a.idle = nil
	}
}

// Result reports how the body ended, after all that it asked for before.
func (e *execution) Result(r pyexec.Result) {
	e.a.Trace.at(e.id, "body_result")
	e.series.end()
	e.effects.do(func() {
		result, err := e.a.Values.resultToState(e.ctx, r)
		if r.Release != nil {
			r.Release()
		}
		if err != nil {
			result = state.Result{Type: state.ResultError, Error: &state.Error{Type: pyexec.TypeInternal, Message: "result: " + err.Error()}}
		}
		e.report(result)
	})
}

func (e *execution) report(result state.Result) {
	e.a.mu.Lock()
	defer e.a.mu.Unlock()
	if e.reported || e.aborted || e.void {
		return
	}
	e.reported = true
	e.a.askLocked(&scheduler.ReportResult{Session: e.a.session, Execution: e.id, Result: result}, e.resultAnswered)
}

// resultAnswered learns that the result is committed, or refused for good because the leader has decided otherwise.
func (e *execution) resultAnswered(reply scheduler.Reply) {
	if reply.Err != nil && reply.Err.Code != scheduler.CodeFenced {
		// The result itself cannot be kept (too large): the execution still needs one.
		e.a.mu.Lock()
		e.reported = false
		e.a.mu.Unlock()
		e.report(state.Result{Type: state.ResultError, Error: &state.Error{Type: pyexec.TypeInternal, Message: "result: " + reply.Err.Message}})
		return
	}
	e.a.mu.Lock()
	defer e.a.mu.Unlock()
	e.committed = true
	e.a.forgetLocked(e)
}

// Terminated learns that the process group is gone: the slot is free. A body that ended without a word by itself has
// been given a result by the runner.
func (e *execution) Terminated() {
	e.effects.do(func() { e.end("") })
}

// Lost learns that the fence or the guard has killed the body.
func (e *execution) Lost() {
	e.effects.do(func() {
		e.end("node " + e.a.Open.NodeName + " lost contact with the mesh and killed what it ran")
	})
}

func (e *execution) end(lost string) {
	if lost != "" {
		e.report(state.Result{Type: state.ResultAbandoned, Reason: lost})
	}
	e.series.end()
	e.cancel()
	a := e.a
	a.mu.Lock()
	defer a.mu.Unlock()
	e.ended = true
	for _, q := range e.selects {
		e.withdrawLocked(q)
	}
	if a.stream == nil {
		a.endedAway = append(a.endedAway, e.id)
	}
	a.sendLocked(&Frame{Terminated: &Terminated{Executions: []string{e.id}}})
	a.forgetLocked(e)
}
