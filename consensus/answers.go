package consensus

import (
	"fmt"
	"slices"
	"time"
)

// unknownQuestion is what a server says that is older than the question.
const unknownQuestion = "it does not know the question "

// answer replies to one question. It never waits for another node or for Raft's main loop.
func (h *Host) answer(q question) answer {
	a := answer{Node: h.id, Cluster: h.ClusterID(), Wall: time.Now().UnixNano()}
	r, ok := h.running()
	if !ok {
		a.Err = "it is only starting"
		return a
	}
	if q.To != h.id {
		a.Err = fmt.Sprintf("it is %s, not %s", h.id, q.To)
		return a
	}
	if err := h.foreign(q); err != "" {
		a.Err = err
		return a
	}
	switch q.Kind {
	case askTerm:
		a.Term = r.CurrentTerm()
		a.Yes = a.Term == q.Term && !h.stream.mute()
	case askStatus:
		a.Term, a.Status = r.CurrentTerm(), h.status()
	case askSeen:
		a.Seen, a.Status, a.View = h.seen.of(q.From), h.status(), &view{Voters: h.voterIDs()}
	case askAdopt:
		h.adopt(q, &a)
	case askRemoved:
		h.removed(q, &a)
	case askPromise:
		h.promise(q, &a)
	case askWithout:
		if h.stream.mute() {
			a.Err = "it is asking what was seen of itself"
			return a
		}
		a.Term, a.Status, a.View = r.CurrentTerm(), h.status(), h.view(q.Without)
	case askGivenUp:
		l := h.cfg.Dir.current()
		a.Yes = slices.Contains(l.GivenUp, q.Cluster)
	default:
		a.Err = fmt.Sprintf(unknownQuestion+"%q", q.Kind)
	}
	return a
}

// foreign refuses members of another cluster. One that counts this node's id among its servers proves that one of the
// two is wrong about where this node belongs, and it stops before it does harm (rules A10). Only a leader asks for
// terms, and only of the servers in its configuration.
func (h *Host) foreign(q question) string {
	mine := h.ClusterID()
	if mine == "" || q.Cluster == "" || q.Cluster == mine || q.Kind != askTerm {
		return ""
	}
	h.halt(fmt.Errorf("this node belongs to the cluster %s, but the node %s of the cluster %s calls it by its id; check --join and the data directory %s", mine, q.From, q.Cluster, h.cfg.Dir.Path()))
	return fmt.Sprintf("it belongs to the cluster %s, not to %s", mine, q.Cluster)
}

// adopt makes this node a member of the asker's cluster for good: it will hold state from the next moment on.
func (h *Host) adopt(q question, a *answer) {
	h.creating.Lock()
	defer h.creating.Unlock()
	l := h.cfg.Dir.current()
	switch {
	case q.Cluster == "":
		a.Err = "it was asked to join a cluster without a name"
	case l.ClusterID != "" && l.ClusterID != q.Cluster:
		a.Err = fmt.Sprintf("it belongs to the cluster %s, not to %s", l.ClusterID, q.Cluster)
	case l.Promise.ClusterID != "" && l.Promise.ClusterID != q.Cluster && l.Promise.Owner != h.id:
		a.Err = fmt.Sprintf("it promised to help create the cluster %s, not %s; start it with an empty data directory if that one never came to be", l.Promise.ClusterID, q.Cluster)
	}
	if a.Err != "" {
		return
	}
	if !l.Held {
		err := h.cfg.Dir.update(func(l *lineage) {
			l.giveUp(h.id)
			l.ClusterID, l.Held = q.Cluster, true
		})
		if err != nil {
			a.Err = err.Error()
			return
		}
	}
	a.Yes, a.Cluster = true, q.Cluster
}

// removed is told by the leader of this node's cluster to a node whose log shows that it once was a member.
func (h *Host) removed(q question, a *answer) {
	if q.Cluster == "" || q.Cluster != h.ClusterID() {
		a.Err = "only its own cluster can say that"
		return
	}
	if err := h.cfg.Dir.update(func(l *lineage) { l.Removed = true }); err != nil {
		a.Err = err.Error()
		return
	}
	a.Yes = true
	h.halt(fmt.Errorf("this node was removed from the cluster %s and its id %s never comes back; move its data directory %s aside and start again with --join to join as a new node", q.Cluster, h.id, h.cfg.Dir.Path()))
}
