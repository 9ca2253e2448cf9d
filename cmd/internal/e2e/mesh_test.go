package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// patience is how long a test waits for what must come; the machine may be busy with other things.
const patience = 60 * time.Second

// node is one node of a mesh; its process may be killed and started again.
type node struct {
	*proc
	m                  *mesh
	name, id           string
	dir, log           string
	ip, netns          string // netns is empty on loopback
	http, gossip, peer int
	args, env          []string
	serves             bool         // the module flows
	starts             atomic.Int64 // how often the process was started
	client             *client.Client
}

// mesh is a mesh of real processes that share a directory with code.
type mesh struct {
	t         *testing.T
	dir       string
	code      string // the module's directory, with effects and gates
	nodes     []*node
	workspace string
	hist      *history
	transport *http.Transport
	retries   map[string]int // by token: how often its body may be tried again
}

// newMesh makes a directory with the module flows, and no nodes.
func newMesh(t *testing.T) *mesh {
	t.Helper()
	m := &mesh{t: t, dir: t.TempDir(), transport: client.Transport(), hist: newHistory(), retries: map[string]int{}}
	m.code = filepath.Join(m.dir, "code")
	if err := os.Mkdir(m.code, 0o700); err != nil {
		t.Fatal(err)
	}
	m.write("flows.py", flows)
	t.Cleanup(m.close)
	return m
}

// startMesh starts a mesh of n nodes and waits until all can do everything.
func startMesh(t *testing.T, n int, args ...string) *mesh {
	t.Helper()
	m := newMesh(t)
	for range n {
		m.add(append([]string{"--repo", "flows"}, args...)...)
	}
	m.ready()
	return m
}

func (m *mesh) write(file, text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.code, file), []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// add starts one more node on loopback. The first one creates the mesh.
func (m *mesh) add(args ...string) *node {
	m.t.Helper()
	return m.addAt("127.0.0.1", "", args...)
}

// addAt starts one more node, in a network namespace if one is named.
func (m *mesh) addAt(ip, netns string, args ...string) *node {
	m.t.Helper()
	i := len(m.nodes) + 1
	base := freePorts(m.t)
	n := &node{m: m, name: "n" + strconv.Itoa(i), ip: ip, netns: netns, http: base, gossip: base + 1, peer: base + 2}
	n.dir, n.log = filepath.Join(m.dir, n.name), filepath.Join(m.dir, n.name+".log")
	n.client = &client.Client{Base: "http://" + n.host(), HTTPClient: &http.Client{Transport: m.transport}, DialPatience: time.Nanosecond,
		AttemptTimeout: 12 * time.Second}
	n.args = append([]string{"--name", n.name, "--data-dir", n.dir, "--path", m.code, "--http-port", strconv.Itoa(n.http),
		"--gossip-port", strconv.Itoa(n.gossip), "--peer-port", strconv.Itoa(n.peer), "--drain-timeout", "3s"}, args...)
	if i > 1 {
		n.args = append(n.args, "--join", net.JoinHostPort(m.nodes[0].ip, strconv.Itoa(m.nodes[0].gossip)))
	}
	n.serves = slices.Contains(args, "--repo")
	m.nodes = append(m.nodes, n)
	n.start()
	return n
}

func (n *node) host() string { return net.JoinHostPort(n.ip, strconv.Itoa(n.http)) }

// start starts the node's process, or starts it again.
func (n *node) start() {
	n.m.t.Helper()
	argv := append([]string{filepath.Join(bin, "coflux-node")}, n.args...)
	if n.netns != "" {
		argv = append([]string{"/usr/bin/env", "ip", "netns", "exec", n.netns}, argv...)
	}
	n.starts.Add(1)
	n.proc = launch(n.m.t, n.log, n.m.dir, argv, n.env...)
}

// killed ends the node's process without warning.
func (n *node) killed() {
	n.m.t.Helper()
	n.kill(n.m.t)
}

// stopped ends the node as an operator does.
func (n *node) stopped() {
	n.m.t.Helper()
	n.signal(n.m.t, syscall.SIGTERM)
	if status := n.wait(n.m.t, 30*time.Second); status != 0 {
		n.m.t.Errorf("%s ended with status %d after SIGTERM:\n%s", n.name, status, n.lastWords())
	}
}

// tail is the end of the node's log.
func (n *node) tail(lines int) string {
	text, _ := os.ReadFile(n.log)
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(len(all)-lines, 0):], "\n")
}

// lastWords is the latest stack trace in the node's log, or else its end.
func (n *node) lastWords() string {
	text, _ := os.ReadFile(n.log)
	for _, word := range []string{"\npanic: ", "\nfatal error: "} {
		if i := strings.LastIndex(string(text), word); i >= 0 {
			return string(text[i+1 : min(i+4000, len(text))])
		}
	}
	return n.tail(25)
}

func (m *mesh) close() {
	var wg sync.WaitGroup
	for _, n := range m.nodes {
		if n.proc == nil {
			continue
		}
		_ = n.cmd.Process.Signal(syscall.SIGCONT)
		_ = n.cmd.Process.Signal(syscall.SIGKILL)
		wg.Go(func() { <-n.done })
	}
	wg.Wait()
	m.transport.CloseIdleConnections()
	if m.t.Failed() {
		for _, n := range m.nodes {
			m.t.Logf("the last words of %s:\n%s", n.name, n.lastWords())
		}
	}
	m.bury()
}

// running are the nodes whose processes run.
func (m *mesh) running() (up []*node) {
	for _, n := range m.nodes {
		if n.proc != nil && n.proc.running() {
			up = append(up, n)
		}
	}
	return up
}

// ready waits until all running nodes see each other, vote, follow a leader and serve the module.
func (m *mesh) ready() {
	m.t.Helper()
	began := time.Now()
	await(m.t, patience, m.unready)
	for _, n := range m.nodes {
		if n.id == "" {
			m.identify(n)
		}
	}
	if m.workspace == "" {
		m.findWorkspace()
	}
	m.t.Logf("%d nodes were ready after %s", len(m.running()), time.Since(began).Round(time.Millisecond))
}

func (m *mesh) unready() string {
	ctx, cancel := context.WithTimeout(m.t.Context(), 5*time.Second)
	defer cancel()
	up := m.running()
	for _, n := range m.nodes {
		if n.proc != nil && !n.proc.running() && n.cmd.ProcessState.ExitCode() > 0 {
			m.t.Fatalf("%s ended with status %d", n.name, n.cmd.ProcessState.ExitCode())
		}
	}
	for _, n := range up {
		if err := n.client.Readyz(ctx); err != nil {
			return fmt.Sprintf("%s is not ready: %v", n.name, err)
		}
		doc, err := n.client.Nodes(ctx)
		if err != nil {
			return fmt.Sprintf("%s does not list the nodes: %v", n.name, err)
		}
		alive, voters := 0, 0
		for _, o := range doc.Value.Nodes {
			if o.State == "alive" {
				alive++
			}
			if o.Role == "leader" || o.Role == "voter" {
				voters++
			}
		}
		if alive != len(up) || voters < len(up) || doc.Value.Leader == nil || !doc.Value.Quorum {
			return fmt.Sprintf("%s sees %d nodes alive and %d voters of %d", n.name, alive, voters, len(up))
		}
	}
	return m.unserved(ctx, up)
}

// unserved says how many nodes do not serve the module yet.
func (m *mesh) unserved(ctx context.Context, up []*node) string {
	workspaces, err := up[0].client.Workspaces(ctx)
	if err != nil {
		return err.Error()
	}
	serving := 0
	for id := range workspaces.Value {
		sessions, err := up[0].client.Sessions(ctx, id)
		if err != nil {
			return err.Error()
		}
		for _, s := range sessions.Value {
			if s.Connected && len(s.Targets) > 0 {
				serving++
			}
		}
	}
	wanted := 0
	for _, n := range up {
		if n.serves {
			wanted++
		}
	}
	if serving != wanted {
		return fmt.Sprintf("%d of %d nodes serve", serving, wanted)
	}
	return ""
}

func (m *mesh) identify(n *node) {
	m.t.Helper()
	doc, err := n.client.Nodes(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	for _, o := range doc.Value.Nodes {
		if o.Self {
			n.id = o.ID
		}
	}
}

func (m *mesh) findWorkspace() {
	m.t.Helper()
	doc, err := m.running()[0].client.Workspaces(m.t.Context())
	if err != nil || len(doc.Value) != 1 {
		m.t.Fatalf("workspaces %v, %v", doc.Value, err)
	}
	m.workspace = slices.Collect(maps.Keys(doc.Value))[0]
}

// leader waits until a running node is known to lead, and returns it.
func (m *mesh) leader() (leads *node) {
	m.t.Helper()
	await(m.t, patience, func() string {
		for _, asked := range m.running() {
			ctx, cancel := context.WithTimeout(m.t.Context(), 2*time.Second)
			doc, err := asked.client.Nodes(ctx)
			cancel()
			if err != nil || doc.Value.Leader == nil || !doc.Value.Quorum {
				continue
			}
			for _, n := range m.running() {
				if n.id == *doc.Value.Leader {
					leads = n
					return ""
				}
			}
		}
		return "nobody leads"
	})
	return leads
}

// others are the running nodes but for these.
func (m *mesh) others(but ...*node) []*node {
	return slices.DeleteFunc(m.running(), func(n *node) bool { return slices.Contains(but, n) })
}

var ports struct {
	sync.Mutex
	next int
}

// freePorts finds three ports in a row that are free, below the range for outgoing connections.
func freePorts(t *testing.T) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.next == 0 {
		ports.next = 10000 + 3*rand.IntN(3000)
	}
	for range 500 {
		base := ports.next
		ports.next += 3
		if free(base) && free(base+1) && free(base+2) {
			return base
		}
	}
	t.Fatal("no free ports on loopback")
	return 0
}

func free(port int) bool {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	_ = udp.Close()
	return true
}
