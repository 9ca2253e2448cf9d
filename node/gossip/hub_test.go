package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// hub is a network in memory with addresses, delays, and cuts.
type hub struct {
	mu   sync.Mutex
	at   map[string]*port
	next int
	cut  func(from, to string) bool // nil: whole
}

func newHub() *hub { return &hub{at: map[string]*port{}} }

// port is one node's attachment to the hub.
type port struct {
	h       *hub
	ip      net.IP
	addr    string
	packets chan *memberlist.Packet
	streams chan net.Conn
	down    bool
}

var _ memberlist.Transport = (*port)(nil)

func (h *hub) port() *port {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next++
	ip := net.IPv4(10, 0, 0, byte(h.next)).To4()
	p := &port{h: h, ip: ip, addr: ip.String() + ":7946", packets: make(chan *memberlist.Packet, 1024), streams: make(chan net.Conn, 16)}
	h.at[p.addr] = p
	return p
}

func (h *hub) setCut(f func(from, to string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cut = f
}

func (p *port) reach(addr string) *port {
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	q := p.h.at[addr]
	if q == nil || q.down || p.down || (p.h.cut != nil && p.h.cut(p.addr, addr)) {
		return nil
	}
	return q
}

func (p *port) FinalAdvertiseAddr(string, int) (net.IP, int, error) { return p.ip, 7946, nil }

func (p *port) WriteTo(b []byte, addr string) (time.Time, error) {
	if q := p.reach(addr); q != nil {
		pk := &memberlist.Packet{Buf: append([]byte(nil), b...), From: &net.UDPAddr{IP: p.ip, Port: 7946}}
		time.AfterFunc(300*time.Microsecond, func() {
			pk.Timestamp = time.Now()
			select {
			case q.packets <- pk:
			default:
			}
		})
	}
	return time.Now(), nil
}

func (p *port) PacketCh() <-chan *memberlist.Packet { return p.packets }

func (p *port) DialTimeout(addr string, _ time.Duration) (net.Conn, error) {
	q := p.reach(addr)
	if q == nil {
		return nil, errors.New("connection refused")
	}
	a, b := net.Pipe()
	select {
	case q.streams <- b:
		return a, nil
	default:
		return nil, errors.New("backlog full")
	}
}

func (p *port) StreamCh() <-chan net.Conn { return p.streams }

func (p *port) Shutdown() error {
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	p.down = true
	return nil
}

// mesh is a set of nodes on one hub that fetch manifests from each other.
type mesh struct {
	t     *testing.T
	h     *hub
	mu    sync.Mutex
	nodes map[string]*Gossip
	boots int
}

func newMesh(t *testing.T) *mesh { return &mesh{t: t, h: newHub(), nodes: map[string]*Gossip{}} }

// start runs a node on a new address; edit may change its configuration.
func (m *mesh) start(id string, edit func(*Config)) *Gossip {
	m.t.Helper()
	m.boots++
	p := m.h.port()
	cfg := Config{
		NodeID: id, Name: "name-" + id, Boot: fmt.Sprintf("boot%03d", m.boots), Version: "1", Label: "mesh",
		PeerPort: 7947, HTTPPort: 7777, Join: []string{"10.0.0.1:7946"},
		Logger: testLogger(m.t), Transport: p, Fetch: m.fetch,
	}
	if edit != nil {
		edit(&cfg)
	}
	g, err := New(cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := g.SetManifest([]byte("code of " + id)); err != nil {
		m.t.Fatal(err)
	}
	if err := g.Start(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	m.mu.Lock()
	m.nodes[id] = g
	m.mu.Unlock()
	return g
}

func (m *mesh) kill(id string) {
	m.mu.Lock()
	g := m.nodes[id]
	delete(m.nodes, id)
	m.mu.Unlock()
	g.Stop()
}

func (m *mesh) stop() {
	for id := range m.nodes {
		m.kill(id)
	}
	time.Sleep(30 * time.Second) // virtual: memberlist ends its probes by their timeouts
}

var errUnreachable = errors.New("unreachable")

func (m *mesh) fetch(_ context.Context, from Member, hash string) ([]byte, error) {
	m.mu.Lock()
	g := m.nodes[from.ID]
	m.mu.Unlock()
	if g == nil {
		return nil, errUnreachable
	}
	if content, ok := g.Manifest(hash); ok {
		return content, nil
	}
	return nil, errUnreachable
}

// within measures in virtual time how long it takes until every node agrees.
func (m *mesh) within(limit time.Duration, what string, ok func(*Gossip) bool) time.Duration {
	m.t.Helper()
	begin := time.Now()
	for {
		all := true
		for _, g := range m.nodes {
			all = all && ok(g)
		}
		took := time.Since(begin)
		if all {
			return took
		}
		if took > limit {
			for id, g := range m.nodes {
				m.t.Logf("%s sees %+v", id, g.Members())
			}
			m.t.Fatalf("%s: not seen by all within %s", what, limit)
		}
		time.Sleep(10 * time.Millisecond) // virtual
	}
}
