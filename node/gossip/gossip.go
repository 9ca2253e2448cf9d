// Package gossip knows the members of the mesh, how they seem to be, and what code they offer.
package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
)

// Config is everything a Gossip needs. NodeID and Logger are required.
type Config struct {
	NodeID  string // memberlist's node name, the only identity
	Name    string // for people
	Boot    string // new at each start of the process
	Version string
	Label   string // keeps foreign meshes apart; the same on all nodes

	BindAddr string // IP address
	BindPort int    // 0: any free port
	// AdvertiseAddr is an address or a name under which others reach this
	// node's three ports; empty: the bound address. AdvertisePort 0: the bound port.
	AdvertiseAddr      string
	AdvertisePort      int
	PeerPort, HTTPPort int

	Join            []string // host:port, resolved at every dial, tried for ever
	Known           []string // gossip addresses of members of an earlier start: hints, looked up like lost members
	BootstrapExpect int
	HasState        bool
	ClusterID       string
	SecretKey       []byte // 16, 24 or 32 bytes turn encryption on; nil: none

	Logger hclog.Logger
	// Fetch brings a manifest's content from the member that announced it.
	// Without it, manifests travel by push/pull alone.
	Fetch func(ctx context.Context, from Member, hash string) ([]byte, error)
	// OnConflict learns that two live nodes use one id; see ConflictError.
	OnConflict func(error)
	Transport  memberlist.Transport // nil: UDP and TCP on BindAddr
}

// Gossip is one node's part in the membership. Reads are always allowed;
// before Start they show nobody.
type Gossip struct {
	cfg       Config
	log       hclog.Logger
	queue     *memberlist.TransmitLimitedQueue
	hintC     chan []byte
	hintSeq   atomic.Uint64
	conflictC chan *ConflictError
	fetchC    chan struct{} // a manifest may be missing
	metaC     chan struct{} // the own metadata is to be announced
	syncC     chan struct{} // a state sync with some member is wanted
	lookup    func(ctx context.Context, host string) ([]string, error)

	life    sync.Mutex // serialises Start, Leave and Stop
	ml      *memberlist.Memberlist
	cancel  context.CancelFunc
	stopped bool
	wg      sync.WaitGroup

	mu       sync.Mutex // guards the rest; held shortly, never while calling memberlist
	meta     meta
	own      manifest
	rows     map[string]*row
	fetching map[string]bool
	subs     map[int]chan struct{}
	nextSub  int
}

// New checks the configuration.
func New(cfg Config) (*Gossip, error) {
	if cfg.NodeID == "" {
		return nil, errors.New("gossip needs a node id, none was given")
	}
	if cfg.Logger == nil {
		return nil, errors.New("gossip needs a logger, none was given")
	}
	if err := checkText("id", cfg.NodeID, maxID); err != nil {
		return nil, err
	}
	for _, p := range []int{cfg.BindPort, cfg.AdvertisePort, cfg.PeerPort, cfg.HTTPPort, cfg.BootstrapExpect} {
		if p < 0 || p > 65535 {
			return nil, fmt.Errorf("gossip cannot use %d as a port or a number of nodes: give one from 0 to 65535", p)
		}
	}
	g := &Gossip{
		cfg: cfg, log: cfg.Logger.Named("gossip"),
		hintC: make(chan []byte, 64), conflictC: make(chan *ConflictError, 64),
		fetchC: make(chan struct{}, 1), metaC: make(chan struct{}, 1), syncC: make(chan struct{}, 1),
		lookup: net.DefaultResolver.LookupHost,
		rows:   map[string]*row{}, fetching: map[string]bool{}, subs: map[int]chan struct{}{},
	}
	g.hintSeq.Store(uint64(time.Now().UnixNano()))
	g.meta = meta{
		Name: cfg.Name, Boot: cfg.Boot, Version: cfg.Version,
		PeerPort: uint16(cfg.PeerPort), HTTPPort: uint16(cfg.HTTPPort),
		ClusterID: cfg.ClusterID, HasState: cfg.HasState, Expect: uint16(cfg.BootstrapExpect),
	}
	if net.ParseIP(cfg.AdvertiseAddr) == nil {
		g.meta.Host = cfg.AdvertiseAddr
	}
	if err := g.meta.check(); err != nil {
		return nil, err
	}
	g.queue = &memberlist.TransmitLimitedQueue{RetransmitMult: 4, NumNodes: func() int { return max(1, len(g.Alive())) }}
	return g, nil
}

// Start listens and begins to look for the others. ctx bounds the start only.
func (g *Gossip) Start(ctx context.Context) error {
	g.life.Lock()
	defer g.life.Unlock()
	if g.stopped || g.ml != nil {
		return errors.New("gossip was started before: make a new one")
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	mc, err := g.memberlistConfig(ctx, run)
	if err != nil {
		cancel()
		return err
	}
	ml, err := memberlist.Create(mc)
	if err != nil {
		cancel()
		return errors.Join(fmt.Errorf("cannot start gossip at %s: %w", hostPort(g.cfg.BindAddr, uint16(mc.BindPort)), err), mc.Transport.Shutdown())
	}
	g.ml, g.cancel = ml, cancel
	g.wg.Add(4)
	go g.runLoop(run)
	go g.metaLoop(run)
	go g.fetchLoop(run)
	go g.joinLoop(run)
	return nil
}

// Leave tells the others that this node goes, and waits at most timeout until
// one of them knows. It changes nothing else: call Stop after it.
func (g *Gossip) Leave(timeout time.Duration) {
	g.life.Lock()
	defer g.life.Unlock()
	if g.ml == nil || g.stopped {
		return
	}
	if err := g.ml.Leave(timeout); err != nil {
		g.log.Debug("nobody has taken the goodbye yet", "error", err)
	}
}

// Stop ends gossip without a goodbye. It waits, and may be called again.
func (g *Gossip) Stop() {
	g.life.Lock()
	defer g.life.Unlock()
	if g.stopped {
		return
	}
	g.stopped = true
	if g.ml == nil {
		return
	}
	g.cancel()
	if err := g.ml.Shutdown(); err != nil {
		g.log.Warn("gossip did not stop cleanly", "error", err)
	}
	g.wg.Wait()
}

// runLoop owns the conflicts and works off what must not wait in memberlist's loops.
func (g *Gossip) runLoop(ctx context.Context) {
	defer g.wg.Done()
	tick := time.NewTicker(reassertEvery)
	defer tick.Stop()
	hints := map[string]uint64{} // the last one of each member
	c := conflicts{seen: map[string]*sighting{}, reassert: time.Now().Add(reassertFor)}
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-g.hintC:
			g.takeHint(b, hints)
		case e := <-g.conflictC:
			if err := c.note(e, time.Now()); err != nil {
				g.log.Error("two live nodes use one id", "node", e.ID, "error", err)
				if g.cfg.OnConflict != nil {
					g.cfg.OnConflict(err)
				}
			}
		case <-tick.C:
			g.tidy()
			if c.due(time.Now()) {
				kick(g.metaC)
				kick(g.syncC)
			}
		}
	}
}

func (g *Gossip) currentMeta() meta {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.meta
}

// SetMeta announces what the node has become. It may be called before Start.
func (g *Gossip) SetMeta(clusterID string, hasState bool) error {
	if err := checkText("cluster id", clusterID, maxCluster); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.meta.ClusterID != clusterID || g.meta.HasState != hasState {
		g.meta.ClusterID, g.meta.HasState = clusterID, hasState
		kick(g.metaC)
	}
	return nil
}

// metaLoop announces the node's metadata anew; UpdateNode waits for a
// transmission, so it has a loop of its own.
func (g *Gossip) metaLoop(ctx context.Context) {
	defer g.wg.Done()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.syncC:
			g.sync(ctx)
			continue
		case <-g.metaC:
		}
		if err := g.ml.UpdateNode(500 * time.Millisecond); err != nil {
			g.log.Debug("nobody has taken the new metadata yet", "error", err)
		}
	}
}

// BoundPort is the gossip port in use; 0 before Start.
func (g *Gossip) BoundPort() int {
	m, ok := g.Lookup(g.cfg.NodeID)
	if !ok {
		return 0
	}
	_, port, err := net.SplitHostPort(m.GossipAddr)
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return 0
	}
	return n
}
