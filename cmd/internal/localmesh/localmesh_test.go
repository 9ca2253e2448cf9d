package localmesh

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/coflux-mesh/coflux/cmd/internal/daemon"
	"github.com/coflux-mesh/coflux/pyexec"
)

// TestMain lets this test binary be a node: meshes run the program that starts them.
func TestMain(m *testing.M) {
	if pyexec.GuardMain() {
		return
	}
	if filepath.Base(os.Args[0]) == "coflux" {
		os.Exit(daemon.Main("coflux node", os.Args[2:], os.LookupEnv, os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

func module(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "flows.py"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

const flows = "from coflux import workflow\n\n@workflow()\ndef empty():\n    pass\n"

func start(t *testing.T, cfg Config) *Mesh {
	t.Helper()
	cfg.Drain = 5 * time.Second
	m, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, n := range m.Nodes {
			if t.Failed() {
				t.Logf("%s:\n%s", n.Name, n.Tail(30))
			}
		}
		_ = m.Stop(context.Background(), false)
	})
	return m
}

// TestTakenPort: a port that another program takes at the last moment costs a mesh nothing but time.
func TestTakenPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	chosen := 0
	m, err := startOn(Config{Nodes: 2, Drain: 5 * time.Second}, func(cfg Config, i int) (ports, error) {
		p, err := choosePorts(cfg, i)
		if chosen++; chosen == 2 {
			p.peer = taken.Addr().(*net.TCPAddr).Port
		}
		return p, err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Stop(context.Background(), false); err != nil {
			t.Error(err)
		}
	}()
	if err := m.Ready(t.Context(), 60*time.Second); err != nil {
		t.Fatal(err)
	}
	if chosen != 4 || len(m.Nodes) != 2 {
		t.Errorf("ports were chosen %d times for %d nodes", chosen, len(m.Nodes))
	}
}

func TestMeshComesUpAndGoes(t *testing.T) {
	t.Parallel()
	m := start(t, Config{Nodes: 1, Repos: []string{"flows"}, Path: []string{module(t, flows)}})
	if err := m.Ready(t.Context(), 30*time.Second); err != nil {
		t.Fatal(err)
	}
	leader, other, err := m.Leader(t.Context())
	if err != nil || leader != m.Nodes[0] || other != leader {
		t.Fatalf("leader %v, other %v, %v", leader, other, err)
	}
	if err := m.Stop(t.Context(), false); err != nil {
		t.Error(err)
	}
	if err := m.Stop(t.Context(), false); err != nil {
		t.Errorf("the second time: %v", err)
	}
	if _, err := os.Stat(m.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
	if err := syscall.Kill(leader.PID(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process is still there: %v", err)
	}
}

func TestReadyTellsWhyNot(t *testing.T) {
	t.Parallel()
	broken := module(t, "import no_such_module\n")
	m := start(t, Config{Nodes: 1, Repos: []string{"flows"}, Path: []string{broken}})
	if err := m.Ready(t.Context(), 30*time.Second); err != nil {
		t.Errorf("a module that nobody requires: %v", err)
	}

	m = start(t, Config{Nodes: 1, Repos: []string{"flows"}, Required: []string{"flows"}, Path: []string{broken}})
	if err := m.Ready(t.Context(), 30*time.Second); err == nil || !strings.Contains(err.Error(), "no_such_module") {
		t.Errorf("a module that cannot be loaded: %v", err)
	}

	empty := module(t, "")
	m = start(t, Config{Nodes: 1, Repos: []string{"flows"}, Path: []string{empty}})
	if err := m.Ready(t.Context(), 30*time.Second); err != nil {
		t.Errorf("a module of nothing that nobody requires: %v", err)
	}
	m = start(t, Config{Nodes: 1, Repos: []string{"flows"}, Required: []string{"flows"}, Path: []string{empty}})
	if err := m.Ready(t.Context(), 30*time.Second); err == nil || !strings.Contains(err.Error(), "has no tasks and no workflows") {
		t.Errorf("a module of nothing: %v", err)
	}

	m = start(t, Config{Nodes: 1, Repos: []string{"not a module"}})
	err := m.Ready(t.Context(), 30*time.Second)
	if err == nil || !strings.Contains(err.Error(), "exit status 2") || !strings.Contains(err.Error(), "not the name of a Python module") {
		t.Errorf("a node that does not start: %v", err)
	}
}

func TestPorts(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	taken := l.Addr().(*net.TCPAddr).Port
	if _, err := choosePorts(Config{BasePort: taken - 4}, 1); err == nil || !strings.Contains(err.Error(), "is not free") { // another program may have one beside it
		t.Errorf("a taken port: %v", err)
	}
	p, err := choosePorts(Config{}, 0)
	if err != nil || p.http < firstPort || p.http > lastPort || p.gossip != p.http+1 || p.peer != p.http+2 {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := Start(Config{Nodes: 0}); err == nil {
		t.Error("no nodes are no error")
	}
}
