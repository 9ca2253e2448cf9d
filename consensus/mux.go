package consensus

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// The first byte of a connection to the peer port says what it carries.
const (
	tagRaft     byte = 'R' // Raft's own RPC
	tagQuestion byte = 'Q' // quorum questions, status, adoption, promises: question.go
	tagHTTP     byte = 'H' // HTTP between nodes
)

// firstByteTimeout ends connections that never say what they are.
const firstByteTimeout = 5 * time.Second

// Mux shares one listener among Raft, quorum questions and HTTP. It owns every connection it accepted: Stop closes them.
type Mux struct {
	ln     net.Listener
	logger hclog.Logger
	subs   map[byte]*subListener
	done   chan struct{} // closed by Stop
	wg     sync.WaitGroup

	mu      sync.Mutex // guards the rest
	conns   map[*muxConn]struct{}
	started bool
	stopped bool
}

// NewMux takes over ln. It accepts nothing before Start.
func NewMux(ln net.Listener, logger hclog.Logger) *Mux {
	m := &Mux{ln: ln, logger: logger.Named("mux"), subs: map[byte]*subListener{}, done: make(chan struct{}), conns: map[*muxConn]struct{}{}}
	for _, tag := range []byte{tagRaft, tagQuestion, tagHTTP} {
		m.subs[tag] = &subListener{addr: ln.Addr(), conns: make(chan net.Conn), done: make(chan struct{})}
	}
	return m
}

// HTTP returns the listener for HTTP between nodes.
func (m *Mux) HTTP() net.Listener { return m.subs[tagHTTP] }

// Addr is where the mux listens.
func (m *Mux) Addr() net.Addr { return m.ln.Addr() }

// Start begins to accept.
func (m *Mux) Start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.started || m.stopped {
		return
	}
	m.started = true
	m.wg.Add(1)
	go m.accept()
}

// Stop closes the listener and every connection, and waits. It is idempotent.
func (m *Mux) Stop() {
	m.mu.Lock()
	if !m.stopped {
		close(m.done)
	}
	m.stopped = true
	open := make([]*muxConn, 0, len(m.conns))
	for c := range m.conns {
		open = append(open, c)
	}
	m.mu.Unlock()
	m.ln.Close()
	for _, s := range m.subs {
		s.Close()
	}
	for _, c := range open {
		c.Close()
	}
	m.wg.Wait()
}

func (m *Mux) accept() {
	defer m.wg.Done()
	delay := 5 * time.Millisecond
	for {
		conn, err := m.ln.Accept()
		m.mu.Lock()
		if m.stopped {
			m.mu.Unlock()
			if err == nil {
				conn.Close()
			}
			return
		}
		if err != nil {
			// Out of descriptors, mostly: wait for some to come back instead of spinning.
			m.mu.Unlock()
			m.logger.Warn("can not accept a connection", "error", err)
			select {
			case <-m.done:
			case <-time.After(delay):
			}
			delay = min(2*delay, time.Second)
			continue
		}
		delay = 5 * time.Millisecond
		c := &muxConn{Conn: conn, m: m}
		m.conns[c] = struct{}{}
		m.wg.Add(1)
		m.mu.Unlock()
		go m.route(c)
	}
}

// route is where an accepted connection becomes trusted: a TLS handshake with the check against the member table belongs
// before the first byte is read.
func (m *Mux) route(c *muxConn) {
	defer m.wg.Done()
	var tag [1]byte
	c.SetReadDeadline(time.Now().Add(firstByteTimeout))
	if _, err := c.Read(tag[:]); err != nil {
		c.Close()
		return
	}
	c.SetReadDeadline(time.Time{})
	sub, ok := m.subs[tag[0]]
	if !ok {
		m.logger.Debug("connection closed: its first byte is unknown", "remote", c.RemoteAddr().String())
		c.Close()
		return
	}
	select {
	case sub.conns <- c:
	case <-sub.done:
		c.Close()
	}
}

type muxConn struct {
	net.Conn
	m *Mux
}

func (c *muxConn) Close() error {
	c.m.mu.Lock()
	delete(c.m.conns, c)
	c.m.mu.Unlock()
	return c.Conn.Close()
}

// subListener is the share of one kind of connection.
type subListener struct {
	addr  net.Addr
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

var _ net.Listener = (*subListener)(nil)

func (s *subListener) Accept() (net.Conn, error) {
	select {
	case <-s.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

func (s *subListener) Close() error {
	s.once.Do(func() { close(s.done) })
	return nil
}

func (s *subListener) Addr() net.Addr { return s.addr }

// DialHTTP opens a connection for HTTP to the peer port at addr.
func DialHTTP(ctx context.Context, n Network, addr string) (net.Conn, error) {
	return dialTagged(ctx, n, addr, tagHTTP)
}

// dialTagged is the other end of route: the TLS handshake belongs between the dial and the tag.
func dialTagged(ctx context.Context, n Network, addr string, tag byte) (net.Conn, error) {
	conn, err := n.Dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("connect to the peer port at %s: %w", addr, err)
	}
	deadline, _ := ctx.Deadline()
	conn.SetWriteDeadline(deadline)
	if _, err := conn.Write([]byte{tag}); err != nil {
		conn.Close()
		return nil, fmt.Errorf("greet the peer port at %s: %w", addr, err)
	}
	conn.SetWriteDeadline(time.Time{})
	return conn, nil
}
