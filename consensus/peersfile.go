package consensus

import (
	"cmp"
	"path/filepath"
	"slices"
	"time"
)

// place is where a server's peer port was.
type place struct {
	ID   string `json:"id"`
	Addr string `json:"addr"`
}

// peersFile is a hint: what it says is asked of those it names. It lies outside raft/ because it is needed when that is
// damaged.
type peersFile struct {
	Servers []place `json:"servers"`
}

func peersPath(dir string) string { return filepath.Join(dir, "peers") }

// places are the servers of the configuration and where gossip saw them last.
func (h *Host) places() (out []place) {
	for _, s := range h.Servers() {
		if addr, ok := h.cfg.Lookup(s.ID); ok && addr != "" {
			out = append(out, place{ID: s.ID, Addr: addr})
		}
	}
	slices.SortFunc(out, func(a, b place) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// rememberPeers keeps the file of the other servers up to date while the host runs.
func (h *Host) rememberPeers() {
	if h.cfg.Dir.lock == nil {
		return // a directory in memory
	}
	path := peersPath(h.cfg.Dir.Path())
	var kept peersFile
	_ = readSealed(path, &kept) // written anew where it is missing or damaged
	ticker := time.NewTicker(h.cfg.scaled(time.Second))
	defer ticker.Stop()
	for {
		if now := h.others(kept.Servers); !slices.Equal(now, kept.Servers) {
			if err := writeSealed(path, peersFile{Servers: now}); err != nil {
				h.cfg.Logger.Warn("where the other nodes are was not written down", "error", err)
			} else {
				kept.Servers = now
			}
		}
		select {
		case <-ticker.C:
		case <-h.ctx.Done():
			return
		}
	}
}

// others are the places of all servers but this one. One that gossip does not know now stays where it was.
func (h *Host) others(before []place) (out []place) {
	now := h.places()
	for _, s := range h.Servers() {
		is := func(p place) bool { return p.ID == s.ID }
		i := slices.IndexFunc(now, is)
		j := slices.IndexFunc(before, is)
		switch {
		case s.ID == h.id:
		case i >= 0:
			out = append(out, now[i])
		case j >= 0:
			out = append(out, before[j])
		}
	}
	slices.SortFunc(out, func(a, b place) int { return cmp.Compare(a.ID, b.ID) })
	return out
}
