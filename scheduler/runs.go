package scheduler

import (
	"strconv"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/oklog/ulid/v2"
)

// Windows of what is remembered of requests from outside, milliseconds of log time.
const (
	// RequestWindow is how long a request's ULID is recognised; an older one is refused as expired (rules A14).
	RequestWindow = 10 * 60 * 1000
	// IdempotencyWindow is how long an idempotency key names the run that it created.
	IdempotencyWindow = 24 * 60 * 60 * 1000
)

// SubmitRun starts a run from outside.
type SubmitRun struct {
	// RequestID is a ULID: a repeat with the same one is answered with the same run.
	RequestID      string
	Workspace      string
	Module, Target string
	Arguments      []state.Value
	// Delay and Timeout in milliseconds, 0 = none.
	Delay, Timeout int64
	// Retries of the root step; nil = none.
	Retries *state.Retries
	// Defer selects the arguments by which later calls take the place of this one until it starts; nil = none do.
	Defer *Params
	// Cache says which earlier calls may stand in for the root step; nil = none.
	Cache          *state.Cache
	IdempotencyKey string
	// Requires are the run's tags.
	Requires state.Tags
	// Memo has the run's steps memoised, and the root too.
	Memo bool
	// WaitFor are the indexes of the arguments whose handles must be final before the root starts.
	WaitFor []int
	// Recurrent has the root run again, after Delay, for as long as it gives null.
	Recurrent bool
	// Durable has the root run again where it stood when its node or process is lost.
	Durable bool
}

func (r *SubmitRun) decide(d *decision) (Answer, error) {
	if id, err := r.known(d); id != "" || err != nil {
		return d.knownAnswer(r.Workspace, id, err)
	}
	if _, err := d.workspace(r.Workspace); err != nil {
		return Answer{}, err
	}
	if err := CheckTags(r.Requires); err != nil {
		return Answer{}, refuse(CodeBadRequest, "requires: %s", err)
	}
	arguments, err := d.resolveAll(r.Workspace, r.Arguments)
	if err != nil {
		return Answer{}, err
	}
	if err := d.presentAll(r.Workspace, r.WaitFor, arguments); err != nil {
		return Answer{}, err
	}
	run := &state.Run{
		ID: d.newRunID(), Workspace: r.Workspace,
		Module: r.Module, Target: r.Target, CreatedAt: d.now, Steps: 1, RequestID: r.RequestID,
		Requires: r.Requires, Memo: r.Memo, Durable: r.Durable,
	}
	step := &state.Step{
		Run: run.ID, Number: 1, Module: r.Module, Target: r.Target, Type: state.TypeWorkflow,
		Arguments: arguments, WaitFor: r.WaitFor, Delay: r.Delay, Timeout: r.Timeout, CreatedAt: d.now, Recurrent: r.Recurrent, Durable: r.Durable,
	}
	if err := setOptions(step, r.Retries, r.Defer, r.Cache); err != nil {
		return Answer{}, err
	}
	if r.Memo {
		step.MemoKey = argumentsKey(r.Module+":"+r.Target, "", Params{All: true}, r.Arguments)
	}
	d.Put(run)
	d.Put(step)
	d.queue(d.newAttempt(step, run.Workspace, 1, state.TierRoot), step.Delay)
	r.remember(d, run.ID)
	return rootAnswer(run.ID, r.Module, r.Target), nil
}

// known gives the run that the request or its idempotency key has already created.
func (r *SubmitRun) known(d *decision) (run string, err error) {
	if run, err = d.seen(r.RequestID); run != "" || err != nil || r.IdempotencyKey == "" {
		return run, err
	}
	if k := d.Request(state.RequestIdempotency, r.Workspace, r.IdempotencyKey); k != nil && k.ExpiresAt > d.now {
		return k.Answer, nil
	}
	return "", nil
}

func (r *SubmitRun) remember(d *decision, run string) {
	d.remember(r.RequestID, run)
	if r.IdempotencyKey != "" {
		d.Put(&state.Request{Kind: state.RequestIdempotency, Workspace: r.Workspace, ID: r.IdempotencyKey, Answer: run,
			ExpiresAt: d.now + IdempotencyWindow})
	}
}

// seen gives what a request from outside was answered with before; "" when it is new. What is older than is remembered
// is refused.
func (d *decision) seen(requestID string) (answer string, err error) {
	id, perr := ulid.ParseStrict(requestID)
	if perr != nil {
		return "", refuse(CodeBadRequest, "request id %q is not a ULID", requestID)
	}
	if k := d.Request(state.RequestULID, "", requestID); k != nil {
		return k.Answer, nil
	}
	if at := int64(id.Time()); at <= d.now-RequestWindow || at > d.now+RequestWindow {
		return "", &Error{Code: CodeExpired, Message: "the request's id is older than is remembered, so it was not executed",
			Hint:    "submit it anew with a fresh id; if the id was fresh, the clock of the asking machine is off by more than ten minutes",
			Details: map[string]string{"logTime": strconv.FormatInt(d.now, 10)}}
	}
	return "", nil
}

// remember keeps the answer to a request until its id would be refused as expired.
func (d *decision) remember(requestID, answer string) {
	id, _ := ulid.ParseStrict(requestID)
	d.Put(&state.Request{Kind: state.RequestULID, ID: requestID, Answer: answer,
		ExpiresAt: max(d.now, int64(id.Time())) + RequestWindow})
}

func rootAnswer(run, module, target string) Answer {
	step := state.StepID{Run: run, Number: 1}
	return Answer{RunID: run, StepID: step.String(), ExecutionID: step.String() + ":1", Module: module, Target: target}
}

// knownAnswer names a run that an earlier request created, whatever this one asked for.
func (d *decision) knownAnswer(workspace, run string, err error) (Answer, error) {
	if err != nil {
		return Answer{}, err
	}
	if r := d.Run(run); r != nil {
		return rootAnswer(r.ID, r.Module, r.Target), nil
	}
	if err := d.present(workspace, run); err != nil {
		return Answer{}, err
	}
	return rootAnswer(run, "", ""), nil // its record was removed; nothing is run again for that
}

// newAttempt makes an attempt of a step, to be queued.
func (d *decision) newAttempt(s *state.Step, workspace string, attempt int, tier state.Tier) *state.Execution {
	e := &state.Execution{
		Run: s.Run, Step: s.Number, Attempt: attempt, Workspace: workspace, Module: s.Module, Target: s.Target,
		Type: s.Type, Tier: tier, CreatedAt: d.now, Due: true, Requires: effective(d.Run(s.Run), s).Text(),
		MemoKey: s.MemoKey, DeferKey: s.DeferKey, CacheKey: s.CacheKey,
	}
	if len(s.WaitFor) > 0 {
		e.Wait = state.WaitAll
	}
	return e
}

// queue puts a new attempt into the queue, or sets its timer when it is to wait for so many milliseconds.
func (d *decision) queue(e *state.Execution, delay int64) {
	if delay > 0 {
		e.ExecuteAfter, e.Due = d.now+delay, false
	}
	if e.Wait == state.WaitAll {
		d.awaitArguments(e)
	}
	d.Put(e)
	if e.DeferKey != "" {
		d.collapse(e)
	}
	d.nowDue(e.ID())
}

// alphabet of ids: no vowels and nothing that reads like another.
const alphabet = "bcdfghjklmnpqrstvwxyzBCDFGHJKLMNPQRSTVWXYZ23456789"

func (d *decision) newRunID() string {
	return d.newID("R", 6, func(id string) bool { return d.Run(id) != nil || d.Packed(id) != nil })
}

// newID makes an id of prefix and n random characters, one more for each collision.
func (d *decision) newID(prefix string, n int, taken func(string) bool) string {
	for {
		id := []byte(prefix)
		for range n {
			id = append(id, alphabet[d.random.IntN(len(alphabet))])
		}
		if !taken(string(id)) {
			return string(id)
		}
		n++
	}
}
