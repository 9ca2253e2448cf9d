package consensus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	maxPending  = 64              // questions that one peer may leave open
	redialAfter = 3 * time.Second // a peer that owes answers for so long gets a new connection
	redialPause = 50 * time.Millisecond
)

// asker puts questions to other nodes over connections that stay.
type asker struct {
	self    string
	network Network
	lookup  func(id string) (string, bool)
	wg      sync.WaitGroup

	mu     sync.Mutex // guards the rest
	peers  map[string]*peer
	closed bool
}

func newAsker(self string, n Network, lookup func(string) (string, bool)) *asker {
	return &asker{self: self, network: n, lookup: lookup, peers: map[string]*peer{}}
}

func (a *asker) stop() {
	a.mu.Lock()
	a.closed = true
	for _, p := range a.peers {
		p.drop()
	}
	a.mu.Unlock()
	a.wg.Wait()
}

// ask returns the answer of one node. The answer is to this very question: it was made after ask was called.
func (a *asker) ask(ctx context.Context, id string, q question) (answer, error) {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return answer{}, ErrStopped
	}
	p, ok := a.peers[id]
	if !ok {
		p = &peer{a: a, id: id, dialing: make(chan struct{}, 1)}
		a.peers[id] = p
	}
	a.mu.Unlock()
	l, err := p.connected(ctx)
	if err != nil {
		return answer{}, err
	}
	q.From, q.To = a.self, id
	ans, err := l.roundTrip(ctx, q)
	if err != nil {
		return answer{}, fmt.Errorf("ask the node %s: %w", id, err)
	}
	if ans.Node != id {
		l.fail(net.ErrClosed)
		return answer{}, fmt.Errorf("the node %s answers where %s was looked for", ans.Node, id)
	}
	if ans.Err != "" {
		return ans, fmt.Errorf("the node %s refuses: %s", id, ans.Err)
	}
	return ans, nil
}

// peer is the way to one node.
type peer struct {
	a       *asker
	id      string
	dialing chan struct{} // held by who dials

	mu      sync.Mutex // guards the rest
	link    *link
	failed  time.Time
	failure error
}

func (p *peer) drop() {
	p.mu.Lock()
	l := p.link
	p.mu.Unlock()
	if l != nil {
		l.fail(ErrStopped)
	}
}

func (p *peer) usable() (*link, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.link != nil && p.link.alive() {
		return p.link, nil
	}
	if p.failure != nil && time.Since(p.failed) < redialPause {
		return nil, p.failure
	}
	return nil, nil
}

func (p *peer) connected(ctx context.Context) (*link, error) {
	if l, err := p.usable(); l != nil || err != nil {
		return l, err
	}
	select {
	case p.dialing <- struct{}{}:
		defer func() { <-p.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l, err := p.usable(); l != nil || err != nil {
		return l, err
	}
	l, err := p.dial(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link, p.failure, p.failed = l, err, time.Now()
	return l, err
}

func (p *peer) dial(ctx context.Context) (*link, error) {
	addr, ok := p.a.lookup(p.id)
	if !ok {
		return nil, fmt.Errorf("no address is known for the node %s: gossip has not seen it", p.id)
	}
	c, err := dialTagged(ctx, p.a.network, addr, tagQuestion)
	if err != nil {
		return nil, err
	}
	l := &link{conn: c, pending: map[uint64]chan answer{}}
	p.a.mu.Lock()
	defer p.a.mu.Unlock()
	if p.a.closed {
		c.Close()
		return nil, ErrStopped
	}
	p.a.wg.Add(1)
	go func() {
		defer p.a.wg.Done()
		l.read()
	}()
	return l, nil
}

// link is one connection with its open questions.
type link struct {
	conn net.Conn
	wmu  sync.Mutex // held while a frame is written

	mu      sync.Mutex // guards the rest
	seq     uint64
	pending map[uint64]chan answer
	owing   time.Time // since when answers are owed and none came; zero when the last word was the peer's
	err     error
}

func (l *link) alive() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == nil
}

func (l *link) roundTrip(ctx context.Context, q question) (answer, error) {
	ch := make(chan answer, 1)
	l.mu.Lock()
	if l.err != nil || len(l.pending) >= maxPending {
		defer l.mu.Unlock()
		return answer{}, errors.Join(l.err, errors.New("the connection is gone or owes too many answers"))
	}
	if l.owing.IsZero() {
		l.owing = time.Now()
	}
	l.seq++
	q.Seq = l.seq
	l.pending[q.Seq] = ch
	l.mu.Unlock()

	l.wmu.Lock()
	l.conn.SetWriteDeadline(time.Now().Add(time.Second))
	err := writeFrame(l.conn, q)
	l.wmu.Unlock()
	if err != nil {
		l.fail(err)
		return answer{}, err
	}
	select {
	case ans, ok := <-ch:
		if !ok {
			return answer{}, errors.New("the connection ended before the answer")
		}
		return ans, nil
	case <-ctx.Done():
		l.forget(q.Seq)
		return answer{}, ctx.Err()
	}
}

// forget gives one question up; a peer that has said nothing for long gets a new connection, to where it is by then.
func (l *link) forget(seq uint64) {
	l.mu.Lock()
	delete(l.pending, seq)
	silent := !l.owing.IsZero() && time.Since(l.owing) > redialAfter
	l.mu.Unlock()
	if silent {
		l.fail(errors.New("no answer for too long"))
	}
}

func (l *link) read() {
	r := bufio.NewReader(l.conn)
	for {
		var ans answer
		if err := readFrame(r, &ans); err != nil {
			l.fail(err)
			return
		}
		l.mu.Lock()
		l.owing = time.Time{}
		ch, ok := l.pending[ans.Seq]
		delete(l.pending, ans.Seq)
		l.mu.Unlock()
		if ok {
			ch <- ans
		}
	}
}

func (l *link) fail(err error) {
	l.mu.Lock()
	if l.err == nil {
		l.err = err
		for seq, ch := range l.pending {
			delete(l.pending, seq)
			close(ch)
		}
	}
	l.mu.Unlock()
	l.conn.Close()
}
