package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRefusals starts nodes that cannot work: each says why in a sentence, with the right exit status, and never hangs.
func TestRefusals(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	n := m.add("--repo", "flows")
	m.ready()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	any3 := []string{"--gossip-port", "0", "--peer-port", "0", "--http-port", "0"}
	fresh := func(more ...string) []string {
		return append(append([]string{"--data-dir", filepath.Join(t.TempDir(), "data")}, any3...), more...)
	}
	for _, tt := range []struct {
		name   string
		status int
		stderr string // of the last line
		args   []string
	}{
		{"data directory in use", 1, `in use`, append([]string{"--data-dir", n.dir}, any3...)},
		{"HTTP port in use", 1, `the HTTP port cannot be opened: .*` + port + `.*; choose another with --http-port`, fresh("--http-port", port)},
		{"peer port in use", 1, `the peer port cannot be opened: .*` + port + `.*; choose another with --peer-port`, fresh("--peer-port", port)},
		{"gossip port in use", 1, `gossip.*` + port + `.*--gossip-port`, fresh("--gossip-port", port)},
		{"unknown flag", 2, `unknown flag: --walk; --help explains the flags`, []string{"--walk"}},
		{"port out of range", 2, `--http-port 70000 is no port`, fresh("--http-port", "70000")},
		{"argument", 2, `the argument "flows" is not expected`, fresh("flows")},
		{"no module name", 2, `not the name of a Python module`, fresh("--repo", "a/b.py")},
		{"beyond loopback", 2, `(?s)0\.0\.0\.0 is not a loopback address.*start it with:\n  coflux-node .*--bind 0\.0\.0\.0.* --insecure$`, fresh("--bind", "0.0.0.0")},
		{"no directory", 1, `/proc/nothing`, append([]string{"--data-dir", "/proc/nothing"}, any3...)},
		{"no interpreter", 1, `no-such-python`, fresh("--path", m.code, "--repo", "flows", "--python", "no-such-python")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := exe(t, m.dir, nil, 30*time.Second, "coflux-node", tt.args...)
			text := strings.TrimSpace(o.stderr)
			if o.status != tt.status || !regexp.MustCompile(tt.stderr).MatchString(text) {
				t.Errorf("want status %d and %s\n%s", tt.status, tt.stderr, o)
			}
			if strings.Contains(text, "goroutine ") || strings.Contains(text, "panic") {
				t.Errorf("a stack trace: %s", o)
			}
		})
	}
}

// TestCopiedDataDirectory starts a second node on a copy of a living node's directory: it must not take part.
func TestCopiedDataDirectory(t *testing.T) {
	slow(t)
	t.Parallel()
	m := startMesh(t, 3)
	victim := m.others(m.leader())[0]
	run := m.submit(victim, "single", "before", "")
	m.value(victim, run)
	victim.stopped()
	copied := filepath.Join(m.dir, "copy")
	if out, err := exec.Command("cp", "-a", victim.dir, copied).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	victim.start()
	m.ready()
	o := exe(t, m.dir, nil, 60*time.Second, "coflux-node", "--name", "copy", "--data-dir", copied, "--gossip-port", "0", "--peer-port", "0",
		"--http-port", "0", "--join", "127.0.0.1:"+strconv.Itoa(m.nodes[0].gossip))
	lines := strings.Split(strings.TrimSpace(o.stderr), "\n")
	t.Logf("the copy ended after %s with: %s", o.took.Round(time.Millisecond), lines[len(lines)-1])
	if o.status == 0 || strings.Contains(o.stderr, "goroutine ") {
		t.Errorf("the copy: %s", o)
	}
	m.ready()
	for _, n := range m.nodes {
		m.value(n, m.submit(n, "single", "after-"+n.name, ""))
	}
	m.settle(patience)
	m.verify(true)
}

// TestJoinDeadAddress joins a node that is not there: the node says so and waits for it, answers meanwhile, and stops
// when it is told to.
func TestJoinDeadAddress(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	dead := freePorts(t)
	n := m.add("--join", "127.0.0.1:"+strconv.Itoa(dead))
	await(t, patience, func() string {
		log, _ := os.ReadFile(n.log)
		if !n.running() {
			return "the node ended"
		}
		if !strings.Contains(string(log), "127.0.0.1:"+strconv.Itoa(dead)) || !strings.Contains(string(log), "join") {
			return "the log does not name the address: " + string(log)
		}
		return ""
	})
	if o := n.cli("nodes"); o.status != 0 || !strings.Contains(o.stderr, "no quorum") {
		t.Errorf("nodes: %s", o)
	}
	n.signal(t, syscall.SIGTERM)
	if status := n.wait(t, 15*time.Second); status != 0 {
		t.Errorf("status %d after SIGTERM", status)
	}
}
