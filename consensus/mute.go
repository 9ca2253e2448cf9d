package consensus

import (
	"fmt"
	"slices"
	"time"
)

// hearOut is how long a node that starts waits for the words of further voters, once as many have answered as it needs to
// decide anything at all.
const hearOut = time.Second

// speakUp gives this node its voice in Raft: at once when it has no log, or when it is the only voter; otherwise when the
// other voters have told what they saw of it and its log lacks nothing of that. A majority of the others is enough, and
// after a while so many as make a quorum together with this node: less could decide nothing with its vote (rules A26).
func (h *Host) speakUp() {
	if h.newcomer() || h.heardOut() {
		h.speak()
	}
}

// newcomer tells whether nobody can have seen more of this node than it has.
func (h *Host) newcomer() bool {
	return h.raft.LastIndex() == 0 || len(h.otherVoters()) == 0
}

// heardOut asks until it is known that this node lacks nothing; false when the host ends before, or halts because it does.
func (h *Host) heardOut() bool {
	me := own{life: h.cfg.Dir.current().Spoke, term: h.raft.CurrentTerm(), logEnd: lastEntry(h.raft)}
	heard := hearing{self: h.id, voters: h.voterIDs(), at: me.logEnd, from: map[string]bool{}}
	var enough time.Time // since when
	ticker := time.NewTicker(h.cfg.scaled(tick) / 10)
	defer ticker.Stop()
	for {
		for id, a := range h.askAll(h.whoMayKnow(), question{Kind: askSeen}) {
			if why := me.lacks(a.Seen); why != "" {
				h.fallBehind(fmt.Sprintf("it is older than what the node %s saw of this node: %s; it was put back from a copy, or its disk lost what it had stored", id, why))
				return false
			}
			heard.add(id, a)
		}
		some, others := heard.count()
		if some > others/2 {
			return true
		}
		if quorum := (others+1)/2 + 1; some >= max(1, quorum-1) {
			if enough.IsZero() {
				enough = time.Now()
			}
			if time.Since(enough) >= h.cfg.scaled(hearOut) {
				h.cfg.Logger.Warn("takes part although not all voters have told what they saw of this node", "heard", some, "of", others)
				return true
			}
		}
		select {
		case <-ticker.C:
		case <-h.ctx.Done():
			return false
		}
	}
}

// whoMayKnow are the other voters of this node's configuration, and whoever else of its cluster is alive: while it was away
// all of the former may have been replaced by others.
func (h *Host) whoMayKnow() []string {
	ids := h.otherVoters()
	for _, m := range h.cfg.Members() {
		if m.ID != h.id && m.ClusterID == h.ClusterID() && !slices.Contains(ids, m.ID) {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// hearing is who has answered, and who votes by the newest log among those that did.
type hearing struct {
	self   string
	voters []string
	at     logEnd // of the log that says so
	from   map[string]bool
}

func (g *hearing) add(id string, a answer) {
	g.from[id] = true
	if a.Status == nil || a.View == nil || len(a.View.Voters) == 0 {
		return // an older server
	}
	if a.Status.after(g.at) {
		g.voters, g.at = a.View.Voters, a.Status.logEnd
	}
}

// count is how many of the other voters have answered, and how many there are.
func (g *hearing) count() (some, others int) {
	for _, id := range g.voters {
		if id == g.self {
			continue
		}
		others++
		if g.from[id] {
			some++
		}
	}
	return some, others
}

// fallBehind ends a node whose log lacks what it once acknowledged. It is written down first, so the next start does not
// depend on who can be asked then.
func (h *Host) fallBehind(why string) {
	if err := h.cfg.Dir.update(func(l *lineage) { l.Behind = why }); err != nil {
		h.cfg.Logger.Warn("that the log is too old was not written down", "error", err)
	}
	h.halt(h.cfg.Dir.outdated(why))
}

// speak notes this life before anybody can learn of it.
func (h *Host) speak() {
	boot := h.cfg.Dir.Identity().Boot
	if err := h.cfg.Dir.update(func(l *lineage) { l.Spoke = boot }); err != nil {
		h.halt(&HaltError{What: "it can not write down that it takes part", Err: err})
		return
	}
	close(h.stream.voice)
}
