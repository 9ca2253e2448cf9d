package pyexec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// How a pool goes through its life.
const (
	stateNew = iota
	stateRunning
	stateFenced
	stateStopped
)

// spawnBackoff is the pause after a warm process could not be started.
const spawnBackoff = time.Second

// Pool keeps warm executors and runs jobs in them. mu guards the fields below it.
type Pool struct {
	cfg  Config
	log  hclog.Logger
	py   *python
	null *os.File

	discovering sync.Mutex     // one discovery at a time
	wg          sync.WaitGroup // executors and starts

	mu       sync.Mutex
	state    int
	guard    *guard
	seq      uint64
	starting int
	idle     []*executor // ready, oldest first
	waiting  []*body     // for an executor, oldest first
	bodies   map[string]*body
	running  map[*body]*executor
	code     codeStore
	warned   map[string]bool
	paused   bool // after a failed warm start, until the timer
	resume   *time.Timer
	peers    []Statement
}

// New finds the interpreter and unpacks the SDK; nothing runs before Start.
func New(cfg Config) (*Pool, error) {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.Scratch == "" {
		return nil, errors.New("pyexec needs a scratch directory; set Config.Scratch")
	}
	scratch, err := filepath.Abs(cfg.Scratch)
	if err != nil {
		return nil, fmt.Errorf("the scratch directory %s cannot be used: %w", cfg.Scratch, err)
	}
	cfg.Scratch = scratch
	if cfg.DiscoverTimeout == 0 {
		cfg.DiscoverTimeout = 60 * time.Second
	}
	py, err := findPython(cfg)
	if err != nil {
		return nil, err
	}
	return &Pool{
		cfg: cfg, log: cfg.Logger, py: py, bodies: map[string]*body{}, running: map[*body]*executor{},
		code: newCodeStore(filepath.Join(scratch, "code")), warned: map[string]bool{},
	}, nil
}

// Start starts the guard and the warm executors; it does not wait for those.
func (p *Pool) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != stateNew {
		return errors.New("the pool was started before; make a new one")
	}
	if err := p.clean(); err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", os.DevNull, err)
	}
	g, err := startGuard(p.cfg.Scratch, p.cfg.Boot)
	if err != nil {
		null.Close()
		return err
	}
	p.null = null
	p.adopt(g)
	return nil
}

// clean removes what executors of an earlier boot left in the scratch directory.
func (p *Pool) clean() error {
	left, err := filepath.Glob(filepath.Join(p.cfg.Scratch, "x[0-9]*"))
	if err != nil {
		return fmt.Errorf("cannot look into the scratch directory: %w", err)
	}
	for _, dir := range append(left, p.code.dir) {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("cannot clean the scratch directory: %w", err)
		}
	}
	return nil
}

// adopt puts a guard into service; called with mu held.
func (p *Pool) adopt(g *guard) {
	p.guard = g
	p.state = stateRunning
	if p.peers != nil {
		g.send(guardMessage{Op: "peers", Peers: p.peers}, nil)
	}
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		<-g.gone
		p.guardGone(g)
	}()
	p.refill()
}

// guardGone fences the pool when its guard ended on its own.
func (p *Pool) guardGone(g *guard) {
	p.mu.Lock()
	if p.guard == g && p.state == stateRunning {
		p.state = stateFenced
		p.log.Warn("the guard has ended and every execution with it")
	}
	lost := p.dropWaiting()
	p.mu.Unlock()
	for _, b := range lost {
		b.kill(true)
		b.end(Result{})
	}
}

// Stop kills everything and waits; when ctx ends first the guard is killed, which kills everything too. The guard
// makes no statement: the node lives and can speak for itself.
func (p *Pool) Stop(ctx context.Context) error {
	p.mu.Lock()
	was, g := p.state, p.guard
	p.state = stateStopped
	if p.resume != nil {
		p.resume.Stop()
	}
	p.mu.Unlock()
	if was == stateStopped || was == stateNew {
		return nil
	}
	p.killBodies()
	g.send(guardMessage{Op: "quit"}, nil)
	done := make(chan struct{})
	go func() { p.wg.Wait(); close(done) }()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		g.cmd.Process.Kill()
		<-done
		err = fmt.Errorf("the executors did not end in time and were killed with their guard: %w", ctx.Err())
	}
	p.null.Close()
	return err
}

// Revive puts a fenced pool back into service with a fresh guard that has no deadline yet.
func (p *Pool) Revive(ctx context.Context) error {
	p.mu.Lock()
	g, state := p.guard, p.state
	p.mu.Unlock()
	if state == stateRunning {
		return nil
	}
	if state != stateFenced {
		return ErrStopped
	}
	g.send(guardMessage{Op: "quit"}, nil)
	select {
	case <-g.gone:
	case <-ctx.Done():
		g.cmd.Process.Kill()
		return fmt.Errorf("the old guard did not end in time and was killed; try again: %w", ctx.Err())
	}
	fresh, err := startGuard(p.cfg.Scratch, p.cfg.Boot)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != stateFenced {
		fresh.send(guardMessage{Op: "quit"}, nil)
		<-fresh.gone
		return ErrStopped
	}
	p.adopt(fresh)
	return nil
}

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
	p.bodies[job.ExecutionID] = b
	p.waiting = append(p.waiting, b)
	p.match()
	p.refill()
	return nil
}

// match gives waiting bodies to idle executors; called with mu held.
func (p *Pool) match() {
	for len(p.waiting) > 0 && len(p.idle) > 0 {
		b, e := p.waiting[0], p.idle[0]
		p.waiting, p.idle = p.waiting[1:], p.idle[1:]
		p.running[b] = e
		p.wg.Add(1)
		go func() {
			defer p.wg.Done()
			if !e.assign(b) {
				p.requeue(b)
			}
		}()
	}
}

// requeue is for a body whose executor died before it got the job.
func (p *Pool) requeue(b *body) {
	p.mu.Lock()
	delete(p.running, b)
	ok := p.state == stateRunning && !b.killed.Load()
	if ok {
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
	want := len(p.waiting) + p.cfg.Warm - len(p.idle)
	if p.paused {
		want = len(p.waiting)
	}
	for limit := max(4, 2*runtime.NumCPU()); p.starting < min(want, limit); {
		p.starting++
		p.seq++
		p.wg.Add(1)
		go p.startOne(p.guard, p.seq)
	}
}

func (p *Pool) startOne(g *guard, seq uint64) {
	defer p.wg.Done()
	p.wg.Add(1) // until onExit
	e, err := startExecutor(p, g, seq)
	if err != nil {
		p.wg.Done()
	} else {
		err = <-e.readied
	}
	p.mu.Lock()
	p.starting--
	var failed *body
	switch {
	case err == nil && p.state == stateRunning && p.guard == g:
		p.idle = append(p.idle, e)
		p.match()
	case err == nil:
		e.kill()
	case len(p.waiting) > p.starting:
		failed = p.waiting[0]
		p.waiting = p.waiting[1:]
	default:
		p.pause(err)
	}
	p.refill()
	p.mu.Unlock()
	if failed != nil {
		if errors.Is(err, errGuardGone) {
			failed.kill(true)
		}
		failed.end(Result{Error: internal(fmt.Sprintf("failed to spawn executor: %v", err))})
	}
}

// pause holds warm starts back for a while after one failed; called with mu held.
func (p *Pool) pause(err error) {
	if p.paused || p.state != stateRunning || errors.Is(err, errGuardGone) {
		return
	}
	p.log.Error("a warm executor could not be started", "error", err)
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
func (p *Pool) onExit(e *executor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = slices.DeleteFunc(p.idle, func(o *executor) bool { return o == e })
	p.refill()
}

// Kill ends an execution at once: SIGKILL to its process group, no result, then Terminated.
func (p *Pool) Kill(executionID string) {
	p.mu.Lock()
	b := p.bodies[executionID]
	n := len(p.waiting)
	p.waiting = slices.DeleteFunc(p.waiting, func(o *body) bool { return o == b })
	waited := len(p.waiting) < n
	p.mu.Unlock()
	if b == nil {
		return
	}
	b.kill(false)
	if waited {
		b.end(Result{})
	}
}

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
	g.send(guardMessage{Op: "killall"}, nil)
	p.killBodies()
}

// killBodies marks every body as lost and ends those that never began.
func (p *Pool) killBodies() {
	p.mu.Lock()
	all := make([]*body, 0, len(p.bodies))
	for _, b := range p.bodies {
		all = append(all, b)
	}
	lost := p.dropWaiting()
	p.mu.Unlock()
	for _, b := range all {
		b.kill(true)
	}
	for _, b := range lost {
		b.end(Result{})
	}
}

// dropWaiting empties the queue; called with mu held.
func (p *Pool) dropWaiting() []*body {
	lost := p.waiting
	p.waiting = nil
	return lost
}

// AliveUntil moves the guard's deadline (CLOCK_BOOTTIME nanoseconds): when it passes the guard kills every group,
// then itself. 0 = none.
func (p *Pool) AliveUntil(boottimeNanos int64) {
	p.tell(guardMessage{Op: "alive", Until: boottimeNanos})
}

// SetPeers replaces the list of whom the guard tells, first to last, that the node's executions are gone.
func (p *Pool) SetPeers(peers []Statement) {
	p.mu.Lock()
	p.peers = slices.Clone(peers)
	p.mu.Unlock()
	p.tell(guardMessage{Op: "peers", Peers: peers})
}

func (p *Pool) tell(m guardMessage) {
	p.mu.Lock()
	g, state := p.guard, p.state
	p.mu.Unlock()
	if g != nil && state == stateRunning {
		g.send(m, nil)
	}
}

func (p *Pool) warnOnce(method string, err error) {
	p.mu.Lock()
	known := p.warned[method]
	p.warned[method] = true
	p.mu.Unlock()
	if !known {
		p.log.Warn("a message of an executor was ignored", "method", method, "error", err)
	}
}

func (p *Pool) generation() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code.generation
}
