package consensus

import (
	"fmt"

	"github.com/hashicorp/raft"
)

// view is what a server tells a node that is damaged of their cluster.
type view struct {
	Leads   bool     `json:"leads,omitempty"` // the server leads in the term of the answer
	Voters  []string `json:"voters,omitempty"`
	Places  []place  `json:"places,omitempty"`
	Removed bool     `json:"removed,omitempty"` // the cluster has removed the id that was asked about
	Hears   bool     `json:"hears,omitempty"`   // the leader has an answer of that id
}

// view answers a node that is damaged and was known as old.
func (h *Host) view(old string) *view {
	_, leads := h.leadingTerm()
	v := &view{Leads: leads, Voters: h.voterIDs(), Places: h.places(), Removed: h.cfg.Removed(old)}
	if state := h.members.pilot.GetState(); leads && state != nil {
		s := state.Servers[raft.ServerID(old)]
		v.Hears = s != nil && s.Health.Healthy
	}
	return v
}

// testimony is what the servers of a cluster have told a node that was old: all that are known at first, then, when one
// of them said that it leads, each of the voters that it named. Only answers of that cluster are in it.
type testimony struct {
	old           string
	first, second map[string]answer
}

// leader is who said first that it leads, in the highest term.
func (t testimony) leader() (answer, bool) {
	var found answer
	for _, a := range t.first {
		if a.View.Leads && a.Term > found.Term {
			found = a
		}
	}
	return found, found.Term > 0
}

// verdict tells whether a healthy quorum exists without the node that was old. It is proved when a majority of all
// voters, old counted among the voters but never among the majority, said after the leader's word that they are in its
// term and hold all that its log held then: so nothing that was ever committed depends on what old has. why says what is
// missing; final, that asking again will not help.
func (t testimony) verdict() (why string, final bool) {
	if _, ok := t.first[t.old]; ok {
		return fmt.Sprintf("another process runs as the node %s: this data directory is a copy of its own", t.old), true
	}
	for _, a := range t.first {
		switch {
		case a.View.Removed:
			return fmt.Sprintf("the cluster has removed the node %s", t.old), true
		case a.View.Hears:
			return fmt.Sprintf("the leader %s hears another process as the node %s", a.Node, t.old), false
		}
	}
	l, ok := t.leader()
	if !ok {
		return fmt.Sprintf("%d other nodes of the cluster answer, and none of them leads", len(t.first)), false
	}
	yes := 0
	for _, id := range l.View.Voters {
		a, ok := t.second[id]
		if ok && id != t.old && a.Term == l.Term && a.Status.LastTerm == l.Term && a.Status.LastIndex >= l.Status.LastIndex {
			yes++
		}
	}
	need := len(l.View.Voters)/2 + 1
	if again := t.second[l.Node]; yes < need || again.View == nil || !again.View.Leads {
		return fmt.Sprintf("the node %s leads, but without this node only %d of its %d voters hold its whole log; %d are needed", l.Node, yes, len(l.View.Voters), need), false
	}
	return "", false
}
