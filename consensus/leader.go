package consensus

import (
	"context"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// Server is one member of the Raft configuration.
type Server struct {
	ID     string
	Voter  bool
	Leader bool
}

// ID is this node's id.
func (h *Host) ID() string { return h.id }

// running returns Raft once it runs.
func (h *Host) running() (*raft.Raft, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.raft, h.raft != nil
}

// Leader returns who leads as far as this node knows, this node's term, and whether it is this node. id is empty when no
// leader is known.
func (h *Host) Leader() (id string, term uint64, isSelf bool) {
	r, ok := h.running()
	if !ok {
		return "", 0, false
	}
	if term, ok := h.leadingTerm(); ok {
		return h.id, term, true
	}
	_, lid := r.LeaderWithID()
	if string(lid) == h.id {
		lid = "" // a lead that just ended, or has not begun
	}
	return string(lid), r.CurrentTerm(), false
}

// leadingTerm returns the term in which this node leads. The state is read between two readings of the term: a term
// never goes back, so the same term on both sides is the term of that state.
func (h *Host) leadingTerm() (uint64, bool) {
	r, ok := h.running()
	if !ok {
		return 0, false
	}
	term := r.CurrentTerm()
	return term, r.State() == raft.Leader && r.CurrentTerm() == term
}

// Servers returns the newest configuration, committed or not.
func (h *Host) Servers() []Server {
	r, ok := h.running()
	if !ok {
		return nil
	}
	leader, _, _ := h.Leader()
	var out []Server
	for _, s := range r.GetConfiguration().Configuration().Servers {
		out = append(out, Server{ID: string(s.ID), Voter: s.Suffrage == raft.Voter, Leader: string(s.ID) == leader})
	}
	return out
}

func (h *Host) voterIDs() []string {
	var ids []string
	for _, s := range h.Servers() {
		if s.Voter {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// ConfirmTerm returns when a majority of the voters, asked after the call, have said that the term in which this node
// leads is still theirs. Callers that come together share one round. ErrNotLeader: another term has begun, or this node
// leads none; ErrNoQuorum: not enough voters answered.
func (h *Host) ConfirmTerm(ctx context.Context) (Confirmation, error) {
	if _, ok := h.leadingTerm(); !ok {
		return Confirmation{}, ErrNotLeader
	}
	return h.confirms.confirm(ctx)
}

func (h *Host) askTerm(ctx context.Context, id string, term uint64) (answer, error) {
	return h.asker.ask(ctx, id, question{Kind: askTerm, Cluster: h.cfg.Dir.Identity().ClusterID, Term: term})
}

// TransferLeadership hands the lead to the most advanced other voter. It never changes the configuration.
func (h *Host) TransferLeadership(ctx context.Context) error {
	err := h.await(ctx, func() error { return h.raft.LeadershipTransfer().Error() })
	if err != nil {
		return fmt.Errorf("hand the lead over: %w", err)
	}
	return nil
}

// LeadershipEvents delivers true when this node begins to lead and false when it ceases to. A reader that falls behind
// still gets the last change and the one before it, so that no flap is taken for quiet. There is one reader.
func (h *Host) LeadershipEvents() <-chan bool { return h.events.out }

// watchLeadership takes every message of Raft, hands it on, and runs the owner of the membership while this node leads.
func (h *Host) watchLeadership() {
	defer h.members.lead(false)
	h.goFunc(func() { h.events.run(h.ctx) })
	for {
		select {
		case leads := <-h.notify:
			h.events.push(leads)
			h.members.lead(leads)
		case <-h.ctx.Done():
			return
		}
	}
}

// eventQueue keeps the last two of the changes that its reader has not taken.
type eventQueue struct {
	out  chan bool
	wake chan struct{} // capacity 1

	mu   sync.Mutex // guards the rest
	open []bool
}

func newEventQueue() *eventQueue {
	return &eventQueue{out: make(chan bool), wake: make(chan struct{}, 1)}
}

func (q *eventQueue) push(v bool) {
	q.mu.Lock()
	q.open = append(q.open, v)
	if len(q.open) > 2 {
		q.open = q.open[len(q.open)-2:]
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *eventQueue) pop() (v, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.open) == 0 {
		return false, false
	}
	v = q.open[0]
	q.open = q.open[1:]
	return v, true
}

func (q *eventQueue) run(ctx context.Context) {
	for {
		v, ok := q.pop()
		if !ok {
			select {
			case <-q.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case q.out <- v:
		case <-ctx.Done():
			return
		}
	}
}
