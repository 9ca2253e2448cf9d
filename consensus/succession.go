package consensus

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/hashicorp/raft"
)

// Succession. A node whose log is damaged comes back under a new id (quarantine.go) and says, whenever it is asked how
// far it is, which ids it had before. The leader takes the word of a server of its configuration, and of no other, for an
// id that nobody answers for in the same round and that belonged to a node of the same name. The claim is asked for and
// never sent, so it can be neither lost, nor late, nor one too many: it is true for ever, and each leader hears it anew.
//
// An id that was given up counts as dead at once. The promoter replaces it as any dead voter, a healthy replica first;
// only when it votes no more it leaves the configuration, and then the member table, so that it is never taken back.

// hear takes up what the servers said in one round; nil is a server that was asked in vain.
func (m *membership) hear(ctx context.Context, said map[string]*status) {
	servers := m.h.Servers()
	heirs := map[string]string{}
	for _, by := range slices.Sorted(maps.Keys(said)) {
		st := said[by]
		if st == nil || !slices.ContainsFunc(servers, func(s Server) bool { return s.ID == by }) {
			continue
		}
		for _, old := range st.Former {
			if heirs[old] == "" && m.gone(ctx, old, by, said) {
				heirs[old] = by
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heirs = heirs
}

// gone tells whether an id may be believed to be given up by the node that is by now.
func (m *membership) gone(ctx context.Context, old, by string, said map[string]*status) bool {
	if old == m.h.id || old == by || m.h.cfg.Removed(old) || !m.h.cfg.Succeeds(old, by) {
		return false
	}
	st, asked := said[old]
	if !asked { // gossip does not see it
		a, err := m.h.asker.ask(ctx, old, question{Kind: askStatus, Cluster: m.h.ClusterID()})
		if err == nil {
			st = a.Status
		}
	}
	if st != nil {
		m.h.cfg.Logger.Error("a node says that it gave up the id of another node, which answers: one of them runs on a copied data directory", "node", by, "id", old)
	}
	return st == nil
}

// left tells whether the node of an id has given it up.
func (m *membership) left(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heirs[id] != ""
}

// retire makes one step towards the end of an id that was given up, and tells whether it changed the configuration.
func (m *membership) retire(servers []Server) bool {
	m.mu.Lock()
	heirs := maps.Clone(m.heirs)
	m.mu.Unlock()
	for _, old := range slices.Sorted(maps.Keys(heirs)) {
		i := slices.IndexFunc(servers, func(s Server) bool { return s.ID == old })
		switch {
		case i < 0 && !m.h.cfg.Removed(old):
			m.h.cfg.GaveUp(old, heirs[old])
		case i >= 0 && !servers[i].Voter:
			err := m.h.raft.RemoveServer(raft.ServerID(old), 0, 0).Error()
			if err == nil {
				m.h.cfg.Logger.Info("an id that its node gave up has left the configuration", "id", old, "node", heirs[old])
			} else if !errors.Is(err, raft.ErrLeadershipLost) {
				m.h.cfg.Logger.Warn("an id that its node gave up stays in the configuration", "id", old, "error", err)
			}
			return true
		}
	}
	return false
}
