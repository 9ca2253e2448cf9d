package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/coflux-mesh/coflux/consensus"
	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/node/gossip"
	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/coflux-mesh/coflux/scheduler"
	"golang.org/x/sys/unix"
)

// boottime is CLOCK_BOOTTIME: it goes on while the machine sleeps, so that a lease ends in time.
func boottime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Duration(time.Now().UnixNano()) // not on Linux
	}
	return time.Duration(ts.Nano())
}

// peerAddress is where a node's peer port is now, as gossip says.
func (n *Node) peerAddress(id string) (string, bool) {
	m, ok := n.gossip.Lookup(id)
	return m.PeerAddr, ok
}

// others are the ids of the other live nodes.
func (n *Node) others() (ids []string) {
	self := n.dir.Identity().NodeID
	for _, id := range n.gossip.Alive() {
		if id != self {
			ids = append(ids, id)
		}
	}
	return ids
}

// conflict ends the later of two starts that use one id; the earlier one is not always told, and must not end.
func (n *Node) conflict(err error) {
	var c *gossip.ConflictError
	if errors.As(err, &c) && !(c.Self && c.Boot > c.OtherBoot) {
		n.log.Error("two nodes use one id", "error", err)
		return
	}
	n.halt(err)
}

// members is what gossip tells Raft.
func (n *Node) members() (out []consensus.MemberInfo) {
	for _, m := range n.gossip.Members() {
		if m.State != gossip.Gone {
			out = append(out, consensus.MemberInfo{ID: m.ID, ClusterID: m.ClusterID, HasState: m.HasState, BootstrapExpect: m.BootstrapExpect})
		}
	}
	return out
}

func (n *Node) removed(id string) bool {
	m := n.store.View().Member(id)
	return m != nil && m.Removed
}

// succeeds tells whether two ids belong to nodes of one name.
func (n *Node) succeeds(old, by string) bool {
	row := n.store.View().Member(old)
	m, ok := n.gossip.Lookup(by)
	return ok && row != nil && m.Name != "" && m.Name == row.Name
}

// gaveUp has the leader strike an id off whose node has come back under another one.
func (n *Node) gaveUp(old, by string) {
	l := n.coord.leader()
	if l == nil || n.store.View().Member(old) == nil {
		return
	}
	_ = l.enqueue(&scheduler.RemoveMember{ID: old}, false, func(r scheduler.Reply, err error) {
		if err == nil && r.Err == nil {
			n.log.Info("an id was given up for good", "id", old, "node", by)
		}
	})
}

func (n *Node) voters() int {
	return int(n.store.View().Setting(state.SettingVoters, int64(n.cfg.Voters)))
}

// settle is what a new leader makes sure of.
func (n *Node) settle() []scheduler.Request {
	return []scheduler.Request{
		&scheduler.EraseLeftovers{},
		&scheduler.CreateWorkspace{Project: n.cfg.Project, Name: n.cfg.Workspace, Ensure: true, Seed: true},
		&scheduler.PutSetting{Name: state.SettingVoters, Value: int64(n.cfg.Voters), Seed: true},
		&scheduler.PutSetting{Name: state.SettingPackAfter, Value: n.cfg.PackAfter.Milliseconds(), Seed: true},
	}
}

// announceEvery is how often a node looks whether what it knows of itself and others has changed.
const announceEvery = 200 * time.Millisecond

// announce keeps gossip told of this node's cluster, the guard of whom to tell of this node's death, and, while it
// leads, the member table of who belongs to the mesh.
func (n *Node) announce(ctx context.Context) {
	changed, cancel := n.gossip.Subscribe()
	defer cancel()
	ticker := time.NewTicker(announceEvery)
	defer ticker.Stop()
	for {
		if err := n.gossip.SetMeta(n.host.ClusterID(), n.host.HasState()); err != nil {
			n.log.Warn("gossip does not carry the cluster id", "error", err)
		}
		n.seeMembers()
		select {
		case <-changed:
			n.tellGuard()
			n.rememberPeers()
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// seeMembers has the leader note the nodes of the configuration under their names.
func (n *Node) seeMembers() {
	l := n.coord.leader()
	if l == nil {
		return
	}
	view := n.store.View()
	for _, s := range n.host.Servers() {
		m, ok := n.gossip.Lookup(s.ID)
		if row := view.Member(s.ID); ok && m.Name != "" && (row == nil || row.Name != m.Name) {
			_ = l.enqueue(&scheduler.SeeMember{ID: s.ID, Name: m.Name}, false, func(scheduler.Reply, error) {})
		}
	}
}

// tellGuard gives the guard the peers that it tells when this node has died, and what: that nothing of the present
// session is alive. It names the session, because a guard that was late must not end the one after it.
func (n *Node) tellGuard() {
	if n.pool == nil {
		return
	}
	var statements []pyexec.Statement
	for _, m := range n.gossip.Members() {
		if m.State == gossip.Alive && !m.Self {
			statements = append(statements, pyexec.Statement{Network: "tcp", Address: m.PeerAddr,
				Data: goneStatement(n.agent.Session(), n.cfg.Name), Want: goneWant})
		}
	}
	n.pool.SetPeers(statements)
}

// fetchManifest brings a manifest from the node that announced it.
func (n *Node) fetchManifest(ctx context.Context, from gossip.Member, hash string) ([]byte, error) {
	rc, err := n.peers.get(ctx, from.ID, rpcManifest+hash, nil)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(io.LimitReader(rc, 16<<20))
}

// dialLeader opens this node's agent's stream to whoever leads: over memory when that is this node.
func (n *Node) dialLeader(ctx context.Context) (stream, error) {
	id, _, self := n.host.Leader()
	if id == "" {
		return nil, errNoQuorum
	}
	if !self {
		s, err := dialStream(ctx, &http.Client{Transport: n.peers.client.Transport}, peerURL(id, rpcStream, nil))
		if err != nil {
			return nil, err
		}
		stop := watchLeader(n.host, id, s.cut) // a leader that hangs does not end its streams
		n.wg.Go(func() { <-s.done(); stop() })
		return s, nil
	}
	if n.coord.leader() == nil {
		return nil, errNotLeading
	}
	mine, theirs := newPipe()
	n.wg.Go(func() {
		if err := n.coord.serveStream(context.WithoutCancel(ctx), theirs); err != nil {
			n.log.Debug("stream of the own agent ended", "error", err)
		}
	})
	return mine, nil
}

// load is how busy this node is.
func (n *Node) load() (l load) {
	if n.agent != nil {
		l.Used, l.Slots = n.agent.Used()
	}
	l.Full = n.disk.room(false) != nil
	return l
}

// blobPeers copies blobs between nodes.
type blobPeers struct{ n *Node }

// Live are the ids of the live nodes, this one included.
func (p blobPeers) Live() []string { return append(p.n.others(), p.n.dir.Identity().NodeID) }

// VotersMajority is the number of nodes that keep what is committed.
func (p blobPeers) VotersMajority() int {
	voters := 0
	for _, s := range p.n.host.Servers() {
		if s.Voter {
			voters++
		}
	}
	return voters/2 + 1
}

// Put copies a blob to a node.
func (p blobPeers) Put(ctx context.Context, node, key string, open func() (io.ReadCloser, error)) error {
	body, err := open()
	if err != nil {
		return err
	}
	defer body.Close()
	err = p.n.peers.put(ctx, node, rpcBlob+key, body)
	if errors.Is(err, errNoRoom) {
		err = fmt.Errorf("%w there: %w", blob.ErrFull, err)
	}
	return err
}

// Get fetches a blob from a node.
func (p blobPeers) Get(ctx context.Context, node, key string) (io.ReadCloser, error) {
	body, err := p.n.peers.get(ctx, node, rpcBlob+key, nil)
	if errors.Is(err, errAbsent) {
		err = blob.ErrNotFound
	}
	return body, err
}
