package node

import (
	"context"
	"errors"
	"time"
)

const (
	// renewEvery is how often an agent renews its lease.
	renewEvery = time.Second
	// stalled is how long an agent waits for an answer of its leader before it looks for one on another stream: a stream
	// may hang without end while the same leader, or the next one, can be reached.
	stalled = 3 * time.Second
	// reviveAgain is the pause after the runner could not be brought back.
	reviveAgain = time.Second
)

// lease is the agent's side of rules A5: bodies may run until fenceAt, which is T_fence after the moment at which the
// latest answered renewal was sent.
type lease struct {
	seq     uint64
	sent    map[uint64]time.Duration // on the present stream and not answered
	fence   time.Duration            // T_fence
	fenceAt time.Duration            // 0 = no lease yet
	expired bool                     // the bodies were killed
	// reviving is closed when the runner, which is on its way back from a fence, has arrived; nil at other times.
	reviving chan struct{}
}

// renew asks for the lease to be renewed for as long as the stream lives, and cuts a stream on which nothing is answered.
func (a *agent) renew(ctx context.Context, s stream) {
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	a.mu.Lock()
	a.lease.sent = map[uint64]time.Duration{}
	a.mu.Unlock()
	for {
		select {
		case <-ticker.C:
		case <-s.done():
			return
		case <-ctx.Done():
			return
		}
		a.mu.Lock()
		if a.lease.sent == nil { // the session was lost, and its lease with it
			a.mu.Unlock()
			return
		}
		now, limit := a.Clock(), min(stalled, a.lease.fence/2)
		silent := false
		for _, at := range a.lease.sent {
			silent = silent || now-at >= limit
		}
		a.lease.seq++
		seq := a.lease.seq
		a.lease.sent[seq] = now
		a.mu.Unlock()
		if silent {
			a.Logger.Debug("the leader does not answer on this stream")
			s.cut()
			return
		}
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
		a.reviveLocked()
	}
}

// reviveLocked brings the runner back into service; bodies that are to be started wait for it. mu is held.
func (a *agent) reviveLocked() {
	done := make(chan struct{})
	a.lease.reviving = done
	a.wg.Go(func() {
		defer close(done)
		_ = a.revive(a.ctx) // fails only when the agent is being stopped
		a.mu.Lock()
		until := a.lease.fenceAt
		if a.lease.reviving == done {
			a.lease.reviving = nil
		}
		a.mu.Unlock()
		a.Runner.AliveUntil(int64(until))
	})
}

// revive tries until the runner is back.
func (a *agent) revive(ctx context.Context) error {
	if a.Announce != nil {
		a.Announce() // the next guard speaks for the session of now
	}
	for {
		err := a.Runner.Revive(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		a.Logger.Error("nothing can be run here, the next try follows", "error", err)
		select {
		case <-time.After(reviveAgain):
		case <-ctx.Done():
		}
	}
}

// refused learns that the runner has fenced itself: its guard was quicker than the agent to see the end of the lease, or
// has died.
func (a *agent) refused() {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.lease.expired || a.lease.reviving != nil:
	case a.Clock() >= a.lease.fenceAt:
		a.lease.expired = true
	default:
		a.reviveLocked()
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
		e.cancel()    // nor values on their way
		a.forgetLocked(e)
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
	return a.revive(ctx)
}

// refusedPause is how long an agent waits before it asks again for a session that was refused.
const refusedPause = 2 * time.Second

var errSessionRefused = errors.New("the leader refused the session")

// refusedSession says once why nothing is served here.
func (a *agent) refusedSession(reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.unwanted != reason {
		a.Logger.Warn("nothing is served here for now", "reason", reason)
	}
	a.unwanted = reason
}
