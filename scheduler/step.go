package scheduler

import (
	"cmp"
	"errors"
	"math/rand/v2"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// Limits of one batch (rules A19). What does not fit is decided in the next.
const (
	// MaxRequests of one batch.
	MaxRequests = 512
	// maxSweep is the number of rows that sweeps change in one batch.
	maxSweep = 500
	// sweepChunk is the number of those that one transaction changes.
	sweepChunk = 50
	// maxPlace is the number of executions placed in one batch.
	maxPlace = 500
	// maxDue is the number of timers that fall due in one batch.
	maxDue = 500
)

// Input is all that a batch of decisions depends on beside the state.
type Input struct {
	// Now is log time, milliseconds.
	Now int64
	// Random makes ids.
	Random *rand.Rand
	// Soft is what the leader knows of its agents without Raft.
	Soft Soft
	// Requests in the order in which they arrived.
	Requests []Request
	// Log is told of bugs: a decision that panicked. May be nil.
	Log func(msg string, args ...any)
	// sweepLimit replaces maxSweep where it is set, so that a test sees sweeps in the middle without thousands of rows.
	sweepLimit int
	// eraseLimit replaces maxErase likewise.
	eraseLimit int
	// assetTouch replaces the constant likewise.
	assetTouch int64
}

// Output is what a batch gave beside the changed scratch.
type Output struct {
	// Replies to the first len(Replies) requests; the rest belongs into the next batch.
	Replies []Reply
	// Events are what agents have to be told once the entry is committed.
	Events []Event
	// More is set when sweeps, timers or placement have more to do at once.
	More bool
}

// EventKind says what an agent has to be told.
type EventKind uint8

// The kinds of events.
const (
	// EventAssigned: the execution was given to Session.
	EventAssigned EventKind = iota + 1
	// EventFinished: the execution has a result; whoever waits for it goes on.
	EventFinished
	// EventAbort: Session must kill the execution's process.
	EventAbort
	// EventSessionLost: Session is fenced.
	EventSessionLost
	// EventResponded: Input has its response; whoever waits for it goes on.
	EventResponded
)

// Event is one thing that agents have to be told.
type Event struct {
	Kind      EventKind
	Session   string
	Execution state.ExecutionID
	Input     state.InputID
}

// decision is one request being decided.
type decision struct {
	*state.Tx
	now    int64
	random *rand.Rand
	events []Event
	// eraseLimit is how many rows of a run are removed at once; more are swept.
	eraseLimit int
	assetTouch int64
}

func (d *decision) tell(kind EventKind, session string, e state.ExecutionID) {
	d.events = append(d.events, Event{Kind: kind, Session: session, Execution: e})
}

// Step decides a batch on the scratch: the requests in order, then what has fallen due, sweeps and placement. It is
// the only place where decisions are made, and depends on nothing but its arguments.
func Step(scratch *state.Scratch, in Input) Output {
	b := &batch{Input: in, scratch: scratch}
	b.sweepLimit, b.eraseLimit, b.assetTouch = cmp.Or(b.sweepLimit, maxSweep), cmp.Or(b.eraseLimit, maxErase), cmp.Or(b.assetTouch, assetTouch)
	for _, r := range in.Requests {
		if len(b.out.Replies) == MaxRequests || scratch.Bytes() >= state.BatchBytes {
			break
		}
		reply, full := b.request(r)
		if full {
			break
		}
		b.out.Replies = append(b.out.Replies, reply)
	}
	b.fallDue()
	b.forget()
	b.sweep()
	b.place()
	return b.out
}

// batch is one call of Step.
type batch struct {
	Input
	scratch *state.Scratch
	out     Output
}

// request decides one request. full means that the batch has no room for it.
func (b *batch) request(r Request) (reply Reply, full bool) {
	err := b.try(func(d *decision) error {
		var err error
		reply.Answer, err = r.decide(d)
		return err
	})
	if errors.Is(err, state.ErrBatchFull) {
		return Reply{}, true
	}
	reply.Err = asError(err)
	if reply.Err != nil {
		reply.Answer = Answer{}
	}
	return reply, false
}

// try runs a decision in a transaction of its own and keeps its events if it is accepted.
func (b *batch) try(decide func(*decision) error) error {
	var events []Event
	err := b.scratch.Try(func(tx *state.Tx) error {
		d := &decision{Tx: tx, now: b.Now, random: b.Random, eraseLimit: b.eraseLimit, assetTouch: b.assetTouch}
		err := decide(d)
		events = d.events
		return err
	})
	var bug *state.Panic
	if errors.As(err, &bug) && b.Log != nil {
		b.Log("decision panicked", "error", bug)
	}
	if err == nil {
		b.out.Events = append(b.out.Events, events...)
	}
	return err
}

// asError makes the refusal that the asker sees.
func asError(err error) *Error {
	var e *Error
	var large *state.TooLarge
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.As(err, &large):
		return refuse(CodeTooLarge, "%s", large)
	default:
		return refuse(CodeInternal, "the scheduler could not decide this, which is a bug: %s", err)
	}
}
