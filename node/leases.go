package node

import (
	"context"
	"errors"
	"time"

	"github.com/coflux-mesh/coflux/consensus"
	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// Defaults of the lease, milliseconds; the replicated settings override them (rules A5).
const (
	defaultFence   = 7_000
	defaultAbandon = 10_000
)

// watchLeases gives up the sessions whose agents have not renewed for T_abandon. For a new leader all of them count from
// the end of its Barrier (rules A5).
func (l *leader) watchLeases() {
	ticker := time.NewTicker(leaseCheck)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.ctx.Done():
			return
		}
		view := l.store.View()
		abandon := time.Duration(view.Setting(state.SettingAbandon, defaultAbandon)) * time.Millisecond
		for s := range view.Sessions() {
			if s.State == state.SessionLost || !l.hub.expired(s.ID, abandon) {
				continue
			}
			l.log.Warn("session lost: its lease has run out", "session", s.ID, "node", s.NodeName)
			lose := &scheduler.LoseSession{Session: s.ID, Reason: "node " + s.NodeName + " has not been heard of for " + abandon.String()}
			_ = l.enqueue(lose, false, func(reply scheduler.Reply, err error) {
				if err != nil || reply.Err != nil {
					l.hub.kept(s.ID) // and looked at again
				}
			})
		}
	}
}

// confirmLease answers a renewal: only after a majority of the voters, asked after it arrived, has confirmed the term.
func (l *leader) confirmLease(ctx context.Context) error {
	conf, err := l.host.ConfirmTerm(ctx)
	if err != nil {
		return err
	}
	if conf.Term != l.term {
		return errNotLeading
	}
	l.pull(conf.Clocks)
	return nil
}

// noQuorum tells errors that mean that no majority can be reached just now.
func noQuorum(err error) bool {
	return errors.Is(err, consensus.ErrNoQuorum) || errors.Is(err, consensus.ErrNotLeader) ||
		errors.Is(err, errNotLeading) || errors.Is(err, context.DeadlineExceeded)
}
