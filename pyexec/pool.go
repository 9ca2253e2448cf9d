package pyexec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
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
	of   map[string]*python // configured module -> what it runs with; py is that of others
	null *os.File

	groups groups // of executors that have a limit of memory; from Start on

	discovering sync.Mutex     // one discovery at a time
	wg          sync.WaitGroup // executors and starts
	dirs        workDirs

	mu       sync.Mutex
	state    int
	guard    *guard
	seq      uint64
	starting int
	bares    []*lane          // one for each interpreter
	lanes    map[string]*lane // by snapshot
	recent   []*lane          // the same, last used first
	waiting  []*body          // for an executor, oldest first
	bodies   map[string]*body
	running  map[*body]*executor
	code     codeStore
	warned   map[string]bool
	paused   bool // after a failed warm start, until the timer
	resume   *time.Timer
	peers    []Statement

	// Tests have others.
	newWatcher func() (*fsnotify.Watcher, error) // fsnotify's
	scanEvery  time.Duration                     // see scanEvery
	openGroups func() groups                     // openGroups
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
	pythons, of, err := findPythons(cfg)
	if err != nil {
		return nil, err
	}
	var bares []*lane
	for _, py := range pythons {
		bare := &lane{py: py}
		if py.fork {
			bare.state = laneDown
		}
		bares = append(bares, bare)
	}
	return &Pool{
		newWatcher: fsnotify.NewWatcher, scanEvery: scanEvery, openGroups: openGroups, of: of, bares: bares, lanes: map[string]*lane{},
		dirs: workDirs{root: scratch},
		cfg:  cfg, log: cfg.Logger, py: pythons[0], bodies: map[string]*body{}, running: map[*body]*executor{},
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
	p.groups = p.openGroups()
	g, err := startGuard(p.cfg, p.groups)
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
		if err := removeTree(dir); err != nil {
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
	p.openLanes()
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		<-g.down
		p.mu.Lock()
		lost := p.fenceLocked(g)
		p.mu.Unlock()
		endLost(lost)
		<-g.gone
	}()
	p.refill()
}

// fenceLocked fences the pool when its guard ended on its own, and returns the bodies that never began.
func (p *Pool) fenceLocked(g *guard) []*body {
	if p.guard != g || p.state == stateStopped {
		return nil
	}
	if p.state == stateRunning {
		p.state = stateFenced
		p.log.Warn("the guard has ended and every execution with it")
	}
	return p.dropWaiting()
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
	p.stopLanes()
	p.mu.Unlock()
	if was == stateStopped || was == stateNew {
		return nil
	}
	p.loseAll()
	g.send(guardMessage{Op: "quit"}, nil)
	p.silence(g)
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
	p.dirs.drop()
	return err
}

// silence ends a guard that is still busy with a statement: nothing of its is alive, and the node can speak.
func (p *Pool) silence(g *guard) {
	p.wg.Go(func() {
		<-g.down
		g.cmd.Process.Kill()
	})
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
	case <-g.down:
	case <-ctx.Done():
		g.cmd.Process.Kill()
		return fmt.Errorf("the old guard did not end in time and was killed; try again: %w", ctx.Err())
	}
	// Nothing of it is alive. A statement that it is still trying to make would come after the node is back, and be false
	// of what runs then.
	g.cmd.Process.Kill()
	fresh, err := startGuard(p.cfg, p.groups)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != stateFenced || p.guard != g {
		revived := p.state == stateRunning // by another call
		fresh.send(guardMessage{Op: "quit"}, nil)
		<-fresh.gone
		if revived {
			return nil
		}
		return ErrStopped
	}
	p.adopt(fresh)
	return nil
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
	if p.first(method) {
		p.log.Warn("a message of an executor was ignored", "method", method, "error", err)
	}
}

// first is true once for each name.
func (p *Pool) first(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.warned[name]
	p.warned[name] = true
	return !known
}

func (p *Pool) generation() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code.generation
}
