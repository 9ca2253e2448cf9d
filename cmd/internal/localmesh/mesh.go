// Package localmesh runs a mesh of node processes on loopback in a temporary directory.
package localmesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// Config of a mesh.
type Config struct {
	Nodes       int
	Repos, Path []string
	Required    []string // of Repos: the mesh is not ready when one of these cannot be loaded
	Python      string
	Concurrency int // 0 = the node's default
	Workspace   string
	Project     string
	Reload      bool
	// BasePort, when not 0, gives node i (from 0) the ports BasePort+3i for clients, +1 for gossip, +2 for peers.
	BasePort int
	// UsualPorts gives the first node the ports that clients try by default, if they are free.
	UsualPorts bool
	// Drain is how long a stopping node waits for what runs.
	Drain time.Duration
	// Progress, if not nil, is told what is being waited for when it takes long.
	Progress func(string)
}

// Mesh is a running mesh.
type Mesh struct {
	Dir   string // holds data and logs
	Nodes []*Node

	cfg     Config
	starter *starter
	http    *http.Client
	choose  func(Config, int) (ports, error)
	again   int // how often all was started anew
	once    sync.Once
	stopErr error
}

// maxAgain bounds how often a mesh is started anew because another program was faster with one of its ports.
const maxAgain = 3

// Start starts the processes: the first creates the mesh, the others join it. Use Ready to wait for them.
// The processes are this very program, called as "coflux node".
func Start(cfg Config) (*Mesh, error) {
	if cfg.Nodes < 1 || cfg.Nodes > 9 {
		return nil, fmt.Errorf("%d nodes are not possible on one machine: give 1 to 9", cfg.Nodes)
	}
	return startOn(cfg, choosePorts)
}

// startOn starts the processes on the ports that are chosen for each.
func startOn(cfg Config, choose func(Config, int) (ports, error)) (*Mesh, error) {
	mesh := &Mesh{cfg: cfg, starter: newStarter(), http: &http.Client{Transport: client.Transport()}, choose: choose}
	var err error
	if mesh.Dir, err = os.MkdirTemp("", "coflux-dev-"); err != nil {
		err = fmt.Errorf("make a directory for the mesh: %w", err)
	} else {
		err = mesh.start()
	}
	if err != nil {
		_ = mesh.Stop(context.Background(), false)
		return nil, err
	}
	return mesh, nil
}

// start starts the processes.
func (m *Mesh) start() error {
	join := ""
	for i := range m.cfg.Nodes {
		p, err := m.choose(m.cfg, i)
		if err != nil {
			return err
		}
		n := m.newNode(i, p)
		if err := m.starter.start(n, m.argv(n, p, join)); err != nil {
			return err
		}
		m.Nodes = append(m.Nodes, n)
		if join == "" {
			join = n.Gossip
		}
	}
	return nil
}

func (m *Mesh) newNode(i int, p ports) *Node {
	name := "n" + strconv.Itoa(i+1)
	address := net.JoinHostPort(loopback, strconv.Itoa(p.http))
	return &Node{
		Name: name, HTTP: address, Gossip: net.JoinHostPort(loopback, strconv.Itoa(p.gossip)),
		LogFile: filepath.Join(m.Dir, name+".log"),
		Client:  &client.Client{Base: "http://" + address, HTTPClient: m.http, Project: m.cfg.Project, DialPatience: time.Nanosecond},
	}
}

func (m *Mesh) argv(n *Node, p ports, join string) []string {
	argv := []string{"coflux", "node", "--name", n.Name, "--data-dir", filepath.Join(m.Dir, n.Name),
		"--bind", loopback, "--advertise", loopback, "--http-port", strconv.Itoa(p.http),
		"--gossip-port", strconv.Itoa(p.gossip), "--peer-port", strconv.Itoa(p.peer), "--drain-timeout", m.cfg.Drain.String()}
	for _, r := range m.cfg.Repos {
		argv = append(argv, "--repo", r)
	}
	for _, d := range m.cfg.Path {
		argv = append(argv, "--path", d)
	}
	option := func(flag, value string) {
		if value != "" {
			argv = append(argv, flag, value)
		}
	}
	option("--python", m.cfg.Python)
	option("--workspace", m.cfg.Workspace)
	option("--project", m.cfg.Project)
	option("--join", join)
	if m.cfg.Concurrency > 0 {
		option("--concurrency", strconv.Itoa(m.cfg.Concurrency))
	}
	if m.cfg.Reload {
		argv = append(argv, "--reload")
	}
	return argv
}

// Stop ends all processes and removes the directory unless keep is set. It is idempotent. When the context
// ends they are killed.
func (m *Mesh) Stop(ctx context.Context, keep bool) error {
	m.once.Do(func() {
		errs := make([]error, len(m.Nodes))
		var wg sync.WaitGroup
		for i, n := range m.Nodes {
			wg.Go(func() { errs[i] = n.stop(ctx, m.cfg.Drain+5*time.Second) })
		}
		wg.Wait()
		m.starter.stop()
		m.http.CloseIdleConnections()
		m.stopErr = errors.Join(errs...)
		if !keep && m.Dir != "" {
			if err := os.RemoveAll(m.Dir); err != nil {
				m.stopErr = errors.Join(m.stopErr, fmt.Errorf("remove the mesh's directory: %w", err))
			}
		}
	})
	return m.stopErr
}

// ended returns an error if a process is gone, and starts all of them anew if that is because a port was taken between
// the moment in which it was found free and the one in which the node opened it.
func (m *Mesh) ended() error {
	for _, n := range m.Nodes {
		select {
		case <-n.done:
			if m.again < maxAgain && m.cfg.BasePort == 0 && strings.Contains(n.Tail(1), syscall.EADDRINUSE.Error()) {
				m.again++
				return m.startAnew()
			}
			how := "ended"
			if n.err != nil {
				how = "ended with " + n.err.Error()
			}
			return fmt.Errorf("node %s %s; the end of its log %s:\n%s", n.Name, how, n.LogFile, indent(n.Tail(20)))
		default:
		}
	}
	return nil
}

// startAnew ends what runs and starts the mesh on other ports. Nothing has been done with it yet.
func (m *Mesh) startAnew() error {
	for _, n := range m.Nodes {
		_ = n.Signal(syscall.SIGKILL)
		<-n.done
	}
	for _, n := range m.Nodes {
		for _, path := range []string{n.LogFile, filepath.Join(m.Dir, n.Name)} {
			if err := os.RemoveAll(path); err != nil {
				return fmt.Errorf("start the mesh on other ports: %w", err)
			}
		}
	}
	m.Nodes = nil
	m.cfg.UsualPorts = false
	return m.start()
}

// Ready waits until every node is ready, all see each other and a leader, and every module is served by
// every node or has failed to load. It fails when a process ends, when a required module cannot be loaded,
// or after timeout.
func (m *Mesh) Ready(ctx context.Context, timeout time.Duration) error {
	start := time.Now()
	told := start
	for {
		if err := m.ended(); err != nil {
			return err
		}
		missing, err := m.missing(ctx)
		if err != nil || missing == "" {
			return err
		}
		if time.Since(start) > timeout {
			n := m.Nodes[0]
			return fmt.Errorf("the mesh is not up after %s: %s; the end of the log of %s:\n%s", timeout, missing, n.Name, indent(n.Tail(15)))
		}
		if m.cfg.Progress != nil && time.Since(told) > 2*time.Second {
			told = time.Now()
			m.cfg.Progress(fmt.Sprintf("still starting after %.0fs: %s", time.Since(start).Seconds(), missing))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Answering waits until every node answers, whether or not it has anything to say yet.
func (m *Mesh) Answering(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for i := 0; i < len(m.Nodes); i++ {
		for m.Nodes[i].Client.Healthz(ctx) != nil {
			if err := m.ended(); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("node %s does not answer; the end of its log:\n%s", m.Nodes[i].Name, indent(m.Nodes[i].Tail(15)))
			case <-time.After(2 * time.Millisecond):
			}
		}
	}
	return nil
}

// missing says what the mesh still lacks, "" if nothing; an error is for what will not come.
func (m *Mesh) missing(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	failed := map[string]int{} // module -> nodes that could not load it, or found nothing in it
	for _, n := range m.Nodes {
		if err := n.Client.Readyz(ctx); err != nil {
			return fmt.Sprintf("%s is not ready (%v)", n.Name, err), nil
		}
		doc, err := n.Client.Nodes(ctx)
		if err != nil {
			return fmt.Sprintf("%s does not list the nodes (%v)", n.Name, err), nil
		}
		if missing, err := m.missingOn(n, doc.Value, failed); missing != "" || err != nil {
			return missing, err
		}
	}
	return m.unserved(ctx, failed)
}

// missingOn checks one node's view of the others, and counts the modules that it cannot serve itself.
func (m *Mesh) missingOn(n *Node, view client.Nodes, failed map[string]int) (string, error) {
	alive := 0
	for _, other := range view.Nodes {
		for _, module := range other.Modules {
			broken := module.Error != nil && !module.Serving
			if (broken || module.Targets == 0) && other.Self {
				failed[module.Name]++
			}
			if broken && slices.Contains(m.cfg.Required, module.Name) {
				return "", fmt.Errorf("module %s cannot be loaded by %s: %s", module.Name, other.Name, strings.TrimSpace(*module.Error))
			}
			if module.Targets == 0 && module.Error == nil && slices.Contains(m.cfg.Required, module.Name) {
				return "", fmt.Errorf("module %s, as %s imports it, has no tasks and no workflows: does Python find another module of that name?", module.Name, other.Name)
			}
		}
		if other.State != "alive" {
			continue
		}
		alive++
		for _, repo := range m.modules() {
			// What the node has to say of the module reaches the others by gossip, a moment after its session.
			if !slices.ContainsFunc(other.Modules, func(c client.NodeModule) bool {
				return c.Name == repo && (c.Serving || c.Error != nil || c.Targets == 0)
			}) {
				return fmt.Sprintf("%s does not know yet whether %s serves module %s", n.Name, other.Name, repo), nil
			}
		}
	}
	switch {
	case alive < len(m.Nodes):
		return fmt.Sprintf("%s sees %d of %d nodes", n.Name, alive, len(m.Nodes)), nil
	case view.Leader == nil || !view.Quorum:
		return n.Name + " knows no leader", nil
	}
	return "", nil
}

// modules are the names of the repos, without their environments.
func (m *Mesh) modules() (names []string) {
	for _, r := range m.cfg.Repos {
		name, _, _ := strings.Cut(r, "@")
		names = append(names, name)
	}
	return names
}

// unserved looks for a session of each node for each module that has not failed there.
func (m *Mesh) unserved(ctx context.Context, failed map[string]int) (string, error) {
	if len(m.cfg.Repos) == 0 {
		return "", nil
	}
	c := m.Nodes[0].Client
	id, err := m.WorkspaceID(ctx)
	if err != nil {
		return err.Error(), nil
	}
	sessions, err := c.Sessions(ctx, id)
	if err != nil {
		return fmt.Sprintf("the sessions cannot be listed (%v)", err), nil
	}
	for _, repo := range m.modules() {
		serving := 0
		for _, s := range sessions.Value {
			if s.Connected && len(s.Targets[repo]) > 0 {
				serving++
			}
		}
		if serving+failed[repo] < len(m.Nodes) {
			return fmt.Sprintf("module %s is served by %d of %d nodes", repo, serving, len(m.Nodes)), nil
		}
	}
	return "", nil
}

// WorkspaceID looks up the workspace that the nodes serve.
func (m *Mesh) WorkspaceID(ctx context.Context) (string, error) {
	doc, err := m.Nodes[0].Client.Workspaces(ctx)
	if err != nil {
		return "", fmt.Errorf("the workspaces cannot be listed: %w", err)
	}
	for id, w := range doc.Value {
		if w.Name == m.cfg.Workspace || m.cfg.Workspace == "" && w.Name == "default" {
			return id, nil
		}
	}
	return "", fmt.Errorf("the workspace %s does not exist yet", m.cfg.Workspace)
}

// Leader returns the node that leads and one that does not (the same, if there is one node).
func (m *Mesh) Leader(ctx context.Context) (leader, other *Node, err error) {
	doc, err := m.Nodes[0].Client.Nodes(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, info := range doc.Value.Nodes {
		for _, n := range m.Nodes {
			switch {
			case info.Name != n.Name:
			case doc.Value.Leader != nil && info.ID == *doc.Value.Leader:
				leader = n
			default:
				other = n
			}
		}
	}
	if leader == nil {
		return nil, nil, errors.New("the mesh has no leader")
	}
	if other == nil {
		other = leader
	}
	return leader, other, nil
}
