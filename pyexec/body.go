package pyexec

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// body is one job and its Host. mu makes the Host's calls one at a time and guards done; Log may hold it for long, so
// nothing that must be prompt (kill) takes it.
type body struct {
	job  Job
	host Host
	pool *Pool
	exec *executor // set once, before the job is written

	limits   Limits // of the node and the target
	snapshot string // the code it runs, empty = the files as they are
	lane     *lane  // where its executor comes from; the pool's mu guards it

	killed   atomic.Bool // no more calls except the last one
	fenced   atomic.Bool // the last one is Lost
	timedOut atomic.Bool
	timer    *time.Timer

	mu   sync.Mutex
	done bool // the result was delivered
}

// call is how everything but the end reaches the Host.
func (b *body) call(f func(Host)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.killed.Load() {
		f(b.host)
	}
}

// output logs a line captured from a descriptor.
func (b *body) output(level int, line string) {
	b.call(func(h Host) { h.Log(level, &line, nil) })
}

// deliver passes the final message on when all output before it was, and lets the executor go.
func (b *body) deliver(r Result) {
	b.trace("final")
	b.exec.drainOutput()
	b.mu.Lock()
	if !b.done && !b.killed.Load() && !b.timedOut.Load() {
		b.done = true
		b.stopTimer()
		b.trace("result")
		b.host.Result(r)
	} else if r.Release != nil {
		r.Release()
	}
	b.mu.Unlock()
	b.exec.windUp()
}

func (b *body) finished() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.done
}

// expire is the timer's: the result is reported when the process is gone, with everything it said.
func (b *body) expire() {
	b.timedOut.Store(true)
	b.exec.end()
}

func (b *body) stopTimer() {
	if b.timer != nil {
		b.timer.Stop()
	}
}

// kill ends the body without a result; fence makes its last word Lost.
func (b *body) kill(fence bool) {
	if fence {
		b.fenced.Store(true)
	}
	b.killed.Store(true)
	if e := b.pool.executorOf(b); e != nil {
		if fence {
			e.kill()
		} else {
			e.end()
		}
	}
}

// end is called once, when nothing of the process is left and all it wrote was handled.
func (b *body) end(r Result) {
	b.mu.Lock()
	b.stopTimer()
	if !b.done && !b.killed.Load() {
		b.done = true
		b.trace("result")
		b.host.Result(r)
	}
	lost := !b.done && b.fenced.Load()
	b.killed.Store(true)
	b.mu.Unlock()
	b.trace("exited")
	b.pool.forget(b)
	if lost {
		b.host.Lost()
		return
	}
	b.host.Terminated()
}

// outcome says what the end of the process means for a body that has delivered nothing.
func (b *body) outcome(s exitStatus) Result {
	if s.Gone {
		b.fenced.Store(true)
		b.killed.Store(true)
	}
	if b.timedOut.Load() {
		return Result{Timeout: true}
	}
	gone := internal(fmt.Sprintf("EOF: the process ended without a result (%s)", b.limits.explain(s)))
	gone.Vanished = true
	return Result{Error: gone}
}

func (b *body) trace(stage string) {
	if b.pool.cfg.Trace != nil {
		b.pool.cfg.Trace(b.job.ExecutionID, stage)
	}
}
