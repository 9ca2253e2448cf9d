// Package memnet is a network in memory for tests in virtual time: buffered connections between named hosts, with cuts.
package memnet

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Net joins hosts. A cut direction behaves as a cut cable under TCP: what is written is kept and arrives when the cut is
// healed; connections are not closed.
type Net struct {
	mu        sync.Mutex // guards everything of the net, its listeners and connections
	listeners map[string]*listener
	cuts      map[[2]string]bool
	conns     map[*conn]struct{}
	changed   chan struct{} // closed and replaced at every change that a waiting dial, read or accept could see
	ports     int
}

// New returns a net without hosts.
func New() *Net {
	return &Net{listeners: map[string]*listener{}, cuts: map[[2]string]bool{}, conns: map[*conn]struct{}{}, changed: make(chan struct{})}
}

// Host is the network as one host sees it.
type Host struct {
	n    *Net
	name string
}

// Host returns the network as the named host sees it.
func (n *Net) Host(name string) *Host { return &Host{n: n, name: name} }

func (n *Net) poke() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// Cut stops what goes from one host to another; healing lets it arrive.
func (n *Net) Cut(from, to string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[[2]string{from, to}] = cut
	n.poke()
}

// CutBoth cuts or heals both directions.
func (n *Net) CutBoth(a, b string, cut bool) {
	n.Cut(a, b, cut)
	n.Cut(b, a, cut)
}

// Kill closes all listeners and connections of a host, as the end of its process does.
func (n *Net) Kill(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for addr, l := range n.listeners {
		if l.host == name {
			l.closed = true
			delete(n.listeners, addr)
		}
	}
	for c := range n.conns {
		if c.local == name || c.remote == name {
			n.close(c)
		}
	}
	n.poke()
}

// Listen takes an address: host:port; port 0, or an empty address, finds a free one.
func (h *Host) Listen(addr string) (net.Listener, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	if addr == "" || addr == h.name+":0" {
		h.n.ports++
		addr = fmt.Sprintf("%s:%d", h.name, h.n.ports)
	}
	if _, taken := h.n.listeners[addr]; taken {
		return nil, fmt.Errorf("listen on %s: the address is in use", addr)
	}
	l := &listener{n: h.n, host: h.name, addr: addr}
	h.n.listeners[addr] = l
	h.n.poke()
	return l, nil
}

// Dial connects to an address. It waits while a direction is cut and is refused where nobody listens.
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	n := h.n
	n.mu.Lock()
	for {
		l, ok := n.listeners[addr]
		if !ok {
			n.mu.Unlock()
			return nil, fmt.Errorf("connect to %s: refused", addr)
		}
		if !n.cuts[[2]string{h.name, l.host}] && !n.cuts[[2]string{l.host, h.name}] {
			mine, theirs := n.pair(h.name, l.host, addr)
			l.backlog = append(l.backlog, theirs)
			n.poke()
			n.mu.Unlock()
			return mine, nil
		}
		if err := n.wait(ctx.Done()); err != nil {
			n.mu.Unlock()
			return nil, fmt.Errorf("connect to %s: %w", addr, ctx.Err())
		}
	}
}

// wait lets the lock go until something changes.
func (n *Net) wait(done <-chan struct{}) error {
	ch := n.changed
	n.mu.Unlock()
	defer n.mu.Lock()
	select {
	case <-ch:
		return nil
	case <-done:
		return os.ErrDeadlineExceeded
	}
}

func (n *Net) pair(from, to, addr string) (mine, theirs *conn) {
	a := &conn{n: n, local: from, remote: to, addr: addr}
	b := &conn{n: n, local: to, remote: from, addr: addr}
	a.peer, b.peer = b, a
	n.conns[a], n.conns[b] = struct{}{}, struct{}{}
	return a, b
}

type listener struct {
	n          *Net
	host, addr string
	backlog    []*conn
	closed     bool
}

func (l *listener) Accept() (net.Conn, error) {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	for {
		if l.closed {
			return nil, net.ErrClosed
		}
		if len(l.backlog) > 0 {
			c := l.backlog[0]
			l.backlog = l.backlog[1:]
			return c, nil
		}
		l.n.wait(nil)
	}
}

func (l *listener) Close() error {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	if !l.closed {
		l.closed = true
		if l.n.listeners[l.addr] == l {
			delete(l.n.listeners, l.addr)
		}
		for _, c := range l.backlog {
			l.n.close(c)
		}
		l.n.poke()
	}
	return nil
}

func (l *listener) Addr() net.Addr { return memAddr(l.addr) }

type memAddr string

func (a memAddr) Network() string { return "mem" }
func (a memAddr) String() string  { return string(a) }

type conn struct {
	n             *Net
	local, remote string // hosts
	addr          string
	peer          *conn
	in            []byte // written by the peer and not yet read
	closed        bool
	deadline      <-chan struct{} // of reads; nil without one
	stop          func()
}

// close ends one side; the other reads what is left and then the end.
func (n *Net) close(c *conn) {
	if !c.closed {
		c.closed = true
		delete(n.conns, c)
		if c.stop != nil {
			c.stop()
		}
		n.poke()
	}
}

func (c *conn) Read(b []byte) (int, error) {
	n := c.n
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		select {
		case <-c.deadline:
			return 0, os.ErrDeadlineExceeded
		default:
		}
		cut := n.cuts[[2]string{c.remote, c.local}]
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case len(b) == 0:
			return 0, nil
		case !cut && len(c.in) > 0:
			k := copy(b, c.in)
			c.in = c.in[k:]
			return k, nil
		case !cut && c.peer.closed:
			return 0, io.EOF
		}
		if err := n.wait(c.deadline); err != nil {
			return 0, err
		}
	}
}

// Write never blocks: it is as if the buffers on the way had no end.
func (c *conn) Write(b []byte) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	if c.peer.closed && !c.n.cuts[[2]string{c.local, c.remote}] {
		return 0, io.ErrClosedPipe
	}
	c.peer.in = append(c.peer.in, b...)
	c.n.poke()
	return len(b), nil
}

func (c *conn) Close() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.n.close(c)
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return memAddr(c.local) }
func (c *conn) RemoteAddr() net.Addr { return memAddr(c.remote) }

func (c *conn) SetDeadline(t time.Time) error      { return c.SetReadDeadline(t) }
func (c *conn) SetWriteDeadline(_ time.Time) error { return nil }

func (c *conn) SetReadDeadline(t time.Time) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.stop != nil {
		c.stop()
		c.stop = nil
	}
	c.deadline = nil
	if !t.IsZero() {
		done := make(chan struct{})
		c.deadline = done
		timer := time.AfterFunc(time.Until(t), func() { close(done) })
		c.stop = func() { timer.Stop() }
	}
	c.n.poke() // a read under way goes by the new deadline
	return nil
}
