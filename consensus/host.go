package consensus

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Host runs Raft on this node.
type Host struct {
	cfg      Config
	id       string
	store    *checkedStore
	closeLog func() error
	snaps    raft.SnapshotStore
	stream   *streamLayer
	asker    *asker
	answers  *answerer
	confirms *confirmer
	events   *eventQueue
	members  *membership
	seen     *sightings
	notify   chan bool

	raft   *raft.Raft // set by Start
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	creating sync.Mutex // held while it is decided to which cluster this node belongs

	haltOnce sync.Once
	halted   chan struct{} // closed when the node must not go on

	mu        sync.RWMutex // guards the rest
	state     hostState
	proposals sync.WaitGroup // proposals that Raft has not answered yet
	stopped   chan struct{}
}

type hostState int

const (
	hostOpen hostState = iota
	hostRunning
	hostStopping
)

// Open opens the log and verifies that it belongs to the directory's node. Nothing runs before Start. A host that was
// opened must be stopped.
func Open(cfg Config) (*Host, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	id := cfg.Dir.Identity().NodeID
	h := &Host{cfg: cfg, id: id, notify: make(chan bool), halted: make(chan struct{}), stopped: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if err := cfg.Dir.behind(); err != nil {
		h.cancel()
		return nil, err
	}
	if err := h.openStores(); err != nil {
		h.cancel()
		return nil, err
	}
	h.stream = newStreamLayer(id, h.ClusterID, cfg.Mux.subs[tagRaft], cfg.Network, cfg.Lookup)
	h.seen = openSightings(cfg.Dir)
	h.asker = newAsker(id, cfg.Network, cfg.Lookup)
	h.answers = &answerer{sub: cfg.Mux.subs[tagQuestion], reply: h.answer, logger: cfg.Logger.Named("questions")}
	h.confirms = &confirmer{
		self: id, leading: h.leadingTerm, voters: h.voterIDs, ask: h.askTerm,
		timeout: cfg.scaled(2 * tick), wake: make(chan struct{}, 1),
	}
	h.events = newEventQueue()
	return h, nil
}

func (h *Host) openStores() error {
	path := h.cfg.Dir.Path()
	h.store = &checkedStore{under: h.cfg.Store, file: "the log in memory", halt: h.halt, closing: make(chan struct{})}
	h.closeLog = func() error { return nil }
	if h.cfg.Store == nil {
		file := filepath.Join(path, "raft", "log.db")
		if err := h.cfg.Dir.discardUnused(file); err != nil {
			return err
		}
		bolt, err := openBolt(file)
		if err != nil {
			return err
		}
		h.store.under, h.store.file, h.closeLog = bolt, file, bolt.Close
	}
	err := h.claimLog()
	if err == nil && h.cfg.Snapshots != nil {
		h.snaps = h.cfg.Snapshots
	} else if err == nil {
		h.snaps, err = raft.NewFileSnapshotStoreWithLogger(filepath.Join(path, "raft"), 2, h.cfg.Logger.Named("snapshot"))
	}
	if err != nil {
		return errors.Join(err, h.closeLog())
	}
	return nil
}

// keyNode is where the log itself says whose it is.
var keyNode = []byte("CofluxNode")

// claimLog binds a new log to this node's id and refuses the log of another one.
func (h *Host) claimLog() error {
	owner, err := h.store.Get(keyNode)
	if err != nil && err.Error() != "not found" {
		return err
	}
	if len(owner) > 0 && string(owner) != h.id {
		return &DamageError{File: h.store.file, Reason: fmt.Sprintf("it is the log of the node %s, not of %s", owner, h.id)}
	}
	if len(owner) == 0 {
		if err := h.store.Set(keyNode, []byte(h.id)); err != nil {
			return fmt.Errorf("write to %s: %w", h.store.file, err)
		}
	}
	if last, err := h.store.LastIndex(); err != nil || last > 0 {
		if _, termErr := h.store.Get([]byte("CurrentTerm")); err == nil && termErr != nil {
			err = &DamageError{File: h.store.file, Reason: "it holds entries but no term", Err: termErr}
		}
		if err != nil {
			return err
		}
	}
	return h.cfg.Dir.markLog()
}

// Start runs Raft. On an error nothing runs, and the host must still be stopped.
func (h *Host) Start() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state != hostOpen {
		return fmt.Errorf("start the consensus host: %w", ErrStopped)
	}
	trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: h.stream, MaxPool: 3, Timeout: h.cfg.scaled(5 * time.Second), Logger: h.cfg.Logger.Named("transport"),
		MsgpackUseNewTimeFormat: true,
		// One message at a time to each follower, without the pipeline of raft 1.7.3: when its reader of responses has ended
		// (a newer term, a lost connection) its sender may wait for ever for room that only the reader would make, and with
		// it replication to that follower and Shutdown. Entries are proposed one after another anyway.
		MaxRPCsInFlight: 1,
	})
	r, err := h.newRaft(trans)
	if err != nil {
		trans.Close()
		return err
	}
	h.raft = r
	if err := errors.Join(h.resumeCreation(), h.leadAlone()); err != nil {
		h.raft = nil
		r.Shutdown().Error()
		return err
	}
	h.store.running.Store(true)
	h.state = hostRunning
	h.members = newMembership(h)
	h.answers.start()
	h.confirms.start(h.ctx)
	h.goFunc(h.watchLeadership)
	h.goFunc(h.rememberPeers)
	h.goFunc(h.speakUp)
	h.goFunc(h.watchOthers)
	if h.cfg.BootstrapExpect > 1 && !h.cfg.Dir.Held() {
		h.goFunc(h.createTogether)
	}
	return nil
}

func (h *Host) goFunc(f func()) {
	h.wg.Add(1)
	go func() {
		defer h.wg.Done()
		f()
	}()
}

// newRaft turns Raft's panics on what it reads into the sentences they came from.
func (h *Host) newRaft(trans raft.Transport) (r *raft.Raft, err error) {
	defer func() {
		if p := recover(); p != nil {
			cause, ok := p.(error)
			if !ok {
				cause = fmt.Errorf("%v", p)
			}
			err = h.startError(cause)
		}
	}()
	cache, err := raft.NewLogCache(512, h.store)
	if err != nil {
		return nil, fmt.Errorf("make the cache of the log: %w", err)
	}
	r, err = raft.NewRaft(h.cfg.raft(h.notify), &fsm{machine: h.cfg.Machine, halt: h.halt}, cache, h.store, h.snaps, trans)
	if err != nil {
		return nil, h.startError(err)
	}
	return r, nil
}

func (h *Host) startError(err error) error {
	// Raft passes causes on as text.
	damaged := h.store.broken.Load()
	switch {
	case damaged != nil:
		return damaged
	case errors.Is(err, raft.ErrLogNotFound):
		return &DamageError{File: h.store.file, Reason: "entries are missing between the newest readable snapshot and the end of the log", Err: err}
	case err.Error() == "failed to load any existing snapshots":
		return &DamageError{File: filepath.Join(h.cfg.Dir.Path(), "raft", "snapshots"), Reason: "no snapshot in it can be read"}
	}
	return fmt.Errorf("start Raft on the log %s: %w", h.store.file, err)
}

// Stop ends everything and waits. It does not touch the configuration of the cluster and is idempotent.
func (h *Host) Stop() {
	h.mu.Lock()
	was := h.state
	h.state = hostStopping
	h.mu.Unlock()
	if was == hostStopping {
		<-h.stopped
		return
	}
	defer close(h.stopped)
	h.cancel()
	close(h.store.closing)
	if was == hostRunning {
		h.settle(h.proposals.Wait)
		h.raft.Shutdown().Error()
		h.answers.stop()
		h.confirms.wg.Wait()
	}
	h.stream.Close()
	h.asker.stop()
	h.settle(h.wg.Wait)
	h.store.running.Store(false)
	if err := h.closeLog(); err != nil {
		h.cfg.Logger.Warn("the log was not closed cleanly", "error", err)
	}
}

// settle waits for those whom Raft owes answers, because it answers nothing after its end. A leader that lost its quorum
// gives up within its lease; a halted node, or one that waits for space on its disk, owes answers for ever.
func (h *Host) settle(wait func()) {
	done := make(chan struct{})
	go func() {
		wait()
		close(done)
	}()
	select {
	case <-done:
		return
	case <-h.halted:
	case <-time.After(h.cfg.scaled(9 * tick)):
	}
	select {
	case <-done:
	case <-time.After(h.cfg.scaled(tick)):
	}
}

// halt makes this node go no further: the process is told once.
func (h *Host) halt(err error) {
	h.haltOnce.Do(func() {
		close(h.halted)
		go h.cfg.Fatal(err)
	})
}
