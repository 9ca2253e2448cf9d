package node

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/coflux-mesh/coflux/pyexec"
)

// effect is what one body really did, written outside the engine.
type effect struct {
	execution, node string
	start, end      time.Duration // end 0 = still alive
	killed          bool
}

// effects are the bodies of a cluster in the order of their starts.
type effects struct {
	mu   sync.Mutex // guards all, and the entries
	all  []*effect
	read []reading
}

// reading is an outcome that a body was given.
type reading struct{ reader, execution, status, value string }

func (l *effects) begin(execution, node string, at time.Duration) *effect {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &effect{execution: execution, node: node, start: at}
	l.all = append(l.all, e)
	return e
}

func (l *effects) finish(e *effect, at time.Duration, killed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.end == 0 {
		e.end, e.killed = at, killed
	}
}

func (l *effects) list() []effect {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]effect, len(l.all))
	for i, e := range l.all {
		out[i] = *e
	}
	return out
}

// of gives the bodies of one execution, in the order of their starts.
func (l *effects) of(execution string) (out []effect) {
	for _, e := range l.list() {
		if e.execution == execution {
			out = append(out, e)
		}
	}
	return out
}

// simRunner stands for pyexec.Pool: bodies are Go functions, and a guard of its own kills them at the deadline even when
// the node is frozen.
type simRunner struct {
	node *simNode

	mu     sync.Mutex // guards the rest
	bodies map[string]*simBody
	fenced bool // Run refuses until Revive
	over   bool // the node's process has ended
	until  time.Duration
	timer  *time.Timer
}

var _ runner = (*simRunner)(nil)

// Run starts a body; see pyexec.Pool.
func (r *simRunner) Run(job pyexec.Job, host pyexec.Host) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.over:
		return pyexec.ErrStopped
	case r.fenced:
		return pyexec.ErrFenced
	case r.bodies[job.ExecutionID] != nil:
		return fmt.Errorf("execution %s is running already", job.ExecutionID)
	}
	b := &simBody{runner: r, job: job, host: host, dead: make(chan struct{}), ready: make(chan struct{}, 1)}
	b.effect = r.node.c.effects.begin(job.ExecutionID, r.node.name, r.node.c.clock())
	r.bodies[job.ExecutionID] = b
	r.node.c.wg.Go(b.main)
	r.node.c.wg.Go(b.speak)
	return nil
}

// Kill ends one body without a result.
func (r *simRunner) Kill(execution string) {
	r.mu.Lock()
	b := r.bodies[execution]
	r.mu.Unlock()
	if b != nil {
		b.kill(false)
	}
}

// KillAll is the fence; nothing of a frozen node does anything.
func (r *simRunner) KillAll() {
	if r.node.c.simNet.thawed(r.node.gone, r.node.name) {
		r.fence()
	}
}

// fence kills every body and refuses new ones.
func (r *simRunner) fence() {
	r.mu.Lock()
	r.fenced = true
	bodies := r.bodies
	r.bodies = map[string]*simBody{}
	r.mu.Unlock()
	for _, b := range bodies {
		b.kill(true)
	}
}

// AliveUntil moves the guard's deadline. A guard that has fired does not listen any more.
func (r *simRunner) AliveUntil(nanos int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fenced || r.over {
		return
	}
	r.until = time.Duration(nanos)
	if r.timer != nil {
		r.timer.Stop()
	}
	r.timer = time.AfterFunc(r.until-r.node.c.clock(), r.guard)
}

// guard is the end of the lease as the guard process sees it.
func (r *simRunner) guard() {
	r.mu.Lock()
	due := !r.fenced && !r.over && r.node.c.clock() >= r.until
	r.mu.Unlock()
	if due {
		r.fence()
	}
}

// Revive puts the runner back into service.
func (r *simRunner) Revive(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return pyexec.ErrStopped
	}
	r.fenced = false
	return nil
}

// die is the end of the node's process: its guard kills everything and nobody is told.
func (r *simRunner) die() {
	r.mu.Lock()
	r.over = true
	if r.timer != nil {
		r.timer.Stop()
	}
	r.mu.Unlock()
	r.fence()
}

// simBody is one body with the pipe on which it speaks to its node.
type simBody struct {
	runner *simRunner
	job    pyexec.Job
	host   pyexec.Host
	effect *effect
	dead   chan struct{} // closed when the process is gone
	ready  chan struct{}
	number int64 // of its requests

	mu     sync.Mutex // guards the rest
	said   []func()
	ended  bool
	killed bool
	fenced bool
	final  bool // a result was delivered
}

// end takes the process away; the node learns of it through the pipe.
func (b *simBody) end(killed, fenced bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return
	}
	b.ended, b.killed, b.fenced = true, killed, fenced
	b.runner.node.c.effects.finish(b.effect, b.runner.node.c.clock(), killed)
	close(b.dead)
}

func (b *simBody) kill(fenced bool) { b.end(true, fenced) }

// say writes a line to the node.
func (b *simBody) say(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = append(b.said, f)
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// next gives the next line; over when the process is gone and all it said was heard, or it was killed.
func (b *simBody) next() (line func(), over bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.killed || (b.ended && len(b.said) == 0) {
		return nil, true
	}
	if len(b.said) > 0 {
		line = b.said[0]
		b.said = b.said[1:]
	}
	return line, false
}

// speak is the node's reader of the body's pipe: it stands still while the node is frozen.
func (b *simBody) speak() {
	n := b.runner.node
	for {
		if !n.c.simNet.thawed(n.gone, n.name) {
			return
		}
		line, over := b.next()
		switch {
		case over:
			b.buried()
			return
		case line != nil:
			line()
		default:
			select {
			case <-b.ready:
			case <-b.dead:
			case <-n.gone:
				return
			}
		}
	}
}

// buried tells the node that nothing of the process is left.
func (b *simBody) buried() {
	r := b.runner
	r.mu.Lock()
	if r.bodies[b.job.ExecutionID] == b {
		delete(r.bodies, b.job.ExecutionID)
	}
	over := r.over
	r.mu.Unlock()
	b.mu.Lock()
	lost := b.fenced && !b.final
	b.mu.Unlock()
	switch {
	case over:
	case lost:
		b.host.Lost()
	default:
		b.host.Terminated()
	}
}

func (b *simBody) main() {
	arg := ""
	if len(b.job.Arguments) > 0 {
		_ = json.Unmarshal(b.job.Arguments[0].Value, &arg)
	}
	value, err := b.runner.node.c.programs[b.job.Target](b, arg)
	b.say(func() {
		b.mu.Lock()
		b.final = true
		b.mu.Unlock()
		if err != nil {
			b.host.Result(pyexec.Result{Error: &pyexec.Error{Type: "Error", Message: err.Error()}})
			return
		}
		text, _ := json.Marshal(value)
		v := pyexec.Inline(text)
		b.host.Result(pyexec.Result{Value: &v})
	})
	b.sleep(5 * time.Millisecond) // it takes a moment from the last word to the end of the process
	b.end(false, false)
}

// sleep is work. A body whose process is gone does nothing any more.
func (b *simBody) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-b.dead:
		runtime.Goexit()
	}
}

// take waits for an answer of the node.
func take[T any](b *simBody, ch <-chan T) T {
	select {
	case v := <-ch:
		return v
	case <-b.dead:
		runtime.Goexit()
	}
	panic("unreachable")
}

// submit calls a target and gives the handle.
func (b *simBody) submit(target, arg string) (string, error) { return b.submitLater(0, target, arg) }

func (b *simBody) submitLater(delay time.Duration, target, arg string) (string, error) {
	b.number++
	text, _ := json.Marshal(arg)
	req := pyexec.SubmitRequest{Number: b.number, Module: "m", Target: target, Type: "task",
		Delay: pyexec.Millis(delay.Milliseconds()), Arguments: []pyexec.Value{pyexec.Inline(text)}}
	type answer struct {
		id  string
		err error
	}
	ch := make(chan answer, 1)
	b.say(func() {
		b.host.Submit(req, func(r pyexec.SubmitReply, err error) { ch <- answer{r.ExecutionID, err} })
	})
	a := take(b, ch)
	return a.id, a.err
}

// selects waits for the first of some executions; timeout < 0 waits for ever, 0 polls.
func (b *simBody) selects(timeout time.Duration, handles ...string) (*pyexec.Outcome, error) {
	b.number++
	req := pyexec.SelectRequest{Number: b.number}
	for _, h := range handles {
		req.Handles = append(req.Handles, pyexec.Handle{Type: "execution", ID: h})
	}
	if timeout >= 0 {
		ms := pyexec.Millis(timeout.Milliseconds())
		req.Timeout = &ms
	}
	type answer struct {
		out *pyexec.Outcome
		err error
	}
	ch := make(chan answer, 1)
	b.say(func() {
		b.host.Select(req, func(o *pyexec.Outcome, err error) { ch <- answer{o, err} })
	})
	a := take(b, ch)
	if o := a.out; o != nil {
		r := reading{reader: b.job.ExecutionID, execution: handles[o.Winner], status: o.Status}
		if o.Value != nil {
			r.value = string(o.Value.Value)
		}
		l := b.runner.node.c.effects
		l.mu.Lock()
		l.read = append(l.read, r)
		l.mu.Unlock()
	}
	return a.out, a.err
}

// call submits and waits; what is not a value is an error.
func (b *simBody) call(target, arg string) (string, error) {
	id, err := b.submit(target, arg)
	if err != nil {
		return "", err
	}
	return b.result(id)
}

// result waits for one execution.
func (b *simBody) result(id string) (string, error) {
	out, err := b.selects(-1, id)
	if err != nil {
		return "", err
	}
	return outcomeText(out)
}

func outcomeText(out *pyexec.Outcome) (value string, err error) {
	switch {
	case out.Error != nil:
		return "", fmt.Errorf("child: %s", out.Error.Message)
	case out.Status != pyexec.StatusOK:
		return "", fmt.Errorf("child: %s", out.Status)
	}
	return value, json.Unmarshal(out.Value.Value, &value)
}

// newProgramRand gives a body that is told a seed its own luck.
func newProgramRand(seed string) *rand.Rand {
	h := xxhash.Sum64String(seed)
	return rand.New(rand.NewPCG(h, h))
}
