package gossip

import (
	"net"
	"sort"
	"strconv"
	"time"

	"github.com/hashicorp/memberlist"
)

// keepGone is how long a member that died or left stays in the list.
const keepGone = 24 * time.Hour

// suspectFor is how long a suspicion holds without a new reason. The failure
// detector decides well before; what is left after it is a lost answer.
const suspectFor = 5 * time.Second

// doubtFor is how long one unanswered probe counts; maxDoubts bounds what
// others can make this node remember.
const (
	doubtFor  = 2 * time.Second
	maxDoubts = 8
)

// State is what gossip believes of a member. It is a hint, never a proof.
type State int

// A member that does not answer is Suspect until it answers or is Gone.
const (
	Alive State = iota
	Suspect
	Gone
)

// String names the state as it is shown to people.
func (s State) String() string {
	switch s {
	case Alive:
		return "alive"
	case Suspect:
		return "suspect"
	case Gone:
		return "gone"
	}
	return "state " + strconv.Itoa(int(s))
}

// Member is one node as it is seen from this one.
type Member struct {
	ID, Name, Boot, Version        string
	Addr                           string // advertised host, name or address, without a port
	GossipAddr, PeerAddr, HTTPAddr string // host:port; names are to be resolved at each dial
	ClusterID                      string
	HasState                       bool
	BootstrapExpect                int
	ManifestHash                   string
	State                          State
	Since                          time.Time // of State, as seen here
	Self                           bool
}

// row is a member and its manifest, which is valid only while the hash that
// the member announces is the content's.
type row struct {
	Member
	doubts      map[string]time.Time // by the node that got no answer, since this node got one
	suspectedAt time.Time
	contentHash string
	content     []byte
}

func memberOf(n *memberlist.Node, self string) (Member, error) {
	m, err := decodeMeta(n.Meta)
	ip := n.Addr.String()
	host := m.Host
	if host == "" {
		host = ip
	}
	member := Member{
		ID: n.Name, Name: m.Name, Boot: m.Boot, Version: m.Version,
		Addr:       host,
		GossipAddr: net.JoinHostPort(ip, strconv.Itoa(int(n.Port))),
		PeerAddr:   hostPort(host, m.PeerPort),
		HTTPAddr:   hostPort(host, m.HTTPPort),
		ClusterID:  m.ClusterID, HasState: m.HasState, BootstrapExpect: int(m.Expect),
		ManifestHash: m.Manifest, Self: n.Name == self,
	}
	return member, err
}

func hostPort(host string, port uint16) string {
	if port == 0 {
		return ""
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// upsert records a member that is alive with what it says now.
func (g *Gossip) upsert(n *memberlist.Node) {
	m, err := memberOf(n, g.cfg.NodeID)
	if err != nil {
		g.log.Warn("a member's metadata cannot be read, it is listed by its address alone", "node", n.Name, "error", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	m.Since = time.Now()
	old := g.rows[m.ID]
	r := &row{Member: m}
	if old != nil {
		r.content, r.contentHash = old.content, old.contentHash
		if old.State == Alive && old.Boot == m.Boot {
			r.Since = old.Since
		}
	}
	g.rows[m.ID] = r
	for id, other := range g.rows { // a node that lost its identity comes back at its address under a new one
		if other.State == Gone && id != m.ID && other.GossipAddr == m.GossipAddr {
			delete(g.rows, id)
		}
	}
	g.notifyLocked()
	kick(g.fetchC)
}

func (g *Gossip) gone(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.rows[id]; r != nil && !r.Self && r.State != Gone {
		g.setStateLocked(r, Gone)
	}
}

// doubt records that a node got no answer from a member. One lost packet makes
// no suspect: two nodes must say so, or one twice, within a short time.
func (g *Gossip) doubt(id, by string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.rows[id]
	if r == nil || r.Self || r.State == Gone {
		return
	}
	now := time.Now()
	for node, at := range r.doubts {
		if now.Sub(at) > doubtFor {
			delete(r.doubts, node)
		}
	}
	enough := len(r.doubts) > 0
	if r.doubts == nil {
		r.doubts = map[string]time.Time{}
	}
	if len(r.doubts) < maxDoubts {
		r.doubts[by] = now
	}
	if !enough {
		return
	}
	r.suspectedAt = now
	if r.State != Suspect {
		g.setStateLocked(r, Suspect)
	}
}

func (g *Gossip) answered(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.rows[id]
	if r == nil {
		return
	}
	clear(r.doubts)
	if r.State == Suspect {
		g.setStateLocked(r, Alive)
	}
}

// tidy drops members that are gone for long and suspicions nobody renewed.
func (g *Gossip) tidy() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	for id, r := range g.rows {
		switch {
		case r.State == Gone && now.Sub(r.Since) > keepGone:
			delete(g.rows, id)
			g.notifyLocked()
		case r.State == Suspect && now.Sub(r.suspectedAt) > suspectFor:
			g.setStateLocked(r, Alive)
		}
	}
}

func (g *Gossip) setStateLocked(r *row, s State) {
	r.State, r.Since = s, time.Now()
	g.notifyLocked()
}

func (g *Gossip) notifyLocked() {
	for _, c := range g.subs {
		kick(c)
	}
}

// kick raises a coalesced signal.
func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Members lists all known members by id, this node among them. Those that are
// gone stay for a day, or until a node takes their place.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]Member, 0, len(g.rows))
	for _, r := range g.rows {
		out = append(out, r.Member)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out
}

// Lookup finds a member by its node id.
func (g *Gossip) Lookup(id string) (Member, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, ok := g.rows[id]
	if !ok {
		return Member{}, false
	}
	return r.Member, true
}

// Alive lists the ids of members that are not gone, sorted, this node among
// them. A suspect counts: suspicion is a hint that an answer may refute.
func (g *Gossip) Alive() []string {
	var out []string
	for _, m := range g.Members() {
		if m.State != Gone {
			out = append(out, m.ID)
		}
	}
	return out
}

// Subscribe signals that members or manifests changed since the last receive.
func (g *Gossip) Subscribe() (<-chan struct{}, func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	id, c := g.nextSub, make(chan struct{}, 1)
	g.nextSub++
	g.subs[id] = c
	return c, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.subs, id)
	}
}
