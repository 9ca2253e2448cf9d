package consensus

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
)

// membership changes the Raft configuration while this node leads. It has three rules and no other hand touches the
// configuration: live nodes that belong to no configuration become replicas; ids that the cluster has removed, or that
// their node has given up (succession.go), leave it; who votes is autopilot's, with our promoter.
type membership struct {
	h      *Host
	pilot  *autopilot.Autopilot
	cancel context.CancelFunc
	done   chan struct{} // closed when the last run has ended

	mu    sync.Mutex        // guards heirs
	heirs map[string]string // ids that were given up, and who their nodes are now; of the last round of questions
}

func newMembership(h *Host) *membership {
	m := &membership{h: h, done: make(chan struct{})}
	close(m.done)
	m.pilot = autopilot.New(h.raft, &pilotDelegate{h: h},
		autopilot.WithLogger(h.cfg.Logger),
		autopilot.WithPromoter(&promoter{voters: h.cfg.Voters, left: m.left, replaceAfter: h.cfg.ReplaceAfter, now: time.Now}),
		autopilot.WithUpdateInterval(h.cfg.scaled(500*time.Millisecond)),
		autopilot.WithReconcileInterval(h.cfg.scaled(time.Second)))
	return m
}

// lead begins or ends the run of this leadership. A new run waits for the end of the one before. It is called from one
// goroutine.
func (m *membership) lead(leads bool) {
	if m.cancel != nil {
		m.cancel()
		m.cancel = nil
	}
	if !leads {
		return
	}
	ctx, cancel := context.WithCancel(m.h.ctx)
	before, done := m.done, make(chan struct{})
	m.cancel, m.done = cancel, done
	m.h.goFunc(func() {
		defer close(done)
		<-before
		m.run(ctx)
	})
}

func (m *membership) run(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	m.pilot.Start(ctx)
	defer func() { <-m.pilot.Stop() }()
	ticker := time.NewTicker(m.h.cfg.scaled(tick))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			m.reconcile(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// reconcile makes at most one change of each kind and leaves the rest to the next tick.
func (m *membership) reconcile(ctx context.Context) {
	servers := m.h.Servers()
	i := slices.IndexFunc(servers, func(s Server) bool { return m.h.cfg.Removed(s.ID) })
	if i >= 0 {
		m.remove(ctx, servers, servers[i])
		return
	}
	if m.retire(servers) {
		return
	}
	members := m.h.cfg.Members()
	slices.SortFunc(members, func(a, b MemberInfo) int { return strings.Compare(a.ID, b.ID) })
	for _, info := range members {
		known := slices.ContainsFunc(servers, func(s Server) bool { return s.ID == info.ID })
		if known || ctx.Err() != nil {
			continue
		}
		if m.add(ctx, info) {
			return
		}
	}
}

// add takes a node in as a replica, after it has recorded that it belongs to this cluster.
func (m *membership) add(ctx context.Context, info MemberInfo) bool {
	cluster := m.h.ClusterID()
	if cluster == "" || (info.ClusterID != "" && info.ClusterID != cluster) {
		return false
	}
	kind := askAdopt
	if m.h.cfg.Removed(info.ID) {
		kind = askRemoved
	}
	_, err := m.h.askOnce(info.ID, question{Kind: kind, Cluster: cluster})
	if err == nil && kind == askAdopt {
		err = m.h.raft.AddNonvoter(raft.ServerID(info.ID), raft.ServerAddress(info.ID), 0, 0).Error()
	}
	if err != nil {
		if ctx.Err() == nil {
			m.h.cfg.Logger.Warn("a node could not be taken in", "node", info.ID, "error", err)
		}
		return false
	}
	return true
}

// remove takes a removed id out of the configuration, unless that would leave less than a healthy majority.
func (m *membership) remove(ctx context.Context, servers []Server, s Server) {
	if s.ID == m.h.id {
		if err := m.h.TransferLeadership(ctx); err != nil && ctx.Err() == nil {
			m.h.cfg.Logger.Warn("a removed leader keeps the lead", "error", err)
		}
		return
	}
	if s.Voter && !m.safeWithout(servers, s.ID) {
		m.h.cfg.Logger.Warn("a removed voter stays until a majority of the others is healthy", "node", s.ID)
		return
	}
	err := m.h.raft.RemoveServer(raft.ServerID(s.ID), 0, 0).Error()
	if err != nil && !errors.Is(err, raft.ErrLeadershipLost) {
		m.h.cfg.Logger.Warn("a removed node stays in the configuration", "node", s.ID, "error", err)
	}
}

func (m *membership) safeWithout(servers []Server, id string) bool {
	state := m.pilot.GetState()
	healthy, voters := 0, 0
	for _, s := range servers {
		if !s.Voter || s.ID == id {
			continue
		}
		voters++
		if state != nil && state.Servers[raft.ServerID(s.ID)] != nil && state.Servers[raft.ServerID(s.ID)].Health.Healthy {
			healthy++
		}
	}
	return voters > 0 && healthy >= voters/2+1
}
