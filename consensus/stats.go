package consensus

import (
	"os"
	"strconv"
	"time"

	"github.com/hashicorp/raft"
)

// Stats is how this node's log stands.
type Stats struct {
	Term          uint64
	FirstIndex    uint64 // of Raft's log, not the product's index
	LastIndex     uint64
	SnapshotIndex uint64        // what the newest snapshot reaches
	Applied       uint64        // the product's index
	LogBytes      int64         // on the disk
	Contact       time.Duration // since the leader was last heard: 0 on the leader, -1 when never
}

// Stats returns zeroes before Start.
func (h *Host) Stats() Stats {
	r, ok := h.running()
	if !ok {
		return Stats{Contact: -1}
	}
	s := Stats{Term: r.CurrentTerm(), LastIndex: r.LastIndex(), Applied: h.cfg.Machine.Index(), Contact: contact(r)}
	s.SnapshotIndex, _ = strconv.ParseUint(r.Stats()["last_snapshot_index"], 10, 64)
	// Past the guard of the store, which would end the calling goroutine.
	h.store.recovered(func() (err error) { s.FirstIndex, err = h.store.under.FirstIndex(); return err })
	if info, err := os.Stat(h.store.file); err == nil {
		s.LogBytes = info.Size()
	}
	return s
}

// Contact is how long ago the leader was last heard: 0 on the leader, -1 when never.
func (h *Host) Contact() time.Duration {
	r, ok := h.running()
	if !ok {
		return -1
	}
	return contact(r)
}

func contact(r *raft.Raft) time.Duration {
	if r.State() == raft.Leader {
		return 0
	}
	last := r.LastContact()
	if last.IsZero() {
		return -1
	}
	return time.Since(last)
}

// lastEntry is the last one in the log, or in the newest snapshot where that reaches further.
func lastEntry(r *raft.Raft) logEnd {
	stats := r.Stats()
	number := func(name string) uint64 {
		n, _ := strconv.ParseUint(stats[name], 10, 64)
		return n
	}
	end := logEnd{LastIndex: number("last_log_index"), LastTerm: number("last_log_term")}
	if snap := number("last_snapshot_index"); snap > end.LastIndex {
		return logEnd{LastIndex: snap, LastTerm: number("last_snapshot_term")}
	}
	return end
}

// status is what other nodes are told of this one's log.
func (h *Host) status() *status {
	s := &status{Mute: h.stream.mute(), Boot: h.cfg.Dir.Identity().Boot, HasState: h.HasState(), Contact: -1, Former: h.cfg.Dir.Former()}
	r, ok := h.running()
	if !ok {
		return s
	}
	s.logEnd = lastEntry(r)
	if c := contact(r); c >= 0 {
		s.Contact = c.Milliseconds()
	}
	return s
}
