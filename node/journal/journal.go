// Package journal keeps the logs of what this node executed, in files of its own, never in Raft.
package journal

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

var (
	// ErrStopped is returned by a journal that is not running.
	ErrStopped = errors.New("the journal is not running: log entries are taken between Start and Stop")
	// ErrBusy is returned by Keep while the disk takes nothing or too much waits
	// for it. The entries were not taken: another node may keep them.
	ErrBusy = errors.New("the journal takes nothing now: its disk is full, slow or failing")
	// ErrGap is returned when entries were dropped because nothing could be
	// written for MaxBlock. The execution goes on; an entry that says how many
	// are missing is written as soon as that is possible.
	ErrGap = errors.New("log entries were dropped: the journal could not write for too long, look at the disk of its directory")
)

// Options are the sizes that may be chosen; zero values are the defaults.
type Options struct {
	MaxBytes   int64         // of all segments; 1 GiB. The oldest segments go first
	MaxPending int           // bytes waiting to be written; 8 MiB
	MaxBlock   time.Duration // how long Append holds a writer back; 10 s
}

// gatherFor is how long entries wait for company before they are written.
const gatherFor = 20 * time.Millisecond

// Journal is the log of one node. Queries are allowed from Open on.
type Journal struct {
	dir         string
	id          string
	log         hclog.Logger
	maxBytes    int64
	maxPending  int
	maxBlock    time.Duration
	segmentSize int64
	write       func(*os.File, []byte) (int, error)
	numbering   *Numbering // of entries that come without an identity

	damaged         atomic.Int64
	droppedEntries  atomic.Int64
	droppedSegments atomic.Int64

	kickC  chan struct{}
	flushC chan chan error
	stopC  chan struct{}
	doneC  chan struct{}

	filesMu sync.Mutex // guards the next three and all segments
	shards  [shards][]*segment
	nextSeq uint64
	total   int64

	mu      sync.Mutex // guards the rest
	state   runState
	pending []item
	bytes   int           // pending and being written
	space   chan struct{} // closed when bytes has shrunk
	stalled bool          // Append no longer waits
	failing bool          // the last write failed
	gaps    map[gapKey]int
	waiting map[string]int // blobs that pending entries refer to, and how often
	subs    map[string]map[int]chan struct{}
	nextSub int
}

type runState int

const (
	opened runState = iota
	running
	stopped
)

type gapKey struct{ run, execution, workspace string }

// maxGaps bounds the executions whose missing lines are counted one by one.
const maxGaps = 10000

// Open reads what is there, repairs what a killed process left, and starts nothing.
func Open(dir string, logger hclog.Logger, o Options) (*Journal, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 30
	}
	if o.MaxPending == 0 {
		o.MaxPending = 8 << 20
	}
	if o.MaxBlock == 0 {
		o.MaxBlock = 10 * time.Second
	}
	if o.MaxBytes < 0 || o.MaxPending < 0 || o.MaxBlock < 0 {
		return nil, errors.New("the journal's sizes must not be negative")
	}
	j := &Journal{
		dir: dir, log: logger.Named("journal"),
		maxBytes: o.MaxBytes, maxPending: o.MaxPending, maxBlock: o.MaxBlock,
		segmentSize: min(4<<20, max(1, o.MaxBytes/(4*shards))),
		write:       (*os.File).Write,
		numbering:   NewNumbering(),
		kickC:       make(chan struct{}, 1), flushC: make(chan chan error),
		stopC: make(chan struct{}), doneC: make(chan struct{}),
		space: make(chan struct{}), gaps: map[gapKey]int{}, waiting: map[string]int{}, subs: map[string]map[int]chan struct{}{},
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the journal's directory: %w", err)
	}
	var err error
	if j.id, err = identity(filepath.Join(dir, "id")); err != nil {
		return nil, err
	}
	return j, j.load()
}

// identity names the journal in cursors. It lives with the segments, so that
// an emptied directory is another journal.
func identity(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil && len(strings.TrimSpace(string(b))) == 16 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("cannot read the journal's identity: %w", err)
	}
	raw := make([]byte, 8)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("cannot make the journal's identity: %w", err)
	}
	id := hex.EncodeToString(raw)
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("cannot write the journal's identity: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return "", fmt.Errorf("cannot write the journal's identity: %w", err)
	}
	return id, nil
}

// Start begins to take entries.
func (j *Journal) Start() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state != opened {
		return errors.New("the journal was started before: open it anew")
	}
	j.state = running
	go j.writeLoop()
	return nil
}

// Stop writes what was taken, as far as the disk allows, and waits. It may be
// called again.
func (j *Journal) Stop() {
	j.mu.Lock()
	switch j.state {
	case opened:
		close(j.doneC)
	case running:
		close(j.stopC)
	case stopped:
	}
	j.state = stopped
	j.mu.Unlock()
	<-j.doneC
}

// Stats are counts since Open.
type Stats struct {
	Bytes           int64 // of all segments now
	Damaged         int64 // damaged places found
	DroppedEntries  int64
	DroppedSegments int64
}

// Stats tells how the journal does.
func (j *Journal) Stats() Stats {
	j.filesMu.Lock()
	defer j.filesMu.Unlock()
	return Stats{
		Bytes: j.total, Damaged: j.damaged.Load(),
		DroppedEntries: j.droppedEntries.Load(), DroppedSegments: j.droppedSegments.Load(),
	}
}

// Subscribe signals that entries of a run were written since the last receive.
func (j *Journal) Subscribe(runID string) (<-chan struct{}, func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	id, c := j.nextSub, make(chan struct{}, 1)
	j.nextSub++
	if j.subs[runID] == nil {
		j.subs[runID] = map[int]chan struct{}{}
	}
	j.subs[runID][id] = c
	return c, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.subs[runID], id)
		if len(j.subs[runID]) == 0 {
			delete(j.subs, runID)
		}
	}
}

func (j *Journal) signal(run string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range j.subs[run] {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
