package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// start runs this binary as coflux-node until its log says that it is up.
func start(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: self, Args: []string{"coflux-node", "--data-dir", dir, "--http-port", "0", "--peer-port", "0", "--gossip-port", "0"},
		Env: append(os.Environ(), "GORACE=atexit_sleep_ms=0"), SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	up := make(chan bool, 1)
	go func() {
		s := bufio.NewScanner(stderr)
		for s.Scan() {
			if strings.Contains(s.Text(), "node is up") {
				up <- true
			}
		}
		up <- false
	}()
	select {
	case ok := <-up:
		if !ok {
			t.Fatalf("ended before it was up: %v", cmd.Wait())
		}
	case <-time.After(30 * time.Second):
		_ = cmd.Process.Kill()
		t.Fatal("not up after 30 s")
	}
	return cmd
}

// TestSignalsEndANode stops a node twice, each way once; the state of the first is found by the second.
func TestSignalsEndANode(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	for _, s := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		cmd := start(t, dir)
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("after %s: %v", s, err)
		}
	}
}

// TestDamageHasItsOwnStatus flips bytes in the state of a stopped node.
func TestDamageHasItsOwnStatus(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	cmd := start(t, dir)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	identity := filepath.Join(dir, "raft", "identity")
	text, err := os.ReadFile(identity)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(identity, text, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	again := &exec.Cmd{Path: self, Args: []string{"coflux-node", "--data-dir", dir, "--http-port", "0", "--peer-port", "0", "--gossip-port", "0"}}
	out, err := again.CombinedOutput()
	if code := again.ProcessState.ExitCode(); code != 30 {
		t.Errorf("status %d, want 30: %v: %s", code, err, out)
	}
	if !strings.Contains(string(out), fmt.Sprintf("%s is damaged", identity)) {
		t.Errorf("the file is not named: %s", out)
	}
}
