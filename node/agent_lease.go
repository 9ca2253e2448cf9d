package node

import (
	"context"
	"time"
)

// renewEvery is how often an agent renews its lease.
const renewEvery = time.Second

// lease is the agent's side of rules A5: bodies may run until fenceAt, which is T_fence after the moment at which the
// latest answered renewal was sent.
type lease struct {
	seq     uint64
	sent    map[uint64]time.Duration
	fence   time.Duration // T_fence
	fenceAt time.Duration // 0 = no lease yet
	expired bool          // the bodies were killed
}

// renew asks for the lease to be renewed for as long as the stream lives.
func (a *agent) renew(ctx context.Context, s stream) {
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.done():
			return
		case <-ctx.Done():
			return
		}
		a.mu.Lock()
		a.lease.seq++
		seq := a.lease.seq
		if a.lease.sent == nil || len(a.lease.sent) > 1000 {
			a.lease.sent = map[uint64]time.Duration{}
		}
		a.lease.sent[seq] = a.Clock()
		a.mu.Unlock()
		s.send(&Frame{Renew: &Renew{Seq: seq}})
	}
}

func (a *agent) renewed(seq uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at, ok := a.lease.sent[seq]; ok {
		delete(a.lease.sent, seq)
		a.confirmLocked(at, a.lease.fence)
	}
}

// confirmLocked notes a renewal that was sent at the given time and answered now. mu is held.
func (a *agent) confirmLocked(sent, fence time.Duration) {
	a.lease.fence = fence
	if until := sent + fence; until > a.lease.fenceAt {
		a.lease.fenceAt = until
		a.Runner.AliveUntil(int64(until))
	}
	if a.lease.expired && a.Clock() < a.lease.fenceAt {
		a.lease.expired = false
		a.reviving.Lock() // before any later assignment is started
		a.wg.Go(func() {
			defer a.reviving.Unlock()
			if err := a.Runner.Revive(context.Background()); err != nil {
				a.Logger.Error("cannot run anything", "error", err)
			}
			a.mu.Lock()
			until := a.lease.fenceAt
			a.mu.Unlock()
			a.Runner.AliveUntil(int64(until))
		})
	}
}

// watchFence kills all bodies when the lease runs out. The guard does the same should this process hang.
func (a *agent) watchFence(ctx context.Context) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		a.mu.Lock()
		now := a.Clock()
		over := a.lease.fenceAt > 0 && now >= a.lease.fenceAt && !a.lease.expired
		if over {
			a.lease.expired = true
		}
		running := len(a.executions)
		a.mu.Unlock()
		if over {
			a.Logger.Warn("no contact with a quorum for too long: everything that runs here is killed", "running", running)
			a.Runner.KillAll()
		}
	}
}

// fenced ends a lost session: everything of it is killed, then a new one begins.
func (a *agent) fenced(ctx context.Context, reason string) error {
	a.mu.Lock()
	if !a.draining {
		a.Logger.Warn("session lost", "session", a.session, "reason", reason)
	}
	for _, e := range a.executions {
		e.void = true // nothing that it still says counts
	}
	a.asks = map[uint64]*ask{}
	a.mu.Unlock()
	a.Runner.KillAll()
	// A new session is also the statement that nothing of the old one is alive (rules A7).
	if !a.waitIdle(ctx) {
		return ctx.Err()
	}
	a.mu.Lock()
	leaving := a.draining
	a.reset()
	a.mu.Unlock()
	if leaving {
		close(a.gone)
		<-ctx.Done() // the session was given back: no other one is wanted
		return ctx.Err()
	}
	return a.Runner.Revive(ctx)
}
