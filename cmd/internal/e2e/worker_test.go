package e2e

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// tunnel is a TCP proxy in front of a node, so that a worker knows nothing but its port.
type tunnel struct {
	ln net.Listener
	to string
	wg sync.WaitGroup
	mu sync.Mutex // guards conns
	// conns are those that are open.
	conns map[net.Conn]bool
}

func newTunnel(t *testing.T, to string) *tunnel {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tunnel{ln: ln, to: to, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		p.mu.Lock()
		for c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *tunnel) accept() {
	for {
		in, err := p.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		p.conns[in], p.conns[out] = true, true
		p.mu.Unlock()
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			p.wg.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
				_ = pair[1].Close()
			})
		}
	}
}

// worker starts a process that runs the module flows, attached to a node.
func (m *mesh) worker(at string, args ...string) *proc {
	m.t.Helper()
	argv := append([]string{filepath.Join(bin, "coflux"), "--host", at, "worker", "--path", m.code, "--drain-timeout", "20s"}, args...)
	log := filepath.Join(m.dir, "worker.log")
	p := launch(m.t, log, m.dir, append(argv, "flows"), "TMPDIR="+m.t.TempDir())
	m.t.Cleanup(func() {
		p.kill(m.t)
		if m.t.Failed() {
			text, _ := os.ReadFile(log)
			m.t.Logf("the worker said:\n%s", text)
		}
	})
	return p
}

// served waits until so many agents are connected.
func (m *mesh) served(n *node, agents int) {
	m.t.Helper()
	await(m.t, patience, func() string {
		if doc, err := n.client.Sessions(m.t.Context(), m.workspace); err == nil && len(doc.Value) == agents {
			return ""
		}
		return "the worker is not there"
	})
}

// TestWorker attaches a process to one of three nodes that run nothing, through a proxy. What it runs survives the death of
// the leader and of the node that it is attached to, and is run once.
func TestWorker(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	for range 3 {
		m.add()
	}
	m.ready()
	leader := m.leader()
	at, far := m.others(leader)[0], m.others(leader)[1]
	w := m.worker(newTunnel(t, at.host()).ln.Addr().String(), "--concurrency", "1")
	m.served(far, 1)
	run := m.submit(far, "parent", "a", "gate")
	m.begun("a.1")
	leader.killed()
	m.leader()
	at.killed()
	at.start()
	leader.start()
	for _, n := range m.nodes {
		await(t, patience, func() string {
			if err := n.client.Readyz(t.Context()); err != nil {
				return n.name + " is not ready: " + err.Error()
			}
			return ""
		})
	}
	m.open("gate")
	if got := m.value(far, run); compact(got) != `["a","a.1"]` {
		t.Errorf("the run gave %s", got)
	}
	started, ended := m.counts()
	for _, token := range []string{"a", "a.1"} {
		if started[token] != 1 || ended[token] != 1 {
			t.Errorf("body %s was started %d times and ended %d times", token, started[token], ended[token])
		}
	}
	m.workerSpeaks(far)

	// A worker that is told to stop ends what runs; nothing more is given to it.
	run = m.submit(far, "single", "b", "gate-b")
	m.begun("b")
	w.signal(t, syscall.SIGTERM)
	await(t, patience, func() string {
		doc, err := far.client.Sessions(t.Context(), m.workspace)
		if err != nil {
			return err.Error()
		}
		for _, s := range doc.Value {
			if s.WorkerState != nil && *s.WorkerState == "draining" {
				return ""
			}
		}
		return "the worker does not drain"
	})
	m.open("gate-b")
	if status := w.wait(t, patience); status != 0 {
		t.Errorf("the worker ended with status %d", status)
	}
	if got := m.value(far, run); got != `"b"` {
		t.Errorf("the run gave %s", got)
	}
	m.served(far, 0)
}

// workerSpeaks checks that what a worker's body prints can be read through another node.
func (m *mesh) workerSpeaks(n *node) {
	m.t.Helper()
	run := m.submit(n, "talk", "spoken", "")
	await(m.t, patience, func() string {
		page, err := n.client.Logs(m.t.Context(), client.LogQuery{Run: run})
		if err != nil {
			return err.Error()
		}
		var said []string
		for _, l := range page.Value.Logs {
			if l.Template != nil {
				said = append(said, *l.Template)
			}
		}
		if text := strings.Join(said, "|"); text != "begin spoken|end spoken" {
			return "the lines are " + text
		}
		return ""
	})
}

// TestWorkerDies kills a worker: its guard says so through the node, and its execution is abandoned at once.
func TestWorkerDies(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.add()
	m.ready()
	n := m.nodes[0]
	w := m.worker(n.host())
	m.served(n, 1)
	run := m.submit(n, "single", "a", "never")
	body := m.begun("a")
	w.kill(t)
	began := time.Now()
	m.abandoned(n, run, patience)
	if took := time.Since(began); took > abandonAfter-late/2 {
		t.Errorf("the loss was noticed after %s only: the guard's word did not arrive", took)
	}
	if alive(body.PID) {
		t.Error("the body outlives its worker")
	}
	m.served(n, 0)
}
