package node

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coflux-mesh/coflux/consensus"
	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

const (
	// maxWaiting bounds the requests that wait for a decision; past it clients are told to come back.
	maxWaiting = 10_000
	// lazyDelay is how long a request that nobody waits for waits for an entry to ride along with (rules A17).
	lazyDelay = 50 * time.Millisecond
	// leaseCheck is how often leases are looked at.
	leaseCheck = 200 * time.Millisecond
	// againAfter is the pause after Raft refused something or no majority answered.
	againAfter = 50 * time.Millisecond
)

// leader decides while this node leads in one term: requests queue up, each turn of its loop makes one log entry of what
// waits, and the next turn begins only when that entry has been applied.
type leader struct {
	*coordinator
	ctx    context.Context
	term   uint64
	hub    *hub
	random *rand.Rand
	time   *scheduler.Clock
	ticked time.Duration

	wake chan struct{} // capacity 1

	mu      sync.Mutex // guards the next five
	waiting []*pending
	lazy    int           // how many of waiting are lazy
	lazyAt  time.Duration // when the first of them came
	kicked  bool          // an agent's situation changed: look whether something can be placed
	closed  bool

	bringing   bringing
	background sync.WaitGroup
	full       atomic.Bool // too few voters have room on their disks

	clockMu sync.Mutex // guards offset
	offset  time.Duration
	known   bool // offset is known
}

// pending is a request that waits for its decision.
type pending struct {
	request scheduler.Request
	lazy    bool
	at      time.Time                    // when it came, for traces
	done    func(scheduler.Reply, error) // called once; never blocks
}

// newLeader waits until this node has applied all that its predecessors committed.
func (c *coordinator) newLeader(ctx context.Context) (*leader, error) {
	_, term, _ := c.host.Leader()
	if err := c.host.Barrier(ctx); err != nil {
		return nil, err
	}
	if _, now, self := c.host.Leader(); !self || now != term {
		return nil, errNotLeading
	}
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	l := &leader{
		coordinator: c, ctx: ctx, term: term, wake: make(chan struct{}, 1), random: rand.New(rand.NewChaCha8(seed)),
		time: scheduler.NewClock(c.store.View().Time()), ticked: c.clock(), lazyAt: -1,
	}
	l.hub = newHub(l)
	return l, l.confirmLease(ctx) // brings the voters' clocks, which log time needs from the first decision on
}

// do has a request decided and waits for the answer.
func (l *leader) do(ctx context.Context, r scheduler.Request) (scheduler.Reply, error) {
	if l.full.Load() && begins(r) {
		return scheduler.Reply{Err: &scheduler.Error{Code: scheduler.CodeDiskFull, Message: "too few voting nodes have room on their disks, so nothing new is begun",
			Hint: "free some space on them ('coflux nodes' shows which); what runs goes on"}}, nil
	}
	type answer struct {
		reply scheduler.Reply
		err   error
	}
	ch := make(chan answer, 1)
	if err := l.enqueue(r, true, func(reply scheduler.Reply, err error) { ch <- answer{reply, err} }); err != nil {
		return scheduler.Reply{}, err
	}
	select {
	case a := <-ch:
		return a.reply, a.err
	case <-ctx.Done():
		return scheduler.Reply{}, ctx.Err()
	}
}

// enqueue queues a request; done is called once if there was no error. Bounded requests are refused when too many wait.
func (l *leader) enqueue(r scheduler.Request, bounded bool, done func(scheduler.Reply, error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errNotLeading
	}
	if bounded && len(l.waiting) >= maxWaiting {
		return errOverloaded
	}
	p := &pending{request: r, lazy: scheduler.Lazy(r), at: time.Now(), done: done}
	if p.lazy {
		if l.lazy++; l.lazyAt < 0 {
			l.lazyAt = l.clock()
		}
	}
	l.waiting = append(l.waiting, p)
	l.wakeUp()
	return nil
}

// kick has the loop look whether something can be placed.
func (l *leader) kick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kicked = true
	l.wakeUp()
}

func (l *leader) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run decides until the leadership ends.
func (l *leader) run() {
	defer l.close()
	for _, r := range l.settle() {
		_ = l.enqueue(r, false, func(scheduler.Reply, error) {})
	}
	defer func() { l.bringing.end(); l.background.Wait() }()
	l.background.Go(l.watchLeases)
	if l.packs != nil {
		l.background.Go(l.watchFinished)
	}
	if l.disks != nil {
		l.background.Go(l.watchDisks)
	}
	more := false
	for {
		batch, ok := l.gather(more)
		if !ok {
			return
		}
		var err error
		if more, err = l.turn(batch); err != nil {
			l.log.Debug("nothing can be decided", "error", err)
			if !l.resume() {
				return
			}
			more = true
		}
	}
}

// resume waits until decisions can be made again, or the leadership is over: that alone ends it. Raft refuses proposals
// also while the lead is being handed over, perhaps in vain, and questions may fail where Raft does not.
func (l *leader) resume() bool {
	for pause(l.ctx, againAfter) {
		if _, term, self := l.host.Leader(); self && term == l.term && l.host.Barrier(l.ctx) == nil {
			return true
		}
	}
	return false
}

// close fails what waits and cuts all streams: agents and forwarders look for the next leader.
func (l *leader) close() {
	l.mu.Lock()
	waiting := l.waiting
	l.waiting, l.closed = nil, true
	l.mu.Unlock()
	l.hub.close()
	for _, p := range waiting {
		p.done(scheduler.Reply{}, errNotLeading)
	}
}

// gather waits until there is something to decide and takes all of it.
func (l *leader) gather(more bool) ([]*pending, bool) {
	for {
		if l.ctx.Err() != nil {
			return nil, false
		}
		l.mu.Lock()
		due, in := l.nextWork()
		if more || due {
			batch := l.waiting
			if len(batch) > scheduler.MaxRequests {
				batch = batch[:scheduler.MaxRequests:scheduler.MaxRequests]
			}
			l.waiting = l.waiting[len(batch):]
			l.kicked, l.lazy, l.lazyAt = false, 0, -1
			for _, p := range l.waiting {
				if p.lazy {
					l.lazy++
				}
			}
			l.mu.Unlock()
			return batch, true
		}
		l.mu.Unlock()
		timer := time.NewTimer(in)
		select {
		case <-l.wake:
		case <-timer.C:
		case <-l.ctx.Done():
		}
		timer.Stop()
	}
}

// nextWork tells whether there is something to decide now, or else when to look again. mu is held.
func (l *leader) nextWork() (now bool, in time.Duration) {
	if len(l.waiting) > l.lazy {
		return true, 0
	}
	view := l.store.View()
	if l.kicked {
		// Looked at only here, between turns: what a turn in progress queues is applied by now.
		l.kicked = false
		for range view.Classes() {
			return true, 0
		}
	}
	in = time.Minute
	if l.lazy > 0 {
		if l.lazyAt < 0 {
			l.lazyAt = l.clock()
		}
		in = lazyDelay - (l.clock() - l.lazyAt)
	}
	if e := view.NextDue(); e != nil {
		in = min(in, time.Duration(e.ExecuteAfter-l.logTime())*time.Millisecond)
	}
	return in <= 0, max(in, time.Millisecond)
}

// turn makes one entry of the batch. After an error the batch waits again, and nothing may be decided before resume.
func (l *leader) turn(batch []*pending) (more bool, err error) {
	now := l.logTime()
	scratch := l.store.Scratch()
	requests := make([]scheduler.Request, len(batch))
	for i, p := range batch {
		requests[i] = p.request
	}
	began := time.Now()
	out, err := l.step(scratch, scheduler.Input{Now: now, Random: l.random, Soft: l.hub.soft(), Requests: requests, Log: l.log.Error})
	if err != nil {
		failed(batch, err)
		return false, nil
	}
	decided := batch[:len(out.Replies)]
	l.putBack(batch[len(out.Replies):])
	if scratch.Empty() {
		return out.More, l.answerEmpty(decided, out)
	}
	proposed := time.Now()
	entry := scratch.Entry(now)
	data, err := entry.Encode()
	if err != nil {
		failed(decided, err)
		return false, nil
	}
	err = l.host.Propose(l.ctx, data)
	switch {
	case errors.Is(err, consensus.ErrRefused), errors.Is(err, consensus.ErrUnknown):
		// The state is not what the batch was decided on, or may be: look again from what is committed. Repeats are
		// recognised, so what did get through is answered and not done twice.
		l.putBack(decided)
		return true, l.host.Barrier(l.ctx)
	case err != nil:
		l.putBack(decided)
		return false, err
	}
	l.trace.turn(decided, out, began, proposed)
	l.hub.tell(out.Events)
	for i, p := range decided {
		out.Replies[i].Index = entry.Base + 1
		l.answer(p, out.Replies[i])
	}
	return out.More, nil
}

// failed answers requests that met a bug.
func failed(batch []*pending, err error) {
	for _, p := range batch {
		p.done(scheduler.Reply{Err: &scheduler.Error{Code: scheduler.CodeInternal, Message: err.Error()}}, nil)
	}
}

// step calls the scheduler and turns a bug of it into an error.
func (l *leader) step(scratch *state.Scratch, in scheduler.Input) (out scheduler.Output, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the scheduler panicked, which is a bug: %v", p)
			l.log.Error("scheduler panicked", "error", err)
		}
	}()
	return scheduler.Step(scratch, in), nil
}

// answerEmpty answers requests that changed nothing: the state they were answered from must still be the latest.
func (l *leader) answerEmpty(decided []*pending, out scheduler.Output) error {
	if len(decided) == 0 {
		return nil
	}
	index := l.store.Index()
	conf, err := l.host.ConfirmTerm(l.ctx)
	if err == nil && conf.Term != l.term {
		err = errNotLeading
	}
	if err != nil {
		l.putBack(decided)
		return err
	}
	for i, p := range decided {
		out.Replies[i].Index = index
		l.answer(p, out.Replies[i])
	}
	return nil
}

// answer gives a request its reply, unless that has to wait for a packed run.
func (l *leader) answer(p *pending, r scheduler.Reply) {
	if run := packedRunOf(r); run != "" && l.packs != nil {
		l.bring(run, func(err error) { l.broughtFor(run, p, err) })
		return
	}
	p.done(r, nil)
}

// putBack returns requests to the head of the queue, in their order.
func (l *leader) putBack(batch []*pending) {
	if len(batch) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = slices.Concat(batch, l.waiting)
	l.wakeUp()
}

// logTime advances log time to now.
func (l *leader) logTime() int64 {
	l.clockMu.Lock()
	defer l.clockMu.Unlock()
	at := l.clock()
	elapsed := at - l.ticked
	l.ticked = at
	var median time.Time
	if l.known {
		median = time.Now().Add(l.offset)
	}
	return l.time.Advance(elapsed, median)
}

// pull notes the voters' wall clocks, as offset of their median from this node's.
func (l *leader) pull(clocks []time.Time) {
	if len(clocks) == 0 {
		return
	}
	sorted := slices.SortedFunc(slices.Values(clocks), time.Time.Compare)
	l.clockMu.Lock()
	defer l.clockMu.Unlock()
	l.offset, l.known = time.Until(sorted[(len(sorted)-1)/2]), true
}
