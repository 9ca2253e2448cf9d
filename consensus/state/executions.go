package state

import "iter"

// Tier orders the queue: work that somebody waits for comes before new roots (rules A1).
type Tier uint8

const (
	// TierChild: called by an execution.
	TierChild Tier = iota
	// TierRoot: the root step of a run.
	TierRoot
)

// Execution is one attempt of a step.
//
// It is waiting (for a due time that has not come: Due is false; or for others: Wait is set), queued, assigned (Session is
// set) or done (Result is set).
type Execution struct {
	rowCommon
	Run     string `codec:"r"`
	Step    int    `codec:"s"`
	Attempt int    `codec:"a"`
	// Workspace, Module, Target, Type and Tier are copies: they are the queue's order.
	Workspace string     `codec:"w"`
	Module    string     `codec:"m"`
	Target    string     `codec:"t"`
	Type      TargetType `codec:"y"`
	Tier      Tier       `codec:"i"`
	// CreatedAt, ExecuteAfter (0 = at once), AssignedAt and CompletedAt are log time, milliseconds.
	CreatedAt    int64 `codec:"c"`
	ExecuteAfter int64 `codec:"x,omitempty"`
	// Due is false while ExecuteAfter is ahead.
	Due         bool   `codec:"u"`
	Session     string `codec:"e,omitempty"`
	AssignedAt  int64  `codec:"g,omitempty"`
	CompletedAt int64  `codec:"o,omitempty"`
	// Node is the id of the node it was given to; it stays when the session's row is gone.
	Node   string  `codec:"n,omitempty"`
	Result *Result `codec:"z,omitempty"`
	// Requires is the text of the tags that it needs, of its run and step together.
	Requires string `codec:"rq,omitempty"`
	// Failures is how many attempts immediately before this one failed, one after the other.
	Failures int `codec:"f,omitempty"`
	// Wait says that it is not placed before something else is final. Of what it is, the rows of table waits tell.
	Wait WaitMode `codec:"wm,omitempty"`
	// Losses is how many attempts of a durable step immediately before this one were lost without having completed a step.
	Losses int `codec:"lo,omitempty"`
	// Lap is the attempt with which the present recurrence began, 0 for the first: in durable runs calls of an earlier one are
	// not found again.
	Lap int `codec:"lp,omitempty"`
	// MemoKey is that of its step.
	MemoKey string `codec:"mk,omitempty"`
	// DeferKey and CacheKey are those of its step.
	DeferKey string `codec:"dk,omitempty"`
	CacheKey string `codec:"ck,omitempty"`
}

func (*Execution) table() Table { return TableExecutions }

func (e *Execution) shared(share func(*string)) {
	share(&e.Workspace)
	share(&e.Module)
	share(&e.Target)
	share((*string)(&e.Type))
	share(&e.Session)
	share(&e.Node)
	share(&e.Requires)
}

func (e *Execution) key() string { return executionKey(e.ID()) }

func executionKey(id ExecutionID) string {
	return id.Run + "\x00" + be4(id.Step) + be4(id.Attempt)
}

// ID names the execution.
func (e *Execution) ID() ExecutionID {
	return ExecutionID{Run: e.Run, Step: e.Step, Attempt: e.Attempt}
}

// Queued tells whether it waits for a session.
func (e *Execution) Queued() bool { return e.Timely() && e.Wait == WaitNone }

// Timely tells whether it was not given away yet though its time has come.
func (e *Execution) Timely() bool { return e.Result == nil && e.Session == "" && e.Due }

// Class is the queue that an execution stands in: all in it can run on the same sessions.
type Class struct {
	Workspace, Module, Target string
	Type                      TargetType
	// Requires is the text of the tags that are needed.
	Requires string
}

func (c Class) key() string { return join(c.Workspace, c.Module, c.Target, string(c.Type), c.Requires) }

// Untagged is the class without its tags: what sessions declare.
func (c Class) Untagged() Class {
	c.Requires = ""
	return c
}

// Past is the place in the queues behind all classes of c's target whose Requires begins with the text.
func (c Class) Past(requires string) string {
	return join(c.Workspace, c.Module, c.Target, string(c.Type)) + requires + "\xff"
}

// Class of the execution.
func (e *Execution) Class() Class { return Class{e.Workspace, e.Module, e.Target, e.Type, e.Requires} }

func (e *Execution) queueKey() string {
	return e.Class().key() + string([]byte{byte(e.Tier)}) + be8(max(e.ExecuteAfter, e.CreatedAt)) + e.key()
}

// memoisable tells whether a later call with the same key may be given it: it is open or gave a value, or has the outcome of
// another. What was retried is found by its newest attempt.
func (e *Execution) memoisable() bool {
	return e.MemoKey != "" && (e.Result == nil || e.Result.Type == ResultValue || e.Result.Link != "")
}

func (e *Execution) memoKey() string {
	return join(e.Run, e.Workspace, e.MemoKey) + be8(e.CreatedAt) + e.key()
}

// Memoised walks the executions of a run in a workspace with the memo key that are open or gave a value, newest first.
func (v *View) Memoised(run, workspace, key string) iter.Seq[*Execution] {
	return walkBack[*Execution](v, TableExecutions, "memo", join(run, workspace, key), 0, "")
}

// Execution reads an execution, nil when there is none.
func (v *View) Execution(id ExecutionID) *Execution {
	return one[*Execution](v, TableExecutions, "id", executionKey(id))
}

// Attempts walks a step's executions, oldest first.
func (v *View) Attempts(id StepID) iter.Seq[*Execution] {
	return walk[*Execution](v, TableExecutions, "id", id.Run+"\x00"+be4(id.Number), "")
}

// AttemptsBefore walks the earlier executions of the same step, newest first.
func (v *View) AttemptsBefore(id ExecutionID) iter.Seq[*Execution] {
	return func(yield func(*Execution) bool) {
		for attempt := id.Attempt - 1; attempt > 0; attempt-- {
			e := v.Execution(ExecutionID{Run: id.Run, Step: id.Step, Attempt: attempt})
			if e == nil || !yield(e) {
				return
			}
		}
	}
}

// LatestAttempt of a step, nil when the step is unknown.
func (v *View) LatestAttempt(id StepID) *Execution {
	return last[*Execution](v, TableExecutions, "id", id.Run+"\x00"+be4(id.Number))
}

// RunExecutions walks a run's executions by step number, from the given step on. Only a walk from step 0 is watched.
func (v *View) RunExecutions(run string, fromStep int) iter.Seq[*Execution] {
	from := ""
	if fromStep > 0 {
		from = run + "\x00" + be4(fromStep)
	}
	return walk[*Execution](v, TableExecutions, "id", run+"\x00", from)
}

// Assigned walks the unfinished executions that were given to a session.
func (v *View) Assigned(session string) iter.Seq[*Execution] {
	return walk[*Execution](v, TableExecutions, "session", join(session), "")
}

// Unfinished walks the executions of a workspace that have no result.
func (v *View) Unfinished(workspace string) iter.Seq[*Execution] {
	return walk[*Execution](v, TableExecutions, "open", join(workspace), "")
}

// Queue walks one class, children before roots, oldest first.
func (v *View) Queue(c Class) iter.Seq[*Execution] {
	return walk[*Execution](v, TableExecutions, "queue", c.key(), "")
}

// ClassFrom is the first class at or behind a place in the queues, "" for the first of all; false when there is none. It
// costs one seek, whatever stands in the class.
func (v *View) ClassFrom(place string) (Class, bool) {
	for e := range walk[*Execution](v, TableExecutions, "queue", "", place) {
		return e.Class(), true
	}
	return Class{}, false
}

// Classes walks the classes in which something is queued.
func (v *View) Classes() iter.Seq[Class] {
	return func(yield func(Class) bool) {
		for c, ok := v.ClassFrom(""); ok && yield(c); {
			c, ok = v.ClassFrom(c.key() + "\xff")
		}
	}
}

// QueueOf is the place in the queues at which the classes of a workspace begin, for ClassFrom.
func QueueOf(workspace string) string { return join(workspace) }

// Linked walks the executions whose result says that they have the outcome of this one.
func (v *View) Linked(id ExecutionID) iter.Seq[*Execution] {
	return walk[*Execution](v, TableExecutions, "linked", join(id.String()), "")
}

// Deferrable walks the executions of a class's workspace and target with the defer key that nobody was given yet.
func (v *View) Deferrable(c Class, key string) iter.Seq[*Execution] {
	return walk[*Execution](v, TableExecutions, "defer", join(c.Workspace, c.Module, c.Target, key), "")
}

// Cached walks the executions of a workspace with the cache key that are open or gave a value, newest first.
func (v *View) Cached(workspace, key string) iter.Seq[*Execution] {
	return walkBack[*Execution](v, TableExecutions, "cache", join(workspace, key), 0, "")
}

// NextDue is the waiting execution with the nearest due time, nil when there is none.
func (v *View) NextDue() *Execution { return first[*Execution](v, TableExecutions, "due", "") }

// EndedRoots walks the executions of root steps that have their result, the one that has had it longest first.
func (v *View) EndedRoots() iter.Seq[*Execution] {
	return walk[*Execution](v, TableExecutions, "ended", "", "")
}
