package scheduler

import "github.com/coflux-mesh/coflux/consensus/state"

// SubmitStep is a call that a running execution makes.
type SubmitStep struct {
	// Session is the fencing token of the agent that runs Parent.
	Session string
	Parent  string
	// Number of the request among those of Parent, from 1: a repeat is recognised by it.
	Number         int64
	Module, Target string
	Type           state.TargetType
	Arguments      []state.Value
	// Delay and Timeout in milliseconds, 0 = none.
	Delay, Timeout int64
	// Retries of the step; nil = none.
	Retries *state.Retries
	// Defer selects the arguments by which later calls take the place of this one until it starts; nil = none do.
	Defer *Params
	// Cache says which earlier calls may stand in for this one; nil = none.
	Cache *state.Cache
	Group *int
	// Requires are the step's own tags.
	Requires state.Tags
	Memo     *Memo
	// WaitFor are the indexes of the arguments whose handles must be final before it starts.
	WaitFor []int
	// Recurrent has it run again, after Delay, for as long as it gives null.
	Recurrent bool
	// Durable makes a workflow that is called a durable one.
	Durable bool
	// Equal is how many equal calls (CallKey) Parent has made before. Only durable runs ask.
	Equal int
}

func (r *SubmitStep) decide(d *decision) (Answer, error) {
	if r.Number < 1 {
		return Answer{}, refuse(CodeBadRequest, "requests of an execution are numbered from 1, not %d", r.Number)
	}
	parent, err := d.live(r.Session, r.Parent)
	if parent == nil {
		return Answer{}, err
	}
	if s := d.StepByCause(parent.ID(), r.Number); s != nil {
		return childAnswer(s), nil // a repeat: fencing first, so that the dead learn nothing either
	}
	if h := d.Hit(parent.ID(), r.Number); h != nil {
		return foundAnswer(h.Execution, r), nil
	}
	if err != nil {
		return Answer{}, err
	}
	if !validType(r.Type) {
		return Answer{}, refuse(CodeBadRequest, "target type %q is neither task nor workflow", r.Type)
	}
	if err := CheckTags(r.Requires); err != nil {
		return Answer{}, refuse(CodeBadRequest, "requires: %s", err)
	}
	if r.Memo != nil {
		if err := r.Memo.check("memo"); err != nil {
			return Answer{}, err
		}
	}
	arguments, err := d.resolveAll(parent.Workspace, r.Arguments)
	if err != nil {
		return Answer{}, err
	}
	if err := d.presentAll(parent.Workspace, r.WaitFor, arguments); err != nil {
		return Answer{}, err
	}
	if size := sizeOf(arguments); r.Type == state.TypeWorkflow && size > maxSpawnArguments {
		return Answer{}, refuse(CodeTooLarge, "the arguments of the workflow have %d bytes together: at most %d", size, maxSpawnArguments)
	}
	run := *d.Run(parent.Run)
	key := memoKey(&run, parent, r)
	if key != "" {
		own := run.Durable && r.Memo == nil
		if found := d.memoised(parent, key, own); found != nil {
			if own {
				found = firstAttempt(&d.View, found) // as the call was answered, so that handles passed on are equal again
			}
			return d.hit(parent, r, found), nil
		}
	}
	run.Steps++
	step := &state.Step{
		Run: run.ID, Number: run.Steps, Module: r.Module, Target: r.Target, Type: r.Type, Parent: parent.ID().String(),
		Request: r.Number, Group: r.Group, Arguments: arguments, Delay: r.Delay, Timeout: r.Timeout, CreatedAt: d.now, Requires: r.Requires,
		MemoKey: key, Recurrent: r.Recurrent, WaitFor: r.WaitFor, Durable: r.Durable && r.Type == state.TypeWorkflow,
	}
	if err := setOptions(step, r.Retries, r.Defer, r.Cache); err != nil {
		return Answer{}, err
	}
	d.Put(&run)
	d.Put(step)
	d.queue(d.newAttempt(step, parent.Workspace, 1, state.TierChild), step.Delay)
	return childAnswer(step), nil
}

// setOptions checks how a call is to be made and keeps it in its step, which has its arguments.
func setOptions(s *state.Step, retries *state.Retries, later *Params, cache *state.Cache) (err error) {
	if s.Delay, s.Timeout = max(s.Delay, 0), max(s.Timeout, 0); s.Delay > maxBackoff || s.Timeout > maxBackoff {
		return refuse(CodeBadRequest, "the delay is %d ms and the timeout %d ms: give at most a hundred years", s.Delay, s.Timeout)
	}
	if err := (Params{Indexes: s.WaitFor}).check("wait_for"); err != nil {
		return err
	}
	if s.Retries, err = normalRetries(retries); err != nil {
		return err
	}
	if s.DeferKey, err = deferKey(s, later); err != nil {
		return err
	}
	s.Cache = cache
	s.CacheKey, err = cacheKey(s)
	return err
}

func childAnswer(s *state.Step) Answer {
	e := state.ExecutionID{Run: s.Run, Step: s.Number, Attempt: 1}
	return Answer{RunID: s.Run, StepID: s.ID().String(), ExecutionID: e.String(), Module: s.Module, Target: s.Target}
}

// live gives the execution if the session may speak for it. With err set the execution is known to the session but can
// change nothing any more; without an execution the session is fenced.
func (d *decision) live(session, execution string) (*state.Execution, error) {
	id, ok := state.ParseExecutionID(execution)
	if !ok {
		return nil, refuse(CodeBadRequest, "%q is not the id of an execution", execution)
	}
	s := d.Session(session)
	if s == nil || s.State == state.SessionLost || d.archived(s.Workspace) {
		return nil, refuse(CodeFenced, "session %s was lost: nothing that it sends changes anything", session)
	}
	e := d.Execution(id)
	if e == nil || e.Session != session {
		return nil, refuse(CodeFenced, "execution %s was not given to session %s", execution, session)
	}
	if e.Result != nil {
		return e, refuse(CodeFenced, "execution %s already has its result (%s)", execution, e.Result.Type)
	}
	if d.underCancel(e) {
		return e, refuse(CodeCancelled, "execution %s is being cancelled", execution)
	}
	return e, nil
}

// RegisterGroup names a group of an execution's children.
type RegisterGroup struct {
	Session, Execution string
	ID                 int
	Name               string
}

func (r *RegisterGroup) decide(d *decision) (Answer, error) {
	e, err := d.live(r.Session, r.Execution)
	if err != nil {
		return Answer{}, err
	}
	d.Put(&state.Group{Execution: e.ID().String(), ID: r.ID, Name: r.Name})
	return Answer{}, nil
}

// AddDependency records what an execution waits for: executions and inputs.
type AddDependency struct {
	Session, Execution string
	On                 []string
}

func (r *AddDependency) decide(d *decision) (Answer, error) {
	e, err := d.live(r.Session, r.Execution)
	if err != nil {
		return Answer{}, err
	}
	for _, on := range r.On {
		if err := d.present(e.Workspace, state.RunOf(on)); err != nil {
			return Answer{}, err
		}
		if !d.HasDependency(e.ID().String(), on) && (Visible(&d.View, e.Workspace, on) != nil || VisibleInput(&d.View, e.Workspace, on) != nil) {
			d.Put(&state.Dependency{Execution: e.ID().String(), On: on})
		}
	}
	return Answer{}, nil
}
