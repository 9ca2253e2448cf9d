package consensus

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Creating a cluster together (rules A11). Of N nodes without state that expect N, the one with the lowest id asks the
// others to promise that they help to create one cluster, its own; each promises once, durably, before it answers. With
// all N-1 promises it creates the cluster alone and adds the others in the ordinary way. Two creators would need two
// sets of N promises that share no node.
//
// Nodes that see each other only later may have promised themselves to different owners. An owner that has not begun
// gives its cluster up for good, durably, when a lower id asks; those who promised to it learn that from itself and are
// free again: nobody can create a cluster that its only owner has given up.

// giveUp ends the intention to create a cluster of one's own, for good.
func (l *lineage) giveUp(self string) {
	if l.Promise.Owner == self {
		l.GivenUp = append(l.GivenUp, l.Promise.ClusterID)
		l.Promise = promise{}
	}
}

// promise answers whether this node helps q.From to create q.Cluster.
func (h *Host) promise(q question, a *answer) {
	h.creating.Lock()
	defer h.creating.Unlock()
	l := h.cfg.Dir.current()
	wanted := promise{ClusterID: q.Cluster, Owner: q.From}
	switch {
	case h.HasState() || h.seesState():
		a.Status = &status{HasState: true, Boot: h.cfg.Dir.Identity().Boot}
	case q.Expect != h.cfg.BootstrapExpect || q.Expect < 2:
		a.Err = "it was started with another --bootstrap-expect"
	case l.Promise == wanted:
		a.Yes = true
	case l.Promise == promise{}, l.Promise.Owner == h.id && !l.Creating && q.From < h.id:
		err := h.cfg.Dir.update(func(l *lineage) {
			l.giveUp(h.id)
			l.Promise = wanted
		})
		if err != nil {
			a.Err = err.Error()
			return
		}
		a.Yes = true
	default:
		a.Promise = l.Promise
	}
}

// seesState tells whether a live node belongs to a cluster already: then none is created.
func (h *Host) seesState() bool {
	return slices.ContainsFunc(h.cfg.Members(), func(m MemberInfo) bool { return m.HasState && m.ID != h.id })
}

// createTogether runs until a cluster exists.
func (h *Host) createTogether() {
	ticker := time.NewTicker(h.cfg.scaled(tick))
	defer ticker.Stop()
	var before []string
	for {
		select {
		case <-ticker.C:
		case <-h.ctx.Done():
			return
		}
		if h.HasState() {
			return
		}
		if p := h.cfg.Dir.current().Promise; p.Owner != "" && p.Owner != h.id {
			h.freeFrom(p)
			continue
		}
		if h.seesState() {
			return
		}
		now := h.waiting()
		if len(now) >= h.cfg.BootstrapExpect && now[0] == h.id && slices.Equal(now, before) {
			h.tryCreate(now[1:])
		}
		before = now
	}
}

// waiting returns the live nodes that expect to create a cluster of this size, by id.
func (h *Host) waiting() []string {
	var ids []string
	for _, m := range h.cfg.Members() {
		if m.BootstrapExpect == h.cfg.BootstrapExpect {
			ids = append(ids, m.ID)
		}
	}
	slices.SortFunc(ids, strings.Compare)
	return ids
}

func (h *Host) askOnce(id string, q question) (answer, error) {
	ctx, cancel := context.WithTimeout(h.ctx, h.cfg.scaled(time.Second))
	defer cancel()
	return h.asker.ask(ctx, id, q)
}

// freeFrom takes a promise back whose owner has given its cluster up.
func (h *Host) freeFrom(p promise) {
	a, err := h.askOnce(p.Owner, question{Kind: askGivenUp, Cluster: p.ClusterID})
	if err != nil || !a.Yes {
		return
	}
	h.creating.Lock()
	defer h.creating.Unlock()
	if h.cfg.Dir.current().Promise != p {
		return
	}
	if err := h.cfg.Dir.update(func(l *lineage) { l.Promise = promise{} }); err != nil {
		h.cfg.Logger.Warn("a promise could not be taken back", "error", err)
	}
}

// tryCreate collects the promises and creates the cluster with the last one.
func (h *Host) tryCreate(others []string) {
	h.creating.Lock()
	cluster, err := h.intend()
	h.creating.Unlock()
	if err != nil {
		h.cfg.Logger.Warn("no cluster can be created", "error", err)
		return
	}
	promised := 1
	for _, id := range others {
		a, err := h.askOnce(id, question{Kind: askPromise, Cluster: cluster, Expect: h.cfg.BootstrapExpect})
		switch {
		case err != nil:
			h.cfg.Logger.Info("no promise to create a cluster", "node", id, "reason", err)
		case a.Status != nil && a.Status.HasState:
			return
		case a.Yes:
			promised++
		case a.Promise.Owner != "":
			h.cfg.Logger.Info("no promise to create a cluster", "node", id, "promised_to", a.Promise.Owner)
		}
	}
	if promised < h.cfg.BootstrapExpect {
		return
	}
	h.creating.Lock()
	defer h.creating.Unlock()
	if l := h.cfg.Dir.current(); l.Promise != (promise{ClusterID: cluster, Owner: h.id}) || l.Held {
		return // given up meanwhile
	}
	if err := h.create(cluster); err != nil {
		h.cfg.Logger.Error("the cluster was not created", "error", err)
	}
}
