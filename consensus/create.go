package consensus

import (
	"fmt"
	"slices"

	"github.com/hashicorp/raft"
)

// HasState tells whether this node has, or may have, held the state of a cluster.
func (h *Host) HasState() bool {
	if h.cfg.Dir.Held() {
		return true
	}
	r, ok := h.running()
	return ok && r.LastIndex() > 0
}

// ClusterID is the cluster this node belongs to; empty while it belongs to none.
func (h *Host) ClusterID() string {
	if l := h.cfg.Dir.current(); l.Held {
		return l.ClusterID
	}
	return ""
}

// Bootstrap creates a cluster with this node as its only voter. Whether it may is the caller's decision, except that a
// node that ever held the state of a cluster, or promised to help another node, never does. It runs after Start.
func (h *Host) Bootstrap() error {
	if _, ok := h.running(); !ok {
		return fmt.Errorf("create a cluster: %w", ErrStopped)
	}
	h.creating.Lock()
	defer h.creating.Unlock()
	if h.HasState() {
		return fmt.Errorf("%w: this data directory belongs to the cluster %s; start with --join to return to it", ErrHeldState, h.cfg.Dir.Identity().ClusterID)
	}
	id, err := h.intend()
	if err != nil {
		return err
	}
	return h.create(id)
}

// intend makes the creation of a cluster of this node's own durable before anything of it exists, and returns its id.
// The same intention is taken up again after a crash.
func (h *Host) intend() (string, error) {
	l := h.cfg.Dir.current()
	if l.Promise.ClusterID != "" && l.Promise.Owner != h.id {
		return "", fmt.Errorf("this node promised the node %s to help create its cluster and creates none itself; start that node, or start this one with an empty data directory", l.Promise.Owner)
	}
	if l.Promise.Owner == h.id {
		return l.Promise.ClusterID, nil
	}
	id := newID()
	err := h.cfg.Dir.update(func(l *lineage) { l.Promise = promise{ClusterID: id, Owner: h.id} })
	return id, err
}

// create bootstraps Raft. From the first write on this node counts as one that held state, unless it crashes before the
// log exists: then Creating lets it begin again.
func (h *Host) create(cluster string) error {
	if err := h.cfg.Dir.update(func(l *lineage) { l.ClusterID, l.Creating = cluster, true }); err != nil {
		return err
	}
	servers := []raft.Server{{ID: raft.ServerID(h.id), Address: raft.ServerAddress(h.id)}}
	if err := h.raft.BootstrapCluster(raft.Configuration{Servers: servers}).Error(); err != nil {
		return fmt.Errorf("create the cluster %s: %w", cluster, err)
	}
	if err := h.cfg.Dir.update(func(l *lineage) { l.Held, l.Creating = true, false }); err != nil {
		return err
	}
	return h.leadAlone()
}

// leadAlone lets the only voter of a cluster lead without waiting for the heartbeats of a leader that can not exist: a
// follower whose heartbeat timeout is shortened looks at once whether it has passed.
func (h *Host) leadAlone() error {
	servers := h.raft.GetConfiguration().Configuration().Servers
	voters := slices.DeleteFunc(slices.Clone(servers), func(s raft.Server) bool { return s.Suffrage != raft.Voter })
	if len(voters) != 1 || string(voters[0].ID) != h.id {
		return nil
	}
	rc := h.raft.ReloadableConfig()
	rc.HeartbeatTimeout = h.cfg.scaled(tick)
	if err := h.raft.ReloadConfig(rc); err != nil {
		return fmt.Errorf("take the lead alone: %w", err)
	}
	return nil
}

// resumeCreation ends a creation that a crash interrupted after the log had begun.
func (h *Host) resumeCreation() error {
	if !h.cfg.Dir.current().Creating || h.raft.LastIndex() == 0 {
		return nil
	}
	return h.cfg.Dir.update(func(l *lineage) { l.Held, l.Creating = true, false })
}
