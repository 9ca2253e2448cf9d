package consensus

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// streamLayer carries Raft over the peer port. A server's Raft address is its id: where it is now is asked at each dial,
// so a whole cluster may move without a change of its configuration.
type streamLayer struct {
	id      string
	sub     net.Listener
	network Network
	lookup  func(id string) (string, bool)

	mu     sync.Mutex // guards the rest
	dialed map[*streamConn]struct{}
	closed bool
}

var _ raft.StreamLayer = (*streamLayer)(nil)

func (s *streamLayer) Accept() (net.Conn, error) {
	c, err := s.sub.Accept()
	if err != nil {
		return nil, err
	}
	return s.track(c)
}

func (s *streamLayer) Addr() net.Addr { return idAddr(s.id) }

func (s *streamLayer) Dial(id raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
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
	return s.track(c)
}

func (s *streamLayer) track(c net.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return nil, net.ErrClosed
	}
	t := &streamConn{Conn: c, s: s}
	s.dialed[t] = struct{}{}
	return t, nil
}

// Close ends the listener and all connections: Raft's transport would leave both kinds open.
func (s *streamLayer) Close() error {
	s.mu.Lock()
	s.closed = true
	open := make([]*streamConn, 0, len(s.dialed))
	for c := range s.dialed {
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
	s *streamLayer
}

func (c *streamConn) Close() error {
	c.s.mu.Lock()
	delete(c.s.dialed, c)
	c.s.mu.Unlock()
	return c.Conn.Close()
}

// idAddr is a node id where a network address is asked for.
type idAddr string

func (a idAddr) Network() string { return "node" }
func (a idAddr) String() string  { return string(a) }
