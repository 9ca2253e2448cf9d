package pyexec

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"
)

// Run starts a job and returns at once; everything else goes to the host.
func (p *Pool) Run(job Job, host Host) error {
	b := &body{job: job, host: host, pool: p}
	b.trace("run")
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.state {
	case stateRunning:
	case stateFenced:
		return ErrFenced
	default:
		return ErrStopped
	}
	if p.bodies[job.ExecutionID] != nil {
		return fmt.Errorf("execution %s is running already", job.ExecutionID)
	}
	b.snapshot = p.code.use(job.Module)
	b.lane = p.laneOf(b)
	b.limits = p.cfg.Limits.and(p.code.limitsOf(job.Module, job.Target))
	p.bodies[job.ExecutionID] = b
	p.waiting = append(p.waiting, b)
	p.match()
	p.refill()
	return nil
}

// match gives waiting bodies to idle executors; called with mu held.
func (p *Pool) match() {
	p.waiting = slices.DeleteFunc(p.waiting, func(b *body) bool {
		if len(b.lane.idle) == 0 {
			return false
		}
		e := b.lane.idle[0]
		b.lane.idle = b.lane.idle[1:]
		p.running[b] = e
		p.wg.Add(1)
		go func() {
			defer p.wg.Done()
			if !e.assign(b) {
				p.requeue(b)
			}
		}()
		return true
	})
}

// requeue is for a body whose executor died before it got the job.
func (p *Pool) requeue(b *body) {
	p.mu.Lock()
	delete(p.running, b)
	ok := p.state == stateRunning && !b.killed.Load()
	if ok {
		b.lane = p.laneOf(b)
		p.waiting = append([]*body{b}, p.waiting...)
		p.match()
		p.refill()
	}
	p.mu.Unlock()
	if !ok {
		b.end(Result{})
	}
}

// refill starts as many executors as are waited for and kept warm; called with mu held.
func (p *Pool) refill() {
	if p.state != stateRunning {
		return
	}
	waits := map[*lane]int{}
	for _, b := range p.waiting {
		waits[b.lane]++
		p.startIn(b.lane, waits[b.lane])
	}
	for _, l := range p.recent {
		p.startIn(l, waits[l]+p.warmOf(l)-len(l.idle))
	}
	for _, l := range p.bares {
		p.startIn(l, waits[l]+p.warmOf(l)-len(l.idle))
	}
}

// startIn lets n executors of a lane be in the making, if that is possible; called with mu held.
func (p *Pool) startIn(l *lane, n int) {
	limit := max(4, 2*runtime.NumCPU())
	if l.state == laneUp {
		limit *= 2 // forks cost less, and least when many are asked for at once
	}
	for l.starting < n && p.starting < limit && l.canStart() {
		p.starting++
		l.starting++
		p.seq++
		p.wg.Add(1)
		from := l.template
		if l.state != laneUp {
			from = 0
		}
		go p.startOne(p.guard, p.seq, l, from)
	}
}

func (p *Pool) startOne(g *guard, seq uint64, l *lane, from uint64) {
	defer p.wg.Done()
	p.wg.Add(1) // until onExit
	e, err := startExecutor(p, g, seq, l, from)
	if err != nil {
		p.wg.Done()
	} else {
		err = <-e.readied
	}
	p.mu.Lock()
	p.starting--
	l.starting--
	var failed *body
	var lost []*body
	switch {
	case err == nil && p.state == stateRunning && p.guard == g && !l.closed:
		l.idle = append(l.idle, e)
		p.match()
		p.trim()
	case err == nil:
		e.kill()
	case errors.Is(err, errUnforked):
		p.unforked(g, l, from)
	case errors.Is(err, errGuardGone):
		lost = p.fenceLocked(g)
	default:
		if failed = p.failOne(l); failed == nil {
			p.pause(err)
		}
	}
	p.refill()
	p.mu.Unlock()
	endLost(lost)
	if failed != nil {
		failed.end(Result{Error: internal(fmt.Sprintf("failed to spawn executor: %v", err))})
	}
}

// unforked ends a template that does not fork: the guard's word of that comes, and then the next try; called with mu held.
func (p *Pool) unforked(g *guard, l *lane, from uint64) {
	if p.guard == g && l.template == from && l.state == laneUp {
		l.state = laneDown
		g.send(guardMessage{Op: "kill", ID: from}, nil)
	}
	p.reroute()
}

// failOne takes the body out of the queue that has waited longest for a lane whose executor did not come, unless others
// are coming for all; called with mu held.
func (p *Pool) failOne(l *lane) *body {
	n, first := 0, -1
	for i, b := range p.waiting {
		if b.lane == l {
			if n++; n == 1 {
				first = i
			}
		}
	}
	if n <= l.starting {
		return nil
	}
	b := p.waiting[first]
	p.waiting = slices.Delete(p.waiting, first, first+1)
	return b
}

// pause holds warm starts back for a while after one failed; called with mu held.
func (p *Pool) pause(err error) {
	if p.paused || p.state != stateRunning {
		return
	}
	p.log.Error("executors are kept ready again after a pause", "pause", spawnBackoff, "error", err)
	p.paused = true
	p.resume = time.AfterFunc(spawnBackoff, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.paused = false
		p.refill()
	})
}

// attach says whether b may begin on e.
func (p *Pool) attach(b *body, e *executor) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running[b] = e
	return !b.killed.Load()
}

func (p *Pool) executorOf(b *body) *executor {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running[b]
}

func (p *Pool) forget(b *body) {
	p.mu.Lock()
	delete(p.running, b)
	delete(p.bodies, b.job.ExecutionID)
	old := p.code.release(b.snapshot)
	p.mu.Unlock()
	if old != "" {
		os.RemoveAll(old)
	}
}

// onExit takes a dead executor out of the idle ones.
func (p *Pool) onExit(e *executor, s exitStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(e.lane.idle)
	e.lane.idle = slices.DeleteFunc(e.lane.idle, func(o *executor) bool { return o == e })
	if len(e.lane.idle) < n && !s.Gone {
		p.pause(fmt.Errorf("an idle executor has ended (%s)", s))
	}
	p.refill()
}

// Kill ends an execution: SIGKILL to its process group, SIGTERM before it where there is a Config.KillGrace; no result, then
// Terminated.
func (p *Pool) Kill(executionID string) {
	p.mu.Lock()
	b := p.bodies[executionID]
	n := len(p.waiting)
	p.waiting = slices.DeleteFunc(p.waiting, func(o *body) bool { return o == b })
	waited := len(p.waiting) < n
	if waited {
		p.wg.Add(1)
	}
	p.mu.Unlock()
	if b == nil {
		return
	}
	b.kill(false)
	if waited {
		go func() {
			defer p.wg.Done()
			b.end(Result{})
		}()
	}
}

// fenceLimit is how long the guard may take to carry a fence out before it is ended itself, which carries it out too.
const fenceLimit = time.Second

// KillAll is the fence: every execution is killed and reported Lost, and Run refuses until Revive.
func (p *Pool) KillAll() {
	p.mu.Lock()
	if p.state != stateRunning {
		p.mu.Unlock()
		return
	}
	p.state = stateFenced
	g := p.guard
	p.mu.Unlock()
	p.loseAll()
	g.send(guardMessage{Op: "killall"}, nil)
	p.wg.Go(func() {
		limit := time.NewTimer(fenceLimit)
		defer limit.Stop()
		select {
		case <-g.down:
		case <-limit.C:
			if g.busy() {
				g.cmd.Process.Kill()
			}
		}
	})
}

// loseAll marks every body as lost, before anything of theirs is killed, and ends those that never began.
func (p *Pool) loseAll() {
	p.mu.Lock()
	for _, b := range p.bodies {
		b.fenced.Store(true)
		b.killed.Store(true)
	}
	lost := p.dropWaiting()
	p.wg.Add(1)
	p.mu.Unlock()
	go func() {
		defer p.wg.Done()
		endLost(lost)
	}()
}

// endLost ends bodies that never began. Hosts are called by goroutines of the pool only, never by a caller of the pool.
func endLost(bodies []*body) {
	for _, b := range bodies {
		b.kill(true)
		b.end(Result{})
	}
}

// dropWaiting empties the queue; called with mu held.
func (p *Pool) dropWaiting() []*body {
	lost := p.waiting
	p.waiting = nil
	return lost
}
