package node

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/journal"
	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/coflux-mesh/coflux/scheduler"
)

// Submit makes a call. Requests of one body are forwarded in order, without waiting for each other's commits.
func (e *execution) Submit(req pyexec.SubmitRequest, reply func(pyexec.SubmitReply, error)) {
	received := time.Now()
	e.effects.do(func() {
		r := &scheduler.SubmitStep{Parent: e.id, Number: req.Number, Module: req.Module, Target: req.Target,
			Type: state.TargetType(req.Type), Delay: int64(req.Delay), Timeout: int64(req.Timeout), Retries: retriesOf(req.Retries),
			Group: req.GroupID, Requires: req.Requires, Recurrent: req.Recurrent, WaitFor: req.WaitFor, Durable: req.Durable}
		if err := keyed(r, req); err != nil {
			reply(pyexec.SubmitReply{}, &pyexec.RequestError{Code: "submit_error", Message: err.Error()})
			return
		}
		for i, v := range req.Arguments {
			arg, err := e.a.Values.toState(e.ctx, &v)
			if err != nil {
				reply(pyexec.SubmitReply{}, &pyexec.RequestError{Code: "submit_error", Message: fmt.Sprintf("argument %d: %v", i, err)})
				return
			}
			r.Arguments = append(r.Arguments, arg)
		}
		e.count(r)
		e.ask(r, func(p scheduler.Reply) {
			if p.Err != nil {
				reply(pyexec.SubmitReply{}, &pyexec.RequestError{Code: "submit_error", Message: p.Err.Message})
				return
			}
			e.a.Trace.noted(p.Answer.ExecutionID, "submit_received", received)
			reply(pyexec.SubmitReply{ExecutionID: p.Answer.ExecutionID, Module: p.Answer.Module, Target: p.Answer.Target}, nil)
		})
	})
}

// count tells a call of a durable run apart from the equal ones that the body has made before.
func (e *execution) count(r *scheduler.SubmitStep) {
	if !e.assign.Durable {
		return
	}
	if e.equal == nil {
		e.equal = map[string]int{}
	}
	key := scheduler.CallKey(r)
	r.Equal = e.equal[key]
	e.equal[key]++
}

// memoOf reads the option memo of a call: absent, true, false or a list of indexes.
func memoOf(raw json.RawMessage) (*scheduler.Memo, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	memo := &scheduler.Memo{}
	if json.Unmarshal(raw, &memo.All) == nil {
		memo.Off = !memo.All
		return memo, nil
	}
	if json.Unmarshal(raw, &memo.Indexes) != nil {
		return nil, fmt.Errorf("memo is true, false or a list of indexes of arguments, not %s", raw)
	}
	return memo, nil
}

// ask sends a request in the name of the execution's session.
func (e *execution) ask(r scheduler.Request, done func(scheduler.Reply)) {
	e.a.mu.Lock()
	defer e.a.mu.Unlock()
	e.askLocked(r, done)
}

func (e *execution) askLocked(r scheduler.Request, done func(scheduler.Reply)) {
	if e.void || e.aborted {
		return // the process is being killed
	}
	switch r := r.(type) {
	case *scheduler.SubmitStep:
		r.Session = e.a.session
	case *scheduler.CancelHandles:
		r.Session = e.a.session
	case *scheduler.RegisterGroup:
		r.Session = e.a.session
	case *scheduler.SubmitInput:
		r.Session = e.a.session
	case *scheduler.Suspend:
		r.Session = e.a.session
	case *scheduler.PersistAsset:
		r.Session = e.a.session
	case *scheduler.UseAsset:
		r.Session = e.a.session
	}
	e.a.askLocked(r, done)
}

// retriesOf a call, as the state keeps them.
func retriesOf(r *pyexec.Retries) *state.Retries {
	if r == nil {
		return nil
	}
	return &state.Retries{Limit: r.Limit, BackoffMin: int64(r.BackoffMinMS), BackoffMax: int64(r.BackoffMaxMS)}
}

// keyed takes over the options of a call that make a key of arguments.
func keyed(r *scheduler.SubmitStep, req pyexec.SubmitRequest) (err error) {
	if r.Memo, err = memoOf(req.Memo); err != nil {
		return err
	}
	if req.Defer != nil {
		if r.Defer, err = paramsOf("defer", req.Defer.Params); err != nil {
			return err
		}
	}
	if c := req.Cache; c != nil {
		p, err := paramsOf("cache", c.Params)
		if err != nil {
			return err
		}
		r.Cache = &state.Cache{All: p.All, Params: p.Indexes, MaxAge: (*int64)(c.MaxAgeMS), Namespace: c.Namespace, Version: c.Version}
	}
	return nil
}

// paramsOf reads which arguments an option of a call looks at: true or a list of indexes.
func paramsOf(option string, raw json.RawMessage) (*scheduler.Params, error) {
	p := &scheduler.Params{}
	if err := json.Unmarshal(raw, &p.All); err == nil && p.All {
		return p, nil
	}
	if json.Unmarshal(raw, &p.Indexes) != nil || p.Indexes == nil {
		return nil, fmt.Errorf("the params of %s are true or a list of indexes of arguments, not %s", option, raw)
	}
	return p, nil
}

// Cancel ends other executions and their descendants, and inputs.
func (e *execution) Cancel(req pyexec.CancelRequest, reply func(error)) {
	e.effects.do(func() {
		handles := cancelHandles(req.Handles)
		e.cancelHandles(handles, reply)
	})
}

// cancelHandles ends executions, some hundreds in a request, and reports the first refusal once all are answered.
func (e *execution) cancelHandles(handles []string, done func(error)) {
	parts := slices.Collect(slices.Chunk(handles, handlesPerRequest))
	if len(parts) == 0 {
		done(nil)
		return
	}
	var mu sync.Mutex // guards the next two
	open := len(parts)
	var first error
	for _, part := range parts {
		e.cancelPart(part, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				first = err
			}
			if open--; open == 0 {
				done(first)
			}
		})
	}
}

// cancelPart ends some executions and inputs in one request, or, where what that changes does not fit an entry, one half
// after the other: inputs may be large.
func (e *execution) cancelPart(handles []string, done func(error)) {
	e.ask(&scheduler.CancelHandles{Execution: e.id, Handles: handles}, func(p scheduler.Reply) {
		switch half := len(handles) / 2; {
		case p.Err == nil:
			done(nil)
		case p.Err.Code == scheduler.CodeTooLarge && half > 0:
			e.cancelPart(handles[:half], func(err error) {
				if err != nil {
					done(err)
					return
				}
				e.cancelPart(handles[half:], done)
			})
		default:
			done(&pyexec.RequestError{Code: "cancel_error", Message: p.Err.Message})
		}
	})
}

// Group names a group of calls.
func (e *execution) Group(id int, name string) {
	e.effects.do(func() {
		e.ask(&scheduler.RegisterGroup{Execution: e.id, ID: id, Name: name}, nil)
	})
}

// logPatience is how long the values of a line may take to be stored.
const logPatience = 10 * time.Second

// Log keeps a line that the body wrote. It blocks when the journal cannot keep up.
func (e *execution) Log(level int, template *string, values map[string]pyexec.Value) {
	line := logLine{Run: e.run, Execution: e.id, Workspace: e.assign.Workspace, At: time.Now().UnixMilli(),
		Level: level, Template: template}
	if len(values) > 0 {
		ctx, cancel := context.WithTimeout(e.ctx, logPatience)
		defer cancel()
		line.Values = map[string]journal.Value{}
		for name, v := range values {
			kept, err := e.a.Values.toJournal(ctx, &v)
			if err != nil { // the line counts more than the value
				text, _ := json.Marshal("(this value could not be kept: " + err.Error() + ")")
				kept = journal.Value{Type: "raw", Data: text}
			}
			line.Values[name] = kept
		}
	}
	e.a.Log.log(line)
}

// DefineMetric says how a metric is drawn.
func (e *execution) DefineMetric(key string, d pyexec.MetricDefinition) { e.series.define(key, d) }

// Metric takes a point of a metric. It blocks when the journals cannot keep up.
func (e *execution) Metric(key string, value float64, at *float64) { e.series.record(key, value, at) }

func (e *execution) keepMetric(m journal.Metric) {
	e.a.Metrics.add(journal.Entry{RunID: e.run, ExecutionID: e.id, WorkspaceID: e.assign.Workspace, Timestamp: time.Now().UnixMilli(), Metric: &m})
}

func (e *execution) warnMetric(text, key string) {
	e.a.Logger.Warn(text, "execution", e.id, "metric", key)
}
