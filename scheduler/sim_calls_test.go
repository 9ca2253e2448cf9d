package scheduler_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

func (o *oracle) submitRun(r *scheduler.SubmitRun, reply scheduler.Reply, now int64) error {
	expired := expired(r.RequestID, now)
	known := o.byULID[r.RequestID]
	if reply.Err != nil {
		if reply.Err.Code == scheduler.CodeExpired && expired {
			return nil
		}
		if known == "" && !o.live(r.Workspace) {
			return nil
		}
		return errors.New("a good submission was refused")
	}
	run, key := reply.Answer.RunID, r.Workspace+" "+r.IdempotencyKey
	if k := o.byKey[key]; known == "" && r.IdempotencyKey != "" && k.expires > now {
		known = k.run
	}
	if known != "" {
		if run != known {
			return fmt.Errorf("the same request made run %s before", known)
		}
		return nil
	}
	if expired {
		return errors.New("an expired request was executed")
	}
	if !o.live(r.Workspace) {
		return errors.New("an archived workspace took a run")
	}
	if _, taken := o.runs[run]; taken {
		return errors.New("another request made that run")
	}
	o.runs[run] = 0
	o.byULID[r.RequestID] = run
	if r.IdempotencyKey != "" {
		o.byKey[key] = oracleKey{run, now + scheduler.IdempotencyWindow}
	}
	root := &oracleExec{id: reply.Answer.ExecutionID, workspace: r.Workspace, due: now + r.Delay, retries: r.Retries, after: after(now, r.Delay),
		later: laterOf(r.Module, r.Target, r.Defer, r.Arguments), recurrent: r.Recurrent, delay: r.Delay, durable: r.Durable}
	root.caches(r.Module, r.Target, r.Cache, r.Arguments).need(r.Requires, nil)
	o.runTags[run], o.runMemo[run], o.runDurable[run] = r.Requires, r.Memo, r.Durable
	return o.add(root, run, now)
}

// rerun makes one more attempt of a step; unfinished ones are cancelled with all below them.
func (o *oracle) rerun(r *scheduler.RerunStep, reply scheduler.Reply, now int64) error {
	if reply.Err != nil && reply.Err.Code == scheduler.CodeExpired && expired(r.RequestID, now) {
		return nil
	}
	if known := o.byULID[r.RequestID]; known != "" {
		if reply.Err != nil || reply.Answer.ExecutionID != known {
			return fmt.Errorf("the same request made %s before", known)
		}
		return nil
	}
	first := o.execs[r.Step+":1"]
	allowed := first != nil && o.live(r.Workspace) && o.inherits(r.Workspace, first.workspace)
	if reply.Err != nil {
		if !allowed || first.parent != nil && first.parent.underDoom(r.Workspace) {
			return nil
		}
		return errors.New("a good re-run was refused")
	}
	if !allowed {
		return errors.New("run again in a workspace that does not inherit from that of the step")
	}
	attempts := 0
	for _, id := range o.order {
		if e := o.execs[id]; strings.HasPrefix(id, r.Step+":") {
			attempts++
			_, result := o.outcome(id)
			if e.workspace == r.Workspace && (e.result == "" || result == "" && e.link != nil && e.link.spawnedBy == e) {
				o.cancel(e)
			}
		}
	}
	if want := fmt.Sprintf("%s:%d", r.Step, attempts+1); reply.Answer.ExecutionID != want {
		return fmt.Errorf("the new attempt is %s, want %s", reply.Answer.ExecutionID, want)
	}
	o.byULID[r.RequestID] = reply.Answer.ExecutionID
	e := o.again(first, r.Workspace, now, now)
	e.lap = o.execs[fmt.Sprintf("%s:%d", r.Step, attempts)].lap
	o.collapse(e)
	return o.begins(e, now)
}

// again books one more attempt of a step in a workspace.
func (o *oracle) again(of *oracleExec, workspace string, now, due int64) *oracleExec {
	step := of.id[:strings.LastIndexByte(of.id, ':')]
	n := 1
	for o.execs[fmt.Sprintf("%s:%d", step, n)] != nil {
		n++
	}
	e := &oracleExec{id: fmt.Sprintf("%s:%d", step, n), workspace: workspace, number: of.number, parent: of.parent, due: due, retries: of.retries, needs: of.needs,
		later: o.execs[step+":1"].later, same: of.same, maxAge: of.maxAge, made: now, workflow: of.workflow, spawnedBy: of.spawnedBy, memo: of.memo,
		recurrent: of.recurrent, delay: of.delay, all: of.all, durable: of.durable}
	e.waiting = o.waits(e)
	if e.parent != nil {
		e.parent.children = append(e.parent.children, e)
	}
	o.execs[e.id] = e
	o.order = append(o.order, e.id)
	return e
}

func (o *oracle) add(e *oracleExec, run string, now int64) error {
	o.runs[run]++
	if want := fmt.Sprintf("%s:%d:1", run, o.runs[run]); e.id != want {
		return fmt.Errorf("the new execution is %s, want %s", e.id, want)
	}
	o.execs[e.id] = e
	o.order = append(o.order, e.id)
	e.made = now
	e.waiting = o.waits(e)
	o.collapse(e)
	if e.after != 0 {
		return nil
	}
	return o.begins(e, now)
}

func (o *oracle) submitStep(r *scheduler.SubmitStep, reply scheduler.Reply, now int64) error {
	parent, code := o.speaks(r.Session, r.Parent)
	if parent != nil {
		for _, c := range parent.children {
			if c.number == r.Number {
				if reply.Err != nil || reply.Answer.ExecutionID != c.id {
					return fmt.Errorf("the same request made %s before", c.id)
				}
				return nil
			}
		}
	}
	if parent != nil && parent.hits[r.Number] != "" {
		if reply.Err != nil || reply.Answer.ExecutionID != parent.hits[r.Number] {
			return fmt.Errorf("the same request found %s before", parent.hits[r.Number])
		}
		return nil
	}
	if err := refusedAs(reply, code); err != nil || code != "" {
		return err
	}
	memo := o.memoOf(parent, r)
	if made, err := o.hit(parent, r, memo, reply.Answer.ExecutionID); !made {
		return err
	}
	child := &oracleExec{id: reply.Answer.ExecutionID, workspace: parent.workspace, number: r.Number, parent: parent, due: now + r.Delay, retries: r.Retries,
		after: after(now, r.Delay), later: laterOf(r.Module, r.Target, r.Defer, r.Arguments), memo: memo,
		recurrent: r.Recurrent, delay: r.Delay}
	child.workflow = r.Type == state.TypeWorkflow
	child.durable = child.workflow && r.Durable
	child.waitFor(r.WaitFor, r.Arguments).caches(r.Module, r.Target, r.Cache, r.Arguments).need(o.runTags[reply.Answer.RunID], r.Requires)
	parent.children = append(parent.children, child)
	return o.add(child, reply.Answer.RunID, now)
}
