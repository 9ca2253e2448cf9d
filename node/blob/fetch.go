package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// slowAnswer is how long a node may take to begin, before the next one is asked too.
const slowAnswer = 250 * time.Millisecond

// offer is what a node answered that was asked for a blob; stop ends its transfer.
type offer struct {
	node string
	r    io.ReadCloser
	err  error
	stop context.CancelFunc
}

// fetchRound brings a copy here from the first node that gives a whole one: the holders in their order, then everybody else. One
// that takes its time is not waited for alone.
func (m *Mesh) fetchRound(ctx context.Context, key string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var nodes []string
	for _, node := range Rank(key, m.peers.Live()) {
		if node != m.self {
			nodes = append(nodes, node)
		}
	}
	offers, asked, busy := make(chan offer, len(nodes)), 0, 0
	defer func() { go drop(offers, busy) }()
	hedge := time.NewTicker(slowAnswer)
	defer hedge.Stop()
	var failed []error
	for asked < len(nodes) || busy > 0 {
		if busy == 0 {
			m.ask(ctx, nodes[asked], key, offers)
			asked, busy = asked+1, busy+1
		}
		select {
		case o := <-offers:
			busy--
			err := o.err
			if err == nil {
				err = m.take(ctx, key, o)
			}
			o.stop()
			if err == nil {
				return nil
			}
			if !errors.Is(err, ErrNotFound) {
				failed = append(failed, fmt.Errorf("node %s: %w", o.node, err))
			}
		case <-hedge.C:
			if asked < len(nodes) {
				m.ask(ctx, nodes[asked], key, offers)
				asked, busy = asked+1, busy+1
			}
		}
	}
	return nowhere(key, failed)
}

// ask asks a node for a blob. One that does not begin in time is given up.
func (m *Mesh) ask(ctx context.Context, node, key string, offers chan<- offer) {
	ctx, stop := context.WithCancel(ctx)
	late := time.AfterFunc(patience, stop)
	go func() {
		r, err := m.peers.Get(ctx, node, key)
		late.Stop()
		offers <- offer{node, r, err, stop}
	}()
}

// take stores what a node gives.
func (m *Mesh) take(ctx context.Context, key string, o offer) error {
	watchdog := time.AfterFunc(patience, o.stop)
	defer watchdog.Stop()
	return errors.Join(m.local.fetched(ctx, key, &moving{o.r, watchdog}), o.r.Close())
}

// Through reads a blob from another node, the holders first, without a copy here. It is not checked: see Checked.
func (m *Mesh) Through(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	var through *transfer
	err := m.round(key, func(node string) error {
		ctx, stop := context.WithCancel(ctx)
		late := time.AfterFunc(patience, stop)
		r, err := m.peers.Get(ctx, node, key)
		if err != nil {
			late.Stop()
			stop()
			return err
		}
		late.Stop()
		through = &transfer{r, late, stop}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return through, nil
}

// transfer is given up when a read of it takes too long. Its reader may take its time.
type transfer struct {
	r        io.ReadCloser
	watchdog *time.Timer
	stop     context.CancelFunc
}

func (t *transfer) Read(b []byte) (int, error) {
	t.watchdog.Reset(patience)
	defer t.watchdog.Stop()
	return t.r.Read(b)
}

func (t *transfer) Close() error {
	defer t.stop()
	return t.r.Close()
}

// Checked fails at its end, in the place of io.EOF, unless it has read the content that the key names: nothing of it may be used before.
func Checked(key string, r io.Reader) io.Reader { return &checked{r, key, sha256.New()} }

type checked struct {
	r   io.Reader
	key string
	sum hash.Hash
}

func (c *checked) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.sum.Write(b[:n]) // never fails
	if errors.Is(err, io.EOF) {
		if got := hex.EncodeToString(c.sum.Sum(nil)); got != c.key {
			err = mismatch(c.key, got)
		}
	}
	return n, err
}

// drop takes so many offers and leaves them.
func drop(offers <-chan offer, n int) {
	for range n {
		o := <-offers
		o.stop()
		if o.r != nil {
			_ = o.r.Close() // nothing was read
		}
	}
}

// moving puts the watchdog off with each read.
type moving struct {
	r        io.Reader
	watchdog *time.Timer
}

func (m *moving) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	m.watchdog.Reset(patience)
	return n, err
}

// fromBeyond brings a copy here from beyond the nodes, as these gave none, with cause.
func (m *Mesh) fromBeyond(ctx context.Context, key string, cause error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	late := time.AfterFunc(patience, stop)
	r, err := m.beyond.Get(ctx, key)
	late.Stop()
	if err == nil {
		err = m.take(ctx, key, offer{node: "beyond", r: r, stop: stop})
	}
	switch {
	case err == nil:
		m.log.Debug("a blob that no node has was read from a bucket", "blob", key)
		return nil
	case errors.Is(err, ErrNotFound):
		return cause
	}
	if errors.Is(cause, ErrNotFound) { // but it may be where nobody could look
		return fmt.Errorf("%w: %s: no node has it, and %w", ErrUnavailable, key, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, key, errors.Join(cause, err))
}
