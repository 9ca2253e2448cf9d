package state

import "iter"

// TargetType is what a target was declared as.
type TargetType string

const (
	// TypeTask can be called from other targets only.
	TypeTask TargetType = "task"
	// TypeWorkflow can start a run from outside too.
	TypeWorkflow TargetType = "workflow"
)

// Step is one call of a target within a run. It never changes; what varies is in its executions.
type Step struct {
	rowCommon
	Run    string     `codec:"r"`
	Number int        `codec:"n"`
	Module string     `codec:"m"`
	Target string     `codec:"t"`
	Type   TargetType `codec:"y"`
	// Parent is the execution that made the call, "" for a root step.
	Parent string `codec:"p,omitempty"`
	// Request is the number of the call among the requests of its parent. (Parent, Request) is the step's cause: a
	// request that is repeated after a lost answer is recognised by it (rules A14).
	Request   int64   `codec:"q,omitempty"`
	Group     *int    `codec:"g,omitempty"`
	Arguments []Value `codec:"a,omitempty"`
	// WaitFor are the indexes of the arguments whose handles must be final before an attempt starts.
	WaitFor []int `codec:"wf,omitempty"`
	// Delay before the start and Timeout of each attempt, milliseconds; 0 = none.
	Delay   int64 `codec:"d,omitempty"`
	Timeout int64 `codec:"o,omitempty"`
	// Retries says how often a failed attempt is followed by another; nil = never.
	Retries   *Retries `codec:"b,omitempty"`
	CreatedAt int64    `codec:"c"`
	// DeferKey is what calls have in common of which only the last is made, "" when it is not deferred.
	DeferKey string `codec:"dk,omitempty"`
	// Cache says which earlier calls may stand in for this one, nil = none. CacheKey is what it has in common with them.
	Cache    *Cache `codec:"ca,omitempty"`
	CacheKey string `codec:"ck,omitempty"`
	// Requires are its own tags: each replaces the run's of that name, an empty list removes it.
	Requires Tags `codec:"rq,omitempty"`
	// MemoKey finds it for later calls within the run, "" when it is not memoised.
	MemoKey string `codec:"mk,omitempty"`
	// Recurrent: the value null is followed by another attempt, after the delay.
	Recurrent bool `codec:"rc,omitempty"`
	// Durable: an attempt that is lost with its node or process is followed by another that finds the steps that it has made.
	Durable bool `codec:"du,omitempty"`
}

// Cache of a step, as it was configured.
type Cache struct {
	// All arguments count, or those with the indexes Params, in that order.
	All    bool  `codec:"a,omitempty"`
	Params []int `codec:"p,omitempty"`
	// MaxAge of a value in milliseconds since it was recorded, nil = any age.
	MaxAge *int64 `codec:"m,omitempty"`
	// Namespace that calls share, "" = the target; Version tells their results apart.
	Namespace string `codec:"n,omitempty"`
	Version   string `codec:"v,omitempty"`
}

// Retries of a step after errors, timeouts and abandonments.
type Retries struct {
	// Limit is the number of failures in a row that are followed by another attempt, from 1; nil = any number.
	Limit *int `codec:"l,omitempty"`
	// BackoffMin and BackoffMax bound the wait before the next attempt, milliseconds: with a limit it goes evenly from
	// the first to the second, without one it is anywhere between them.
	BackoffMin int64 `codec:"a,omitempty"`
	BackoffMax int64 `codec:"z,omitempty"`
}

func (*Step) table() Table { return TableSteps }

func (s *Step) shared(share func(*string)) {
	share(&s.Module)
	share(&s.Target)
	share((*string)(&s.Type))
}
func (s *Step) key() string { return s.Run + "\x00" + be4(s.Number) }

// ID names the step.
func (s *Step) ID() StepID { return StepID{Run: s.Run, Number: s.Number} }

// Step reads a step, nil when there is none.
func (v *View) Step(id StepID) *Step {
	return one[*Step](v, TableSteps, "id", id.Run+"\x00"+be4(id.Number))
}

// Steps walks a run's steps in the order of their numbers.
func (v *View) Steps(run string) iter.Seq[*Step] {
	return walk[*Step](v, TableSteps, "id", run+"\x00", "")
}

// StepByCause finds the step that an execution's request number created.
func (v *View) StepByCause(parent ExecutionID, request int64) *Step {
	return one[*Step](v, TableSteps, "cause", join(parent.String())+be8(request))
}

// Children walks the steps that an execution submitted, in the order of its requests.
func (v *View) Children(parent ExecutionID) iter.Seq[*Step] {
	return walk[*Step](v, TableSteps, "cause", join(parent.String()), "")
}
