package consensus

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// sight is the most that this node ever saw of another server: it goes up only. What a server has shown it must never be
// without again (rules A26).
type sight struct {
	Boot string `json:"boot"`           // its newest life
	Term uint64 `json:"term,omitempty"` // its current term
	logEnd
}

// add takes in what a server says of itself.
func (s sight) add(term uint64, st status) sight {
	s.Boot = max(s.Boot, st.Boot)
	s.Term = max(s.Term, term)
	if st.after(s.logEnd) {
		s.logEnd = st.logEnd
	}
	return s
}

// own is how a node finds itself at its start.
type own struct {
	life string // the last one in which it had a voice; "" = not known
	term uint64
	logEnd
}

// lacks says what of a sight the node does not have; "" is nothing. A log may come to lack entries without a rollback,
// when a newer leader takes them back and the process ends before it has stored that leader's: giving up the id then is
// safe, too.
func (o own) lacks(s sight) string {
	switch {
	case o.life != "" && s.Boot > o.life:
		return "it has been started since, and does not know of it"
	case s.Term > o.term:
		return fmt.Sprintf("it was in term %d and says %d", s.Term, o.term)
	case s.after(o.logEnd):
		return fmt.Sprintf("its log reached entry %d of term %d and ends with entry %d of term %d", s.LastIndex, s.LastTerm, o.LastIndex, o.LastTerm)
	}
	return ""
}

// sightings are the sights of the other servers, on the disk when they matter: a life or a term at once, a longer log
// from time to time.
type sightings struct {
	path string // "" = only in memory

	mu    sync.Mutex // guards the rest
	known map[string]sight
	kept  map[string]sight // as on the disk
	at    time.Time        // when it was written
}

type sightsFile struct {
	Servers map[string]sight `json:"servers"`
}

// keepSightsEvery is how often a log that only grew is written down.
const keepSightsEvery = 10 * time.Second

func openSightings(d *Dir) *sightings {
	s := &sightings{known: map[string]sight{}, kept: map[string]sight{}}
	if d.lock == nil {
		return s // a directory in memory
	}
	s.path = filepath.Join(d.path, "seen")
	var file sightsFile
	if err := readSealed(s.path, &file); err == nil && file.Servers != nil { // where it is missing or damaged the others have theirs
		s.known, s.kept = file.Servers, maps.Clone(file.Servers)
	}
	return s
}

func (s *sightings) of(id string) sight {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[id]
}

// note takes in what servers said, and forgets those that are no servers any more.
func (s *sightings) note(servers []string, said map[string]answer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, a := range said {
		if a.Status == nil || a.Status.Mute {
			continue // it does nothing that it could forget, and may be what it should not
		}
		s.known[id] = s.known[id].add(a.Term, *a.Status)
	}
	maps.DeleteFunc(s.known, func(id string, _ sight) bool { return !slices.Contains(servers, id) })
	if s.path == "" || maps.Equal(s.known, s.kept) {
		return nil
	}
	urgent := len(s.known) != len(s.kept)
	for id, now := range s.known {
		was := s.kept[id]
		urgent = urgent || now.Boot != was.Boot || now.Term != was.Term
	}
	if !urgent && time.Since(s.at) < keepSightsEvery {
		return nil
	}
	if err := writeSealed(s.path, sightsFile{Servers: s.known}); err != nil {
		return err
	}
	s.kept, s.at = maps.Clone(s.known), time.Now()
	return nil
}

// watchOthers keeps the sights of the other voters up to date while the host runs.
func (h *Host) watchOthers() {
	ticker := time.NewTicker(h.cfg.scaled(time.Second))
	defer ticker.Stop()
	told := false
	for {
		var servers []string
		for _, s := range h.Servers() {
			servers = append(servers, s.ID)
		}
		if others := h.otherVoters(); len(others) > 0 {
			err := h.seen.note(servers, h.askAll(others, question{Kind: askStatus}))
			if err != nil && !told {
				h.cfg.Logger.Warn("what was seen of the other nodes was not written down; it is tried again", "error", err)
			}
			told = err != nil
		}
		select {
		case <-ticker.C:
		case <-h.ctx.Done():
			return
		}
	}
}

func (h *Host) otherVoters() []string {
	return slices.DeleteFunc(h.voterIDs(), func(id string) bool { return id == h.id })
}

// askAll asks servers at once for one tick and returns the answers of those that belong to the cluster. Those that do
// not know the question, because they are older, answer without one.
func (h *Host) askAll(ids []string, q question) map[string]answer {
	q.Cluster = h.ClusterID()
	ctx, cancel := context.WithTimeout(h.ctx, h.cfg.scaled(tick))
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	out := map[string]answer{}
	for _, id := range ids {
		wg.Go(func() {
			a, err := h.asker.ask(ctx, id, q)
			if older := strings.HasPrefix(a.Err, unknownQuestion); (err != nil && !older) || a.Cluster != q.Cluster {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out[id] = a
		})
	}
	wg.Wait()
	return out
}
