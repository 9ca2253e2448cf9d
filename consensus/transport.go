package consensus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// streamLayer carries Raft over the peer port. A server's Raft address is its id: where it is now is asked at each dial,
// so a whole cluster may move without a change of its configuration. Each connection begins with a hello that says who
// calls whom, because Raft's messages do not: acknowledgements of another node that has taken over an address would
// count for the one that was meant.
type streamLayer struct {
	id      string
	cluster func() string
	sub     net.Listener
	network Network
	lookup  func(id string) (string, bool)
	voice   chan struct{} // closed when this node may take part: until then Raft hears nobody and nobody hears it (mute.go)
	done    chan struct{} // closed by Close

	mu     sync.Mutex // guards the rest
	conns  map[*streamConn]struct{}
	closed bool
}

var _ raft.StreamLayer = (*streamLayer)(nil)

// newStreamLayer makes one without a voice.
func newStreamLayer(id string, cluster func() string, sub net.Listener, network Network, lookup func(string) (string, bool)) *streamLayer {
	return &streamLayer{
		id: id, cluster: cluster, sub: sub, network: network, lookup: lookup,
		voice: make(chan struct{}), done: make(chan struct{}), conns: map[*streamConn]struct{}{},
	}
}

func (s *streamLayer) Accept() (net.Conn, error) {
	c, err := s.sub.Accept()
	if err != nil {
		return nil, err
	}
	select {
	case <-s.voice:
		return s.track(c, true)
	case <-s.done:
		c.Close()
		return nil, net.ErrClosed
	}
}

// mute tells whether this node takes no part yet.
func (s *streamLayer) mute() bool {
	select {
	case <-s.voice:
		return false
	default:
		return true
	}
}

func (s *streamLayer) Addr() net.Addr { return idAddr(s.id) }

func (s *streamLayer) Dial(id raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	if s.mute() {
		return nil, errors.New("this node takes no part before the other voters have told what they saw of it")
	}
	addr, ok := s.lookup(string(id))
	if !ok {
		return nil, fmt.Errorf("no address is known for the node %s: gossip has not seen it", id)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c, err := dialTagged(ctx, s.network, addr, tagRaft)
	if err != nil {
		return nil, err
	}
	c.SetWriteDeadline(time.Now().Add(timeout))
	if err := writeFrame(c, hello{From: s.id, To: string(id), Cluster: s.cluster()}); err != nil {
		c.Close()
		return nil, fmt.Errorf("greet the node %s: %w", id, err)
	}
	c.SetWriteDeadline(time.Time{})
	return s.track(c, false)
}

// hello opens a connection of Raft.
type hello struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Cluster string `json:"cluster"`
}

// check refuses a caller that means another node or belongs to another cluster.
func (s *streamLayer) check(h hello) error {
	if h.To != s.id {
		return fmt.Errorf("the node %s calls %s, but this is %s", h.From, h.To, s.id)
	}
	if mine := s.cluster(); h.Cluster != mine {
		return fmt.Errorf("the node %s belongs to the cluster %q, this one to %q", h.From, h.Cluster, mine)
	}
	return nil
}

func (s *streamLayer) track(c net.Conn, ungreeted bool) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return nil, net.ErrClosed
	}
	t := &streamConn{Conn: c, s: s, ungreeted: ungreeted}
	s.conns[t] = struct{}{}
	return t, nil
}

// Close ends the listener and all connections: Raft's transport would leave both kinds open.
func (s *streamLayer) Close() error {
	s.mu.Lock()
	if !s.closed {
		close(s.done)
	}
	s.closed = true
	open := make([]*streamConn, 0, len(s.conns))
	for c := range s.conns {
		open = append(open, c)
	}
	s.mu.Unlock()
	s.sub.Close()
	for _, c := range open {
		c.Close()
	}
	return nil
}

type streamConn struct {
	net.Conn
	s         *streamLayer
	ungreeted bool // the hello is still to be read; owned by the one reader
}

func (c *streamConn) Read(b []byte) (int, error) {
	if c.ungreeted {
		var h hello
		c.Conn.SetReadDeadline(time.Now().Add(firstByteTimeout))
		if err := readFrame(c.Conn, &h); err != nil {
			return 0, fmt.Errorf("read who calls: %w", err)
		}
		if err := c.s.check(h); err != nil {
			return 0, err
		}
		c.Conn.SetReadDeadline(time.Time{})
		c.ungreeted = false
	}
	return c.Conn.Read(b)
}

func (c *streamConn) Close() error {
	c.s.mu.Lock()
	delete(c.s.conns, c)
	c.s.mu.Unlock()
	return c.Conn.Close()
}

// idAddr is a node id where a network address is asked for.
type idAddr string

func (a idAddr) Network() string { return "node" }
func (a idAddr) String() string  { return string(a) }
