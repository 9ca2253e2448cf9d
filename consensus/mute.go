package consensus

import (
	"fmt"
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
	index, term := lastEntry(h.raft)
	me := own{life: h.cfg.Dir.current().Spoke, term: h.raft.CurrentTerm(), status: status{LastIndex: index, LastTerm: term}}
	others := h.otherVoters()
	heard := map[string]bool{}
	var enough time.Time // since when
	ticker := time.NewTicker(h.cfg.scaled(tick) / 10)
	defer ticker.Stop()
	for {
		for id, a := range h.askAll(others, question{Kind: askSeen}) {
			if why := me.lacks(a.Seen); why != "" {
				h.fallBehind(fmt.Sprintf("it is older than what the node %s saw of this node: %s; it was put back from a copy, or its disk lost what it had stored", id, why))
				return false
			}
			heard[id] = true
		}
		if len(heard) > len(others)/2 {
			return true
		}
		if quorum := (len(others)+1)/2 + 1; len(heard) >= max(1, quorum-1) {
			if enough.IsZero() {
				enough = time.Now()
			}
			if time.Since(enough) >= h.cfg.scaled(hearOut) {
				h.cfg.Logger.Warn("takes part although not all voters have told what they saw of this node", "heard", len(heard), "voters", len(others)+1)
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
