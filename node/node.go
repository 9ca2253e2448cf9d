package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/consensus"
	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/api"
	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/node/gossip"
	"github.com/coflux-mesh/coflux/node/journal"
	"github.com/coflux-mesh/coflux/node/ui"
	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/dustin/go-humanize"
	"github.com/hashicorp/go-hclog"
)

// Node is one running node.
//
//	clients ── HTTP port ── api ─┐                     ┌─ agent ── pyexec ── guard ── Python
//	                             ├─ router ── leader ──┤  (stream, also from other nodes)
//	nodes ──── peer port ── rpc ─┘             │       └─ hub
//	           (mux)  └───────── consensus ────┴── state     blobs, journal: files beside Raft
//	nodes ──── gossip port ───── gossip: members, addresses, manifests
type Node struct {
	cfg           Config
	log           hclog.Logger
	dir           *consensus.Dir
	store         *state.Store
	gossip        *gossip.Gossip
	mux           *consensus.Mux
	host          *consensus.Host
	coord         *coordinator
	router        *router
	peers         *peers
	journal       *journal.Journal // of log lines
	points        *journal.Journal // of metrics
	local         *blob.Local
	blobs         meshBlobs
	disk          *disk
	buckets       *buckets // nil for none
	logs, metrics *logs
	packs         *packs
	pool          *pyexec.Pool // nil on a node without repos
	agent         *agent       // likewise
	// registered last by this start; used where modules are discovered, one at a time.
	registered []scheduler.ModuleManifest
	trace      *tracer
	known      []string // what knownFile holds; of announce

	peerLn, httpLn net.Listener
	rpc, http      *http.Server
	api            *api.Server

	stop  context.CancelFunc // of the background work
	wg    sync.WaitGroup
	fatal chan error
	once  sync.Once // Stop
	ended chan struct{}
}

// New prepares a node: the data directory is locked, the ports are bound, nothing runs.
func New(cfg Config, logger hclog.Logger) (_ *Node, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, log: logger, store: state.New(), trace: newTracer(cfg.Name), fatal: make(chan error, 1), ended: make(chan struct{})}
	defer func() {
		if err != nil {
			n.release()
		}
	}()
	if n.dir, err = consensus.OpenDir(cfg.DataDir); err != nil {
		return nil, err
	}
	if err := n.listen(); err != nil {
		return nil, err
	}
	if err := n.openFiles(); err != nil {
		return nil, err
	}
	if err := n.openMesh(); err != nil {
		return nil, err
	}
	return n, n.openAgent()
}

// listen binds the peer and the HTTP port; gossip binds its own when it starts.
func (n *Node) listen() (err error) {
	bind := n.cfg.BindAddress()
	at := func(port int) string { return net.JoinHostPort(bind, strconv.Itoa(port)) }
	if n.peerLn, err = consensus.TCP().Listen(at(n.cfg.PeerPort)); err != nil {
		return fmt.Errorf("the peer port cannot be opened: %w; choose another with --peer-port", err)
	}
	if n.httpLn, err = net.Listen("tcp", at(n.cfg.HTTPPort)); err != nil {
		return fmt.Errorf("the HTTP port cannot be opened: %w; choose another with --http-port", err)
	}
	n.mux = consensus.NewMux(n.peerLn, n.log)
	return nil
}

// openFiles opens what lives beside Raft, and removes what processes of an earlier start left running.
func (n *Node) openFiles() (err error) {
	id := n.dir.Identity()
	for _, earlier := range append(n.dir.Former(), id.NodeID) {
		killed, err := pyexec.Sweep(earlier+"/", n.boot())
		if err != nil {
			return err
		}
		if killed > 0 {
			n.log.Warn("processes of an earlier start were still alive and have been killed", "count", killed)
		}
	}
	n.peers = newPeers(consensus.TCP(), n.peerAddress)
	reserve, err := humanize.ParseBytes(n.cfg.DiskReserve)
	if err != nil {
		return err
	}
	n.disk = newDisk(n.cfg.Name, n.dir.Path(), int64(reserve))
	if err := n.openJournals(); err != nil {
		return err
	}
	if n.local, err = blob.Open(n.dir.Path()); err != nil {
		return err
	}
	n.local.Room(n.disk.room)
	n.blobs = meshBlobs{blob.NewMesh(id.NodeID, n.local, blobPeers{n}, n.log), n.hold}
	if n.buckets = newBuckets(n.cfg, func() string { return n.host.ClusterID() }); n.buckets != nil {
		n.blobs.Beyond(n.buckets)
	}
	n.packs = &packs{blobs: n.blobs}
	return nil
}

// boot marks the processes of this start.
func (n *Node) boot() string { id := n.dir.Identity(); return id.NodeID + "/" + id.Boot }

// openMesh makes gossip, Raft and the coordinator.
func (n *Node) openMesh() (err error) {
	id := n.dir.Identity()
	n.gossip, err = gossip.New(gossip.Config{
		NodeID: id.NodeID, Name: n.cfg.Name, Boot: id.Boot, Version: n.cfg.Version, Label: gossipLabel,
		BindAddr: n.cfg.BindAddress(), BindPort: n.cfg.GossipPort, AdvertiseAddr: n.cfg.Advertise,
		PeerPort: port(n.peerLn), HTTPPort: port(n.httpLn), Join: n.cfg.Join, BootstrapExpect: n.cfg.BootstrapExpect,
		Known: knownPeers(n.dir.Path()), HasState: n.dir.Held(), ClusterID: id.ClusterID, Logger: n.log, OnConflict: n.conflict, Fetch: n.fetchManifest,
	})
	if err != nil {
		return err
	}
	n.host, err = consensus.Open(consensus.Config{
		Dir: n.dir, Machine: consensus.StoreMachine(n.store), Mux: n.mux, Network: consensus.TCP(), Logger: n.log,
		Lookup: n.peerAddress, Members: n.members, Removed: n.removed, Succeeds: n.succeeds, GaveUp: n.gaveUp, Voters: n.voters, Fatal: n.halt,
		BootstrapExpect: n.cfg.BootstrapExpect, StableFor: n.cfg.stableFor,
	})
	if err != nil {
		return err
	}
	n.coord = &coordinator{host: n.host, store: n.store, log: n.log.Named("leader"), clock: boottime, trace: n.trace,
		self: id.NodeID, settle: n.settle, packs: n.packs, packEvery: packEvery,
		disks: n.voterDisks, handOver: n.host.TransferLeadership}
	n.router = &router{host: n.host, local: n.coord, peers: n.peers, store: n.store}
	server := &rpcServer{local: n.coord, router: n.router, manifest: n.gossip.Manifest, blobs: n.local, store: n.buckets.first(), logs: n.logs, metrics: n.metrics,
		load: n.load, log: n.log.Named("rpc")}
	n.rpc = newRPC(server.handler(), n.log)
	return nil
}

// gossipLabel keeps other programs that use memberlist out; foreign meshes are told apart by their cluster id.
const gossipLabel = "coflux"

func port(ln net.Listener) int { return ln.Addr().(*net.TCPAddr).Port }

// openAgent makes the half that runs Python, unless there is nothing to serve.
func (n *Node) openAgent() (err error) {
	if len(n.cfg.Repos) == 0 {
		return nil
	}
	if n.pool, err = newPool(n.cfg, n.dir.Path(), n.boot(), n.log, n.traceBody); err != nil {
		return err
	}
	provides, err := scheduler.ParseTags(n.cfg.Provides)
	if err != nil {
		return err
	}
	accepts, err := scheduler.ParseTags(n.cfg.Accepts)
	if err != nil {
		return err
	}
	id := n.dir.Identity()
	n.agent = newAgent(agentConfig{
		Open: scheduler.OpenSession{Project: n.cfg.Project, Workspace: n.cfg.Workspace, Node: id.NodeID, NodeName: n.cfg.Name,
			Boot: id.Boot, Slots: n.cfg.Concurrency, Provides: provides, Accepts: accepts},
		Runner: n.pool, Values: values{n.blobs, n.cfg.threshold()}, Log: n.logs, Metrics: n.metrics, Logger: n.log.Named("agent"), Clock: boottime, Trace: n.trace,
		Dial: n.dialLeader, Announce: n.tellGuard,
	})
	return nil
}

// Start runs the node. When it returns the node answers; whether there is a quorum is another matter.
func (n *Node) Start(ctx context.Context) error {
	run, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	if err := errors.Join(n.journal.Start(), n.points.Start()); err != nil {
		return err
	}
	n.mux.Start()
	n.serve(n.rpc, n.mux.HTTP())
	if err := n.gossip.Start(ctx); err != nil {
		return err
	}
	if err := n.host.Start(); err != nil {
		return err
	}
	if n.cfg.createsAlone() && !n.host.HasState() {
		if err := n.host.Bootstrap(); err != nil {
			return err
		}
		n.log.Info("a new mesh was created", "cluster", n.host.ClusterID())
	}
	n.coord.Start()
	n.logs.start()
	n.metrics.start()
	n.wg.Go(func() { n.announce(run) })
	n.wg.Go(func() { n.retireLogs(run) })
	n.wg.Go(func() { n.careForBlobs(run) })
	n.wg.Go(func() { n.collectBlobs(run) })
	n.keepInBuckets(run)
	n.api = api.New(api.Config{Backend: backend{n}, Logger: n.log.Named("http"), Version: n.cfg.Version, Profile: n.cfg.Profile, SuperTokenHash: n.cfg.SuperTokenHash,
		AllowedHosts: append([]string{n.cfg.Name, n.cfg.Bind, n.cfg.Advertise}, n.cfg.AllowHosts...), AllowedOrigins: n.cfg.AllowOrigins,
		Page: ui.Handler()})
	n.http = n.api.HTTPServer()
	n.serve(n.http, n.httpLn)
	if n.pool != nil {
		if err := n.startAgent(ctx, run); err != nil {
			return err
		}
	}
	n.log.Info("node is up", "name", n.cfg.Name, "id", n.dir.Identity().NodeID, "http", n.httpLn.Addr(), "peer", n.peerLn.Addr(),
		"gossip", n.GossipAddress())
	return nil
}

// GossipAddress is what others give to --join.
func (n *Node) GossipAddress() string {
	return net.JoinHostPort(n.cfg.BindAddress(), strconv.Itoa(n.gossip.BoundPort()))
}

// HTTPAddress is where the interface for clients is.
func (n *Node) HTTPAddress() string { return n.httpLn.Addr().String() }

func (n *Node) serve(s *http.Server, ln net.Listener) {
	n.wg.Go(func() {
		if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			n.halt(fmt.Errorf("the port %s failed: %w", ln.Addr(), err))
		}
	})
}

// startAgent starts Python and connects. The modules are imported meanwhile: a slow one does not hold up the others.
func (n *Node) startAgent(ctx, run context.Context) error {
	if err := n.pool.Start(ctx); err != nil {
		return err
	}
	first, err := n.pool.Discover(ctx)
	if err != nil {
		return err
	}
	n.discovered(first)
	n.agent.Start()
	if n.cfg.Reload {
		n.wg.Go(func() { watchModules(run, n.pool, first, n.discovered) })
	}
	return nil
}

// discovered takes over what the modules offer now.
func (n *Node) discovered(d pyexec.Discovery) {
	logModules(n.log, d)
	var registered []scheduler.ModuleManifest
	if n.cfg.Register {
		registered = registering(n.log, d, &n.registered)
	}
	n.agent.Declare(declared(d), registered)
	content, err := newManifest(n.cfg, d).encode()
	if err == nil {
		err = n.gossip.SetManifest(content)
	}
	if err != nil {
		n.log.Error("other nodes do not learn of the modules", "error", err)
	}
}

// Wait returns when the node has stopped: nil after Stop, otherwise why it stopped itself.
func (n *Node) Wait() error {
	select {
	case err := <-n.fatal:
		n.shutdown(context.Background())
		return err
	case <-n.ended:
		return nil
	}
}

// halt ends the node for a reason.
func (n *Node) halt(err error) {
	select {
	case n.fatal <- err:
	default:
	}
}

// Stop drains, hands the leadership over, says goodbye and ends (rules A12). ctx bounds the drain beside DrainTimeout.
func (n *Node) Stop(ctx context.Context) error {
	if n.agent != nil {
		drain, cancel := ctx, context.CancelFunc(func() {})
		if n.cfg.DrainTimeout > 0 {
			drain, cancel = context.WithTimeout(ctx, n.cfg.DrainTimeout)
		}
		n.agent.Drain(drain)
		cancel()
	}
	if _, _, self := n.host.Leader(); self {
		short, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		if err := n.host.TransferLeadership(short); err != nil {
			n.log.Debug("the leadership was not handed over", "error", err)
		}
		cancel()
	}
	n.shutdown(ctx)
	return nil
}

// shutdown ends everything in the reverse order of Start.
func (n *Node) shutdown(ctx context.Context) {
	n.once.Do(func() {
		if n.stop != nil {
			n.stop()
		}
		if n.http != nil {
			n.api.Stop()
			n.http.Close()
		}
		if n.agent != nil {
			n.agent.Stop()
			kill, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			if err := n.pool.Stop(kill); err != nil {
				n.log.Warn("Python processes did not end", "error", err)
			}
			cancel()
		}
		n.logs.stop()
		n.metrics.stop()
		n.coord.Stop()
		n.gossip.Leave(500 * time.Millisecond)
		n.rpc.Close()
		n.host.Stop()
		n.gossip.Stop()
		n.mux.Stop()
		n.wg.Wait()
		n.release()
		close(n.ended)
	})
}

// release gives back what New took.
func (n *Node) release() {
	for _, ln := range []net.Listener{n.peerLn, n.httpLn} {
		if ln != nil {
			ln.Close()
		}
	}
	if n.host != nil {
		n.host.Stop()
	}
	if n.peers != nil {
		n.peers.close()
	}
	for _, j := range []*journal.Journal{n.journal, n.points} {
		if j != nil {
			j.Stop()
		}
	}
	if n.local != nil {
		n.local.Close()
	}
	if n.dir != nil {
		n.dir.Close()
	}
}
