package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/pyexec"
)

// effect is what one body really did, written outside the engine.
type effect struct {
	execution, node string
	start, end      time.Duration // end 0 = still alive
	killed          bool
	said            string // its last word: a value, or "!" and an error
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

// last notes what a body said before its end.
func (l *effects) last(e *effect, word string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.said = word
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
	deaf   bool // the guard is gone
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
	if r.fenced || r.over || r.deaf {
		return
	}
	r.until = time.Duration(nanos)
	if r.timer != nil {
		r.timer.Stop()
	}
	r.timer = time.AfterFunc(r.until-r.node.c.clock(), r.guard)
}

// disarm takes the guard away.
func (r *simRunner) disarm() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deaf = true
	if r.timer != nil {
		r.timer.Stop()
	}
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
