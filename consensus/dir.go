package consensus

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"
)

// Identity is who this node is. NodeID lives with the log: a node that lost its log is another node. Boot is new at each
// start.
type Identity struct {
	NodeID    string
	ClusterID string // empty until the node belongs to a cluster
	Boot      string
}

// Dir is the locked data directory of one running node.
//
//	lock             held by the running process
//	lineage          what this directory once was; stays when raft/ is moved aside
//	raft/identity    the node id
//	raft/log.db      log and stable values
//	raft/snapshots/
//	raft.damaged-N/  raft/ of a former id of this node: see Quarantine
//	seen             the most that was seen of the other servers: see sightings
//	peers            where the other servers were, for a node whose log is damaged: see savePeers
type Dir struct {
	path string
	lock *os.File
	save func(lineage) error // writes the lineage durably

	mu      sync.Mutex // guards the rest
	nodeID  string
	boot    string
	hasLog  bool
	lineage lineage
}

// lineage is what a node must not forget even when its log is lost (rules A10, A11).
type lineage struct {
	ClusterID string   `json:"clusterId,omitempty"`
	NodeID    string   `json:"nodeId,omitempty"`
	Boot      string   `json:"boot,omitempty"`
	Held      bool     `json:"held,omitempty"`     // state was, or may have been, held
	Creating  bool     `json:"creating,omitempty"` // ClusterID is about to be bootstrapped by this node
	Removed   bool     `json:"removed,omitempty"`  // the cluster has removed NodeID
	Promise   promise  `json:"promise,omitzero"`   // the one cluster this node helps to create
	GivenUp   []string `json:"givenUp,omitempty"`  // clusters of its own that it will never create
	Leaving   string   `json:"leaving,omitempty"`  // the id whose log is about to be moved aside
	Spoke     string   `json:"spoke,omitempty"`    // the last boot in which NodeID had a voice (rules A26)
	Behind    string   `json:"behind,omitempty"`   // why the log of NodeID must not be used any more
	Former    []string `json:"former,omitempty"`   // ids whose log was moved aside as damaged: they never come back
}

// promise names a cluster that does not exist yet and the only node that may create it.
type promise struct {
	ClusterID string `json:"clusterId,omitempty"`
	Owner     string `json:"owner,omitempty"`
}

// identityFile is kept beside the log.
type identityFile struct {
	NodeID string `json:"nodeId"`
	Path   string `json:"path"`   // where this directory was when it was last used
	HasLog bool   `json:"hasLog"` // log.db was made: its absence is a loss
}

// newID returns a fresh id that sorts by its time of birth.
func newID() string {
	return ulid.MustNew(ulid.Timestamp(time.Now()), rand.Reader).String()
}

// laterID returns an id that sorts behind the given one.
func laterID(id string) string {
	u, err := ulid.ParseStrict(id)
	if err != nil || u.Time() >= ulid.MaxTime() {
		return id + "1"
	}
	return ulid.MustNew(u.Time()+1, rand.Reader).String()
}

// OpenDir locks a data directory and loads, or makes, the identity in it.
func OpenDir(path string) (*Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the data directory %s: %w", path, err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory %s: %w", abs, err)
	}
	lock, err := lockDir(abs)
	if err != nil {
		return nil, err
	}
	sweepUnfinished(abs)
	d := &Dir{path: abs, lock: lock, boot: newID()}
	d.save = func(l lineage) error { return writeSealed(filepath.Join(abs, "lineage"), l) }
	if err := d.load(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// lockPatience is how long a start waits for the lock: a process that was killed just now, and had much memory, gives it
// back only when the kernel is done with it.
const lockPatience = 2 * time.Second

func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the data directory %s: %w", path, err)
	}
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(lockPatience / 50) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("the data directory %s is in use by another process; stop that one or choose another --data-dir", path)
		}
		return nil, fmt.Errorf("lock the data directory %s: %w", path, err)
	}
	return f, nil
}

func (d *Dir) load() error {
	known := false
	switch err := readSealed(filepath.Join(d.path, "lineage"), &d.lineage); {
	case err == nil:
		known = true
	case !missing(err):
		return err
	}
	var id identityFile
	identity := filepath.Join(d.path, "raft", "identity")
	switch err := readSealed(identity, &id); {
	case err == nil && !known:
		return &DamageError{File: filepath.Join(d.path, "lineage"), Reason: "it is missing beside a log"}
	case err == nil && slices.Contains(d.lineage.Former, id.NodeID):
		return fmt.Errorf("%s holds the log of the node %s, which was given up as damaged: its id never comes back; move that directory aside and start again with --join", filepath.Join(d.path, "raft"), id.NodeID)
	case err == nil:
		if err := d.checkClone(id); err != nil {
			return err
		}
	case !missing(err):
		return err
	case !known:
		if err := d.checkForeign(); err != nil {
			return err
		}
	}
	if err := d.settleID(&id); err != nil {
		return err
	}
	d.nodeID, d.hasLog = id.NodeID, id.HasLog
	if d.lineage.Removed && d.lineage.NodeID == id.NodeID {
		return fmt.Errorf("the node %s was removed from its cluster and its id never comes back; move %s aside and start again with --join to join as a new node", id.NodeID, filepath.Join(d.path, "raft"))
	}
	if d.boot <= d.lineage.Boot {
		d.boot = laterID(d.lineage.Boot) // the clock went back: later boots compare greater all the same
	}
	if d.lineage.NodeID != id.NodeID {
		d.lineage.Spoke, d.lineage.Behind = "", ""
	}
	d.lineage.NodeID, d.lineage.Boot, d.lineage.Removed = id.NodeID, d.boot, false
	d.lineage.left(id.NodeID)
	return d.save(d.lineage)
}

// left settles what became of an id that was being left: it is given up if its log is gone from raft/. If the log is
// still there nothing has happened yet, and the damage will be found again.
func (l *lineage) left(now string) {
	if l.Leaving != "" && l.Leaving != now && !slices.Contains(l.Former, l.Leaving) {
		l.Former = append(l.Former, l.Leaving)
	}
	l.Leaving = ""
}

// settleID makes a new id where there is none, or where the log that belonged to it is gone: a voter that restarts with
// an empty log under its old id loses acknowledged writes.
func (d *Dir) settleID(id *identityFile) error {
	raftDir := filepath.Join(d.path, "raft")
	if id.HasLog {
		if _, err := os.Stat(filepath.Join(raftDir, "log.db")); missing(err) {
			if err := os.Rename(raftDir, raftDir+".lost-"+d.boot); err != nil {
				return fmt.Errorf("move the rest of a lost log aside: %w", err)
			}
			*id = identityFile{}
		}
	}
	if id.NodeID != "" && id.Path == d.path {
		return nil
	}
	if id.NodeID == "" {
		id.NodeID = newID()
	}
	id.Path = d.path
	if err := os.MkdirAll(raftDir, 0o700); err != nil {
		return fmt.Errorf("make %s: %w", raftDir, err)
	}
	return writeSealed(filepath.Join(raftDir, "identity"), id)
}

// checkClone refuses a copy of a directory whose original is still there.
func (d *Dir) checkClone(id identityFile) error {
	if id.Path == d.path {
		return nil
	}
	var origin identityFile
	if err := readSealed(filepath.Join(id.Path, "raft", "identity"), &origin); err != nil || origin.NodeID != id.NodeID {
		return nil // moved, not copied
	}
	return fmt.Errorf("the data directory %s is a copy of %s: two nodes with one id would lose acknowledged writes; remove %s to start it as a new node", d.path, id.Path, filepath.Join(d.path, "raft"))
}

// checkForeign refuses to settle among files of others.
func (d *Dir) checkForeign() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("look into the data directory %s: %w", d.path, err)
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "lock", name == "lost+found", name == "raft", strings.HasPrefix(name, "."):
		default:
			return fmt.Errorf("the data directory %s holds %q and is none of this program's; choose an empty one with --data-dir", d.path, name)
		}
	}
	return nil
}

// Path is where the directory is.
func (d *Dir) Path() string { return d.path }

// Identity returns who this node is now.
func (d *Dir) Identity() Identity {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Identity{NodeID: d.nodeID, ClusterID: d.lineage.ClusterID, Boot: d.boot}
}

// Held tells whether this directory has, or may have, held the state of a cluster.
func (d *Dir) Held() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lineage.Held
}

// behind is the damage of a log that was found to lack what this node had acknowledged.
func (d *Dir) behind() error {
	if why := d.current().Behind; why != "" {
		return d.outdated(why)
	}
	return nil
}

func (d *Dir) outdated(why string) error {
	return &DamageError{File: filepath.Join(d.path, "raft", "log.db"), Reason: why}
}

// Former are the ids that this node once had and gave up because their log was damaged.
func (d *Dir) Former() []string { return slices.Clone(d.current().Former) }

// Close releases the lock. It is idempotent.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	err := d.lock.Close()
	d.lock = nil
	return err
}

// update changes the lineage and makes the change durable before it returns; on an error nothing has changed.
func (d *Dir) update(change func(*lineage)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := d.lineage
	next.GivenUp, next.Former = slices.Clone(next.GivenUp), slices.Clone(next.Former)
	change(&next)
	if err := d.save(next); err != nil {
		return err
	}
	d.lineage = next
	return nil
}

func (d *Dir) current() lineage {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lineage
}

// discardUnused removes a log that was only being made when the process ended: nothing can have been written to it.
func (d *Dir) discardUnused(file string) error {
	if d.hasLog {
		return nil
	}
	if err := os.Remove(file); err != nil && !missing(err) {
		return fmt.Errorf("remove the unfinished log %s: %w", file, err)
	}
	return nil
}

// markLog records that the log exists from now on.
func (d *Dir) markLog() error {
	if d.lock == nil {
		return nil // a directory in memory has no files
	}
	path := filepath.Join(d.path, "raft", "identity")
	var id identityFile
	if err := readSealed(path, &id); err != nil {
		return err
	}
	if id.HasLog {
		return nil
	}
	id.HasLog, d.hasLog = true, true
	return writeSealed(path, id)
}
