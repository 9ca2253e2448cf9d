package blob

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/hashicorp/go-hclog"
)

const (
	copies     = 3
	fetchFor   = 30 * time.Second // a missing holder is waited for, not a transfer that moves
	retryFirst = 100 * time.Millisecond
	retryMax   = 2 * time.Second
	patience   = 5 * time.Second // a peer that moves no byte for so long is given up
)

// Peers is how a Mesh reaches the other nodes. Nodes are named by node id; a
// peer's handlers work on its Local store. All calls end with their context.
type Peers interface {
	// Live lists the members that are not gone, this node among them.
	Live() []string
	// VotersMajority is the number of voters that a committed entry is on at least.
	VotersMajority() int
	// Put returns nil only after the node has the content on its disk. open
	// may be called again for another try.
	Put(ctx context.Context, node, key string, open func() (io.ReadCloser, error)) error
	// Get returns ErrNotFound, wrapped, if the node answered that it has none.
	Get(ctx context.Context, node, key string) (io.ReadCloser, error)
}

// Beyond has copies of blobs beside those of the nodes, which are read when no node has one.
type Beyond interface {
	// Get returns ErrNotFound, wrapped, if there is none.
	Get(ctx context.Context, key string) (io.ReadCloser, error)
	// Keeps tells whether a blob needs no copies on nodes, as it is kept there.
	Keeps(ctx context.Context, key string) (bool, error)
}

// Beyond has a place be read from. It is set before the first use.
func (m *Mesh) Beyond(b Beyond) { m.beyond = b }

// Mesh is a Store over all nodes: it writes to enough of them and reads from any.
type Mesh struct {
	self   string
	local  *Local
	peers  Peers
	log    hclog.Logger
	beyond Beyond // nil for none

	mu       sync.Mutex // guards fetching
	fetching map[string]*fetch
}

// fetch is one in progress; err may be read when done is closed.
type fetch struct {
	done chan struct{}
	err  error
}

// tries bounds how often a disk that does not give back what it took is asked.
const tries = 3

var _ Store = (*Mesh)(nil)

// NewMesh starts nothing: all work is done in the calls.
func NewMesh(self string, local *Local, peers Peers, logger hclog.Logger) *Mesh {
	return &Mesh{self: self, local: local, peers: peers, log: logger.Named("blob"), fetching: map[string]*fetch{}}
}

// Rank orders nodes for a key, the same everywhere: the first ones hold it.
func Rank(key string, nodes []string) []string {
	type scored struct {
		node  string
		score uint64
	}
	all := make([]scored, 0, len(nodes))
	for _, n := range nodes {
		all = append(all, scored{n, xxhash.Sum64String(n + "\x00" + key)})
	}
	slices.SortFunc(all, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.node, b.node))
	})
	out := make([]string, 0, len(all))
	for _, s := range all {
		out = append(out, s.node)
	}
	return slices.Compact(out)
}

// Put stores content here and on min(3, live) nodes, never fewer than a
// majority of the voters. It waits for them as long as ctx allows, then
// returns ErrShort with the reason.
func (m *Mesh) Put(ctx context.Context, r io.Reader) (string, int64, error) {
	key, size, err := m.local.Put(ctx, r)
	if err != nil {
		return "", 0, err
	}
	return key, size, m.spread(ctx, key, size)
}

// PutKey is Put for content that must have this key.
func (m *Mesh) PutKey(ctx context.Context, key string, r io.Reader) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	got, size, err := m.local.put(ctx, key, m.local.roomy(r, false))
	if err != nil {
		return err
	}
	return m.spread(ctx, got, size)
}

// Open reads here, else from the holders, else from any member; it tries for
// 30 seconds. What was fetched is checked and stays here.
func (m *Mesh) Open(ctx context.Context, key string) (io.ReadCloser, int64, error) {
	for try := 1; ; try++ {
		r, size, err := m.local.Open(ctx, key)
		if err == nil {
			m.local.leases.renew(key) // what is read stays for the next reader
		}
		if err == nil || try > tries {
			return r, size, err
		}
		if err := m.bring(ctx, key, err); err != nil {
			return nil, 0, err
		}
	}
}

// Path is Open for a process of this node: a file that it may only read.
func (m *Mesh) Path(ctx context.Context, key string) (string, error) {
	for try := 1; ; try++ {
		path, err := m.local.Path(ctx, key)
		if err == nil {
			m.local.leases.renew(key)
		}
		if err == nil || try > tries {
			return path, err
		}
		if err := m.bring(ctx, key, err); err != nil {
			return "", err
		}
	}
}

// Has asks every member once and does not wait for those that are away: it
// answers quickly where Open would go on trying.
func (m *Mesh) Has(ctx context.Context, key string) (bool, error) {
	ok, err := m.local.Has(ctx, key)
	if ok || err != nil {
		return ok, err
	}
	err = m.round(key, func(node string) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		r, err := m.peers.Get(ctx, node, key)
		if err != nil {
			return err
		}
		_ = r.Close() // nothing was read
		return nil
	})
	if err != nil {
		if has, beyond := m.isBeyond(ctx, key); has || beyond != nil {
			return has, beyond
		}
	}
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// isBeyond tells whether a blob is beyond the nodes.
func (m *Mesh) isBeyond(ctx context.Context, key string) (bool, error) {
	if m.beyond == nil {
		return false, nil
	}
	r, err := m.beyond.Get(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, r.Close()
}

// bring fetches a copy after the local one failed with cause. One caller
// fetches, the others of the same key wait for what it gets.
func (m *Mesh) bring(ctx context.Context, key string, cause error) error {
	if errors.Is(cause, ErrBadKey) || ctx.Err() != nil {
		return cause
	}
	m.mu.Lock()
	f := m.fetching[key]
	if f != nil {
		m.mu.Unlock()
		select {
		case <-f.done:
			if errors.Is(f.err, context.Canceled) || errors.Is(f.err, context.DeadlineExceeded) {
				return nil // it was that caller's time, not ours: look again
			}
			return f.err
		case <-ctx.Done():
			return fmt.Errorf("%w: %s: %w", ErrUnavailable, key, ctx.Err())
		}
	}
	f = &fetch{done: make(chan struct{})}
	m.fetching[key] = f
	m.mu.Unlock()
	if !errors.Is(cause, ErrNotFound) {
		m.log.Warn("a blob cannot be read here, another copy is fetched", "blob", key, "error", cause)
	}
	f.err = m.fetch(ctx, key)
	m.mu.Lock()
	delete(m.fetching, key)
	m.mu.Unlock()
	close(f.done)
	return f.err
}

func (m *Mesh) fetch(ctx context.Context, key string) error {
	limit, cancel := context.WithTimeout(ctx, fetchFor)
	defer cancel()
	for wait := retryFirst; ; wait = min(2*wait, retryMax) {
		err := m.fetchRound(ctx, key)
		if err != nil && m.beyond != nil {
			err = m.fromBeyond(ctx, key, err)
		}
		if err == nil {
			return nil
		}
		if !pause(limit, wait) {
			if ctx.Err() != nil {
				return fmt.Errorf("%w: %w", err, ctx.Err())
			}
			return err
		}
	}
}

// round tries the holders, then everybody else, until one does what is asked.
func (m *Mesh) round(key string, ask func(node string) error) error {
	var failed []error
	for _, node := range Rank(key, m.peers.Live()) {
		if node == m.self {
			continue
		}
		err := ask(node)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrNotFound) {
			failed = append(failed, fmt.Errorf("node %s: %w", node, err))
		}
	}
	return nowhere(key, failed)
}

// nowhere is the error of asking everybody in vain: failed are those who did not say that they have none.
func nowhere(key string, failed []error) error {
	if len(failed) == 0 {
		return notFound(key)
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, key, errors.Join(failed...))
}

// pause reports whether there is time left.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Content reads a small blob whole.
func Content(ctx context.Context, s Store, key string, limit int64) ([]byte, error) {
	r, size, err := s.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, errors.Join(fmt.Errorf("blob %s has %d bytes, at most %d can be taken here", key, size, limit), r.Close())
	}
	var buf bytes.Buffer
	_, err = buf.ReadFrom(&reader{ctx, r})
	return buf.Bytes(), errors.Join(err, r.Close())
}
