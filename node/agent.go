package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/hashicorp/go-hclog"
)

// runner executes bodies; pyexec.Pool is one.
type runner interface {
	Run(job pyexec.Job, host pyexec.Host) error
	Kill(executionID string)
	KillAll()
	AliveUntil(boottimeNanos int64)
	Revive(ctx context.Context) error
}

// agentConfig is what an agent is made of.
type agentConfig struct {
	// Open describes the agent; Session and Targets are filled in by the agent.
	Open   scheduler.OpenSession
	Runner runner
	Values values
	Log    logSink
	// Metrics takes points and definitions; it may block as back-pressure.
	Metrics metricSink
	Logger  hclog.Logger
	// Clock is CLOCK_BOOTTIME.
	Clock func() time.Duration
	Trace *tracer
	// Dial opens a stream to whoever leads now.
	Dial func(ctx context.Context) (stream, error)
	// Announce has the guard told what to say when this process has died, before a guard takes over. May be nil.
	Announce func()
}

// agent is the half of a node that executes. It speaks with the leader over one stream at a time, and keeps what it
// holds through changes of the leader.
type agent struct {
	agentConfig

	ctx        context.Context // from Start to Stop
	stop       context.CancelFunc
	wg         sync.WaitGroup
	mu         sync.Mutex // guards the rest
	session    string
	fresh      bool // the session was never welcomed
	workspace  string
	targets    []state.DeclaredTarget
	manifests  []scheduler.ModuleManifest // to be registered before the targets are declared; nil = none
	changed    bool                       // targets, since they were last sent
	draining   bool
	unwanted   string // why the leader refused the session when it last asked; "" once it was welcomed
	term       uint64 // the highest seen: streams of lower ones are refused (rules A4)
	stream     stream // nil while there is none
	asked      uint64
	asks       map[uint64]*ask
	window     askWindow // of asks, on the present stream
	executions map[string]*execution
	runs       map[string]*runCache
	waiting    map[string]map[*execution]bool // by awaited execution
	known      *remembered
	endedAway  []string // ended while there was no stream
	idle       chan struct{}
	gone       chan struct{} // closed when a session was lost while draining
	lease      lease
}

// ask is a request that the leader has not answered yet.
type ask struct {
	id   uint64
	body []byte
	done func(scheduler.Reply)
}

// runCache holds the outcomes of a run's executions while anything of the run executes here.
type runCache struct {
	live     int
	outcomes map[string]*Outcome
}

func newAgent(cfg agentConfig) *agent {
	a := &agent{agentConfig: cfg, known: newRemembered(), gone: make(chan struct{})}
	a.reset()
	return a
}

// reset begins a new session: nothing of an earlier one is left.
func (a *agent) reset() {
	a.session, a.fresh = "S"+rand.Text(), true
	a.asks, a.executions, a.runs = map[uint64]*ask{}, map[string]*execution{}, map[string]*runCache{}
	a.waiting = map[string]map[*execution]bool{}
	a.endedAway, a.lease = nil, lease{}
}

// Session is the id of the present session.
func (a *agent) Session() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.session
}

// Start connects and takes work until Stop.
func (a *agent) Start() {
	a.ctx, a.stop = context.WithCancel(context.Background())
	a.wg.Go(func() { a.run(a.ctx) })
	a.wg.Go(func() { a.watchFence(a.ctx) })
}

// Stop ends the agent and waits. It does not drain.
func (a *agent) Stop() {
	if a.stop != nil {
		a.stop()
		a.wg.Wait()
	}
}

// Declare tells the mesh what the agent offers from now on, and registers manifests in its workspace before that, if there
// are any: what is served can be submitted.
func (a *agent) Declare(targets []state.DeclaredTarget, manifests []scheduler.ModuleManifest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.manifests
	a.targets, a.manifests, a.changed = targets, manifests, true
	if !a.fresh {
		// What was archived meanwhile comes back only when its code has changed.
		a.registerLocked(slices.DeleteFunc(slices.Clone(manifests), func(m scheduler.ModuleManifest) bool {
			return slices.ContainsFunc(before, func(old scheduler.ModuleManifest) bool { return reflect.DeepEqual(m, old) })
		}))
		a.askLocked(&scheduler.UpdateSession{Session: a.session, Targets: targets, Draining: a.draining}, nil)
	}
}

// registerLocked registers manifests, each module by itself, so that one that is refused does not hold up the others. mu is
// held.
func (a *agent) registerLocked(manifests []scheduler.ModuleManifest) {
	for _, m := range manifests {
		a.askLocked(&scheduler.RegisterManifests{Session: a.session, Modules: []scheduler.ModuleManifest{m}}, func(r scheduler.Reply) {
			if r.Err != nil && r.Err.Code != scheduler.CodeFenced {
				a.Logger.Error("the workflows of a module are not registered", "module", m.Module, "reason", r.Err.Message)
			}
		})
	}
}

// Drain stops new assignments and waits until nothing runs or ctx ends; then what still runs is killed and the session
// is given back.
func (a *agent) Drain(ctx context.Context) {
	told := make(chan struct{})
	a.mu.Lock()
	a.draining = true
	a.askLocked(&scheduler.UpdateSession{Session: a.session, Targets: a.targets, Draining: true}, func(scheduler.Reply) { close(told) })
	connected := a.stream != nil
	a.mu.Unlock()
	if connected { // what was assigned before the leader knew has come by the time of its answer
		select {
		case <-told:
		case <-a.gone:
		case <-ctx.Done():
		case <-time.After(3 * time.Second):
		}
	}
	if !a.waitIdle(ctx) {
		a.Runner.KillAll()
	}
	short, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	a.waitIdle(short)
	left := make(chan struct{})
	a.mu.Lock()
	a.askLocked(&scheduler.LoseSession{Session: a.session, Reason: "node " + a.Open.NodeName + " was stopped"},
		func(scheduler.Reply) { close(left) })
	connected = a.stream != nil
	a.mu.Unlock()
	if connected {
		select {
		case <-left: // or the leader was quicker to say that the session is gone
		case <-a.gone:
		case <-short.Done():
		}
	}
}

// waitIdle waits until no execution is held; false when ctx ended first.
func (a *agent) waitIdle(ctx context.Context) bool {
	for {
		a.mu.Lock()
		if len(a.executions) == 0 {
			a.mu.Unlock()
			return true
		}
		if a.idle == nil {
			a.idle = make(chan struct{})
		}
		idle := a.idle
		a.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return false
		}
	}
}

// Used gives the number of executions that the agent holds and the slots it has.
func (a *agent) Used() (used, slots int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.executions {
		if !e.ended && !e.blockedLocked() {
			used++
		}
	}
	return used, a.Open.Slots
}

// askLocked queues a request for the leader: sent now if there is a stream, and again on each later stream until it is
// answered. done may be nil. mu is held.
func (a *agent) askLocked(r scheduler.Request, done func(scheduler.Reply)) {
	body, err := scheduler.EncodeRequest(r)
	if err != nil {
		a.Logger.Error("request lost, which is a bug", "error", err)
		return
	}
	a.asked++
	q := &ask{id: a.asked, body: body, done: done}
	a.asks[q.id] = q
	a.sendAsksLocked()
}

// sendLocked sends a frame if there is a stream; what must not get lost is sent again by welcome. mu is held.
func (a *agent) sendLocked(f *Frame) {
	if a.stream != nil {
		a.stream.send(f)
	}
}

// run keeps a stream to the leader.
func (a *agent) run(ctx context.Context) {
	backoff := 10 * time.Millisecond
	for ctx.Err() == nil {
		began := a.Clock()
		err := a.converse(ctx)
		if err != nil && ctx.Err() == nil {
			a.Logger.Debug("no stream to a leader", "error", err)
		}
		if a.Clock()-began > time.Second {
			backoff = 10 * time.Millisecond
		}
		if errors.Is(err, errSessionRefused) {
			backoff = refusedPause
		}
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
		}
		backoff = min(2*backoff, 300*time.Millisecond)
	}
}

// converse opens one stream and handles its frames until it ends.
func (a *agent) converse(ctx context.Context) error {
	s, err := a.Dial(ctx)
	if err != nil {
		return err
	}
	defer s.cut()
	sent := a.Clock()
	s.send(&Frame{Hello: a.hello()})
	short, cancel := context.WithTimeout(ctx, stalled)
	frames, err := s.recv(short)
	cancel()
	if err != nil {
		return fmt.Errorf("wait for the leader's welcome: %w", err)
	}
	if f := frames[0].Fenced; f != nil {
		return a.fenced(ctx, f.Reason)
	}
	if f := frames[0].Refused; f != nil {
		a.refusedSession(f.Reason)
		return errSessionRefused
	}
	if frames[0].Welcome == nil {
		return fmt.Errorf("the leader did not answer hello")
	}
	if err := a.welcome(s, frames[0].Welcome, sent); err != nil {
		return err
	}
	defer a.parted(s)
	renewing, stop := context.WithCancel(ctx)
	defer stop()
	go a.renew(renewing, s)
	for rest := frames[1:]; ; {
		for _, f := range rest {
			if f.Fenced != nil {
				a.parted(s)
				return a.fenced(ctx, f.Fenced.Reason)
			}
			a.frame(f)
		}
		if rest, err = s.recv(ctx); err != nil {
			return err
		}
	}
}

// hello lists what the agent holds. No stream is open while it is composed.
func (a *agent) hello() *Hello {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := &Hello{Open: a.Open, Fresh: a.fresh}
	h.Open.Session, h.Open.Targets, h.Open.WorkspaceID = a.session, a.targets, a.workspace
	if a.fresh && a.manifests != nil {
		h.Open.Targets = nil // declared once the manifests are registered
	}
	a.changed = false
	for _, id := range slices.Sorted(maps.Keys(a.executions)) {
		h.Held = append(h.Held, id)
		if a.executions[id].ended {
			h.Ended = append(h.Ended, id)
		}
	}
	a.endedAway = nil
	return h
}

// welcome takes the stream into use and sends again all that waits for an answer.
func (a *agent) welcome(s stream, w *Welcome, sent time.Duration) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w.Term < a.term {
		return fmt.Errorf("leader of term %d refused: term %d was seen", w.Term, a.term)
	}
	wasFresh := a.fresh
	a.term, a.workspace, a.fresh, a.stream, a.unwanted = w.Term, w.Workspace, false, s, ""
	a.confirmLocked(sent, time.Duration(w.FenceMS)*time.Millisecond)
	if len(a.endedAway) > 0 {
		s.send(&Frame{Terminated: &Terminated{Executions: a.endedAway}})
		a.endedAway = nil
	}
	a.askAgainLocked()
	if wasFresh {
		a.registerLocked(a.manifests)
	}
	if !wasFresh || a.changed || a.manifests != nil {
		// The targets may have changed while there was no stream, or since hello; declaring them again is harmless.
		a.askLocked(&scheduler.UpdateSession{Session: a.session, Targets: a.targets, Draining: a.draining}, nil)
	}
	for _, e := range a.executions {
		e.selectAgainLocked()
	}
	a.Logger.Debug("connected to the leader", "term", w.Term, "session", a.session)
	return nil
}

func (a *agent) parted(s stream) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stream == s {
		a.stream = nil
	}
}

// frame handles one frame of the leader.
func (a *agent) frame(f *Frame) {
	switch {
	case f.Assign != nil:
		a.assigned(f.Assign)
	case f.Abort != nil:
		a.abort(f.Abort.Execution)
	case f.Answer != nil:
		a.answered(f.Answer)
	case f.Outcome != nil:
		a.outcome(f.Outcome)
	case f.Nothing != nil:
		a.nothing(f.Nothing)
	case f.Renewed != nil:
		a.renewed(f.Renewed.Seq)
	default:
		a.Logger.Debug("frame of a newer version ignored")
	}
}
