package consensus

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
)

// pilotDelegate tells autopilot about the servers.
type pilotDelegate struct{ h *Host }

var _ autopilot.ApplicationIntegration = (*pilotDelegate)(nil)

// AutopilotConfig leaves the cleanup of dead servers off: a dead voter is replaced, never just removed.
func (d *pilotDelegate) AutopilotConfig() *autopilot.Config {
	return &autopilot.Config{
		LastContactThreshold:    d.h.cfg.scaled(200 * time.Millisecond),
		MaxTrailingLogs:         250,
		ServerStabilizationTime: d.h.cfg.StableFor,
	}
}

func (d *pilotDelegate) NotifyState(*autopilot.State) {}

// KnownServers are those that gossip sees alive. Gossip only ever makes a server look worse: health needs an answer.
func (d *pilotDelegate) KnownServers() map[raft.ServerID]*autopilot.Server {
	known := map[raft.ServerID]*autopilot.Server{}
	for _, m := range append(d.h.cfg.Members(), MemberInfo{ID: d.h.id}) { // gossip may not have begun here
		known[raft.ServerID(m.ID)] = &autopilot.Server{
			ID: raft.ServerID(m.ID), Name: m.ID, Address: raft.ServerAddress(m.ID),
			NodeStatus: autopilot.NodeAlive, NodeType: autopilot.NodeVoter, IsLeader: m.ID == d.h.id,
		}
	}
	return known
}

// FetchServerStats asks every server at once. A server without an answer counts as never heard of: autopilot would keep
// its last good figures.
func (d *pilotDelegate) FetchServerStats(ctx context.Context, servers map[raft.ServerID]*autopilot.Server) map[raft.ServerID]*autopilot.ServerStats {
	var mu sync.Mutex
	var wg sync.WaitGroup
	out := map[raft.ServerID]*autopilot.ServerStats{}
	said := map[string]*status{} // nil: asked in vain
	cluster := d.h.cfg.Dir.Identity().ClusterID
	for id := range servers {
		wg.Go(func() {
			st := d.h.status()
			if string(id) != d.h.id {
				a, err := d.h.asker.ask(ctx, string(id), question{Kind: askStatus, Cluster: cluster})
				if st = a.Status; err != nil {
					st = nil
				}
			}
			mu.Lock()
			defer mu.Unlock()
			said[string(id)] = st
			if st == nil {
				st = &status{Contact: -1}
			}
			out[id] = &autopilot.ServerStats{LastContact: time.Duration(st.Contact) * time.Millisecond, LastTerm: st.LastTerm, LastIndex: st.LastIndex}
		})
	}
	wg.Wait()
	d.h.members.hear(ctx, said)
	return out
}

// RemoveFailedServer is never called: the cleanup of dead servers is off.
func (d *pilotDelegate) RemoveFailedServer(*autopilot.Server) {}

// promoter decides who votes (rules A25): an odd number of voters, reached by back-to-back pairs, up to the replicated
// setting. A voter that fell silent for long is replaced: a healthy replica is promoted first, then the dead voter
// becomes a replica, so the quorum never depends on one more server than before. Nobody is demoted because of a failure
// without a replacement.
type promoter struct {
	voters       func() int
	left         func(id string) bool // its node has given the id up: it is dead for good
	replaceAfter time.Duration
	now          func() time.Time
}

var _ autopilot.Promoter = (*promoter)(nil)

func (p *promoter) GetServerExt(*autopilot.Config, *autopilot.ServerState) any { return nil }
func (p *promoter) GetStateExt(*autopilot.Config, *autopilot.State) any        { return nil }
func (p *promoter) IsPotentialVoter(autopilot.NodeType) bool                   { return true }

func (p *promoter) GetNodeTypes(_ *autopilot.Config, s *autopilot.State) map[raft.ServerID]autopilot.NodeType {
	types := map[raft.ServerID]autopilot.NodeType{}
	for id := range s.Servers {
		types[id] = autopilot.NodeVoter
	}
	return types
}

func (p *promoter) FilterFailedServerRemovals(*autopilot.Config, *autopilot.State, *autopilot.FailedServers) *autopilot.FailedServers {
	return &autopilot.FailedServers{}
}

// firstStable is how long a node has to be healthy to become one of the first three voters: a mesh that survives no loss
// yet gains more by its next voters than it risks by a shaky one.
const firstStable = 2 * time.Second

func (p *promoter) CalculatePromotionsAndDemotions(c *autopilot.Config, s *autopilot.State) autopilot.RaftChanges {
	var dead, spare, candidates []raft.ServerID
	healthy, voters := 0, 0
	stable := s.ServerStabilizationTime(c)
	if len(s.Voters) < 3 {
		stable = min(stable, firstStable)
	}
	for id, srv := range s.Servers {
		switch {
		case srv.HasVotingRights():
			voters++
			if srv.Health.Healthy {
				healthy++
			}
			if srv.State == autopilot.RaftLeader {
				continue // it neither replaces nor demotes itself
			}
			if !srv.Health.Healthy && (p.left(string(id)) || p.now().Sub(srv.Health.StableSince) >= p.replaceAfter) {
				dead = append(dead, id)
			} else {
				spare = append(spare, id)
			}
		case srv.Health.IsStable(p.now(), stable):
			candidates = append(candidates, id)
		}
	}
	byID := func(a, b raft.ServerID) int { return strings.Compare(string(a), string(b)) }
	for _, ids := range [][]raft.ServerID{dead, spare, candidates} {
		slices.SortFunc(ids, byID)
	}
	return changes(max((p.voters()-1)|1, 1), voters, healthy, dead, spare, candidates)
}

// changes is the whole decision. target is odd.
func changes(target, voters, healthy int, dead, spare, candidates []raft.ServerID) autopilot.RaftChanges {
	switch even := voters%2 == 0; {
	case len(dead) > 0 && (even || voters > target):
		if healthy >= voters/2+1 {
			return autopilot.RaftChanges{Demotions: dead[:1]}
		}
	case voters > target:
		return autopilot.RaftChanges{Demotions: spare[max(len(spare)-(voters-target), 0):]}
	case len(dead) > 0 && len(candidates) > 0:
		return autopilot.RaftChanges{Promotions: candidates[:1]}
	case voters < target:
		n := min(len(candidates), target-voters)
		if (voters+n)%2 == 0 {
			n--
		}
		return autopilot.RaftChanges{Promotions: candidates[:max(n, 0)]}
	}
	return autopilot.RaftChanges{}
}
