package node

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/coflux-mesh/coflux/pyexec"
)

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
	word := value
	if err != nil {
		word = "!" + err.Error()
	}
	b.runner.node.c.effects.last(b.effect, word)
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
	return b.submitWith(pyexec.SubmitRequest{Delay: pyexec.Millis(delay.Milliseconds())}, target, arg)
}

// submitRetried calls a target that is tried so many times more when it fails.
func (b *simBody) submitRetried(times int, target, arg string) (string, error) {
	return b.submitWith(pyexec.SubmitRequest{Retries: &pyexec.Retries{Limit: &times, BackoffMaxMS: 50}}, target, arg)
}

// submitWith calls a target with options.
func (b *simBody) submitWith(req pyexec.SubmitRequest, target, arg string) (string, error) {
	b.number++
	text, _ := json.Marshal(arg)
	req.Number, req.Module, req.Target, req.Arguments = b.number, "m", target, []pyexec.Value{pyexec.Inline(text)}
	req.Type = cmp.Or(req.Type, "task")
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
	return b.selectsWith(pyexec.SelectRequest{}, timeout, handles...)
}

// suspends is a wait that suspends the execution when its time is over: then it does not return.
func (b *simBody) suspends(timeout time.Duration, handles ...string) (*pyexec.Outcome, error) {
	return b.selectsWith(pyexec.SelectRequest{Suspend: true}, timeout, handles...)
}

// selectsWith waits with options.
func (b *simBody) selectsWith(req pyexec.SelectRequest, timeout time.Duration, handles ...string) (*pyexec.Outcome, error) {
	b.number++
	req.Number = b.number
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
