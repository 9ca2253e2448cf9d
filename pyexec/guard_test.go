package pyexec

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// helperEnv makes the test binary a node: scratch directory, address of a peer, lease in milliseconds (0 = none).
const helperEnv = "COFLUX_TEST_NODE"

const helperBoot = "helper/"

// helperMain is a node that runs spawn_children and renews its lease until it is stopped or killed.
func helperMain(args string) {
	f := strings.Split(args, ",")
	scratch, peer := f[0], f[1]
	lease, _ := strconv.Atoi(f[2])
	way := os.Getenv(executorTestEnv)
	cfg := Config{
		Path: []string{"testdata/mods"}, Modules: []string{"basic"}, Warm: 1, Scratch: scratch, Boot: helperBoot + scratch,
		Python: os.Getenv("COFLUX_TEST_PYTHON"), Executor: way, Logger: hclog.NewNullLogger(),
	}
	if way == ahead {
		cfg.Executor = "fork"
	}
	p, err := New(cfg)
	if err == nil {
		err = p.Start(context.Background())
	}
	if err == nil && way == ahead {
		_, err = p.Discover(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	p.SetPeers([]Statement{
		{Network: "tcp", Address: "127.0.0.1:1", Data: []byte("nobody listens here\n")},
		{Network: "tcp", Address: peer, Data: []byte("gone " + scratch + "\n"), Want: "ok"},
	})
	e := &engine{pool: p, execs: map[string]*testHost{}}
	for way == ahead && !e.allImported() {
		time.Sleep(time.Millisecond)
	}
	arg, _ := json.Marshal(filepath.Join(scratch, "pids"))
	e.start(Job{Target: "spawn_children", Arguments: []Value{Inline(arg)}})
	for {
		if lease > 0 {
			p.AliveUntil(boottime() + int64(lease)*int64(time.Millisecond))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// listener is a peer: it returns what is said to it; its first answer is a refusal.
func listener(t *testing.T) (string, chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for answer := "no\n"; ; answer = "ok\n" {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(c).ReadString('\n')
			c.Write([]byte(answer))
			c.Close()
			said <- line
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String(), said
}

func startHelper(t *testing.T, lease int, way string) (*exec.Cmd, []int, chan string) {
	t.Helper()
	addr, said := listener(t)
	scratch, python := scratch(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s,%s,%d", helperEnv, scratch, addr, lease), executorTestEnv+"="+way,
		"COFLUX_TEST_PYTHON="+python)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // when a test panics
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		// Its guard is the last to leave the scratch directory.
		if n, err := Sweep(helperBoot+scratch, ""); n != 0 || err != nil {
			t.Errorf("the sweep found %d processes (%v)", n, err)
		}
	})
	return cmd, waitPids(t, filepath.Join(scratch, "pids")), said
}

func allGone(pids []int, limit time.Duration) (time.Duration, bool) {
	begin := time.Now()
	for time.Since(begin) < limit {
		left := 0
		for _, pid := range pids {
			if running(pid) {
				left++
			}
		}
		if left == 0 {
			return time.Since(begin), true
		}
		time.Sleep(time.Millisecond)
	}
	return 0, false
}

func statement(t *testing.T, said chan string) {
	t.Helper()
	for _, which := range []string{"first", "second"} {
		select {
		case line := <-said:
			if !strings.HasPrefix(line, "gone ") {
				t.Errorf("%s statement %q", which, line)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no %s statement was made", which)
		}
	}
}

// A node that hangs: its executions end when its time is over, and somebody hears of it.
func TestHungNode(t *testing.T) {
	t.Parallel()
	const lease = 700 * time.Millisecond
	cmd, pids, said := startHelper(t, int(lease.Milliseconds()), "fork")
	time.Sleep(lease * 2) // it renews: nothing may happen
	for _, pid := range pids {
		if !running(pid) {
			t.Fatalf("process %d died under a living node", pid)
		}
	}
	cmd.Process.Signal(syscall.SIGSTOP)
	took, ok := allGone(pids, 5*time.Second)
	if !ok {
		t.Fatal("executions outlive the deadline of a hung node")
	}
	if took < 100*time.Millisecond || took > lease+2*time.Second {
		t.Errorf("they ended after %s, the lease is %s", took, lease)
	}
	statement(t, said)
	t.Logf("gone %s after SIGSTOP", took)
}

func TestKilledNode(t *testing.T) {
	t.Parallel()
	for way, templates := range map[string]int{ahead: 2, "fork": 1, "spawn": 0} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			cmd, pids, said := startHelper(t, 0, way)
			pids = append(pids, templatesUnder(t, cmd.Process.Pid, templates)...)
			cmd.Process.Kill()
			took, ok := allGone(pids, 5*time.Second)
			if !ok {
				t.Fatal("executions outlive their node")
			}
			statement(t, said)
			t.Logf("gone %s after SIGKILL", took)
		})
	}
}

func TestFenceAndRevive(t *testing.T) { bothWays(t, fenceAndRevive) }

func fenceAndRevive(t *testing.T, way func(*Config)) {
	for name, fence := range map[string]func(*Pool){
		"KillAll":  func(p *Pool) { p.KillAll() },
		"deadline": func(p *Pool) { p.AliveUntil(boottime() + int64(50*time.Millisecond)) },
		"KillAll while the guard is stopped": func(p *Pool) {
			p.guard.cmd.Process.Signal(syscall.SIGSTOP)
			p.KillAll()
		},
		"guard killed": func(p *Pool) { p.guard.cmd.Process.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t, way)
			// Nobody hears the guard: it goes on trying, and nothing may wait for it.
			e.pool.SetPeers([]Statement{{Network: "tcp", Address: "127.0.0.1:1", Data: []byte("gone\n")}})
			file := filepath.Join(t.TempDir(), "pids")
			h := e.start(Job{Target: "spawn_children", Arguments: values(t, file)})
			pids := waitPids(t, file)
			fence(e.pool)
			if h.wait(t).ends() != "lost" {
				t.Errorf("ended as %q", h.ends())
			}
			if _, ok := allGone(pids, time.Second); !ok {
				t.Error("reported lost, but alive")
			}
			refused := Result{}
			for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && refused.Error == nil; {
				if o := e.run("sleep", 0.05); o.over == "refused" {
					refused = *o.res
				}
			}
			if refused.Error == nil || refused.Error.Message != ErrFenced.Error() {
				t.Errorf("Run after the fence: %+v", refused)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if err := e.pool.Revive(ctx); err != nil {
				t.Fatal(err)
			}
			if h := e.run("echo", 1); h.ends() != "terminated 1" {
				t.Errorf("after Revive: %s", h.ends())
			}
		})
	}
}

// A deadline that is moved in time is no deadline, also when the guard reads late.
func TestLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	h := e.start(Job{Target: "sleep", Arguments: values(t, 0.6)})
	e.pool.AliveUntil(boottime() + int64(300*time.Millisecond))
	guard := e.pool.guard.cmd.Process
	guard.Signal(syscall.SIGSTOP)
	e.pool.AliveUntil(boottime() + int64(time.Hour))
	time.Sleep(400 * time.Millisecond)
	guard.Signal(syscall.SIGCONT)
	if h.wait(t).ends() != "terminated null" {
		t.Errorf("ended as %q", h.ends())
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	prefix := fmt.Sprintf("sweep-%d/", os.Getpid())
	var pids []int
	for _, boot := range []string{"1", "2", "keep"} {
		c := exec.Command("sleep", "1000")
		c.Env = []string{BootEnv + "=" + prefix + boot}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, c.Process.Pid)
		t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	}
	n, err := Sweep(prefix, prefix+"keep")
	if n != 2 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	if running(pids[0]) || running(pids[1]) || !running(pids[2]) {
		t.Error("the wrong ones were killed")
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	file := filepath.Join(t.TempDir(), "pids")
	h := e.start(Job{Target: "spawn_children", Arguments: values(t, file)})
	pids := waitPids(t, file)
	var all []*testHost
	for range 20 {
		all = append(all, e.start(Job{Target: "noop"}))
	}
	for range 2 {
		if err := e.pool.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if h.wait(t).ends() != "lost" {
		t.Error(h.ends())
	}
	for _, o := range all {
		if o.wait(t); o.over != "lost" && o.res == nil {
			t.Error(o.ends())
		}
	}
	for _, pid := range pids {
		if running(pid) {
			t.Errorf("process %d is alive", pid)
		}
	}
	if err := e.pool.Run(Job{}, h); err != ErrStopped {
		t.Error(err)
	}
}

// A guard that fenced and found nobody to tell makes no statement once the node is back: new bodies run by then.
func TestRevivedPoolIsNotDeclaredDead(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	peer := filepath.Join(t.TempDir(), "peer")
	e.pool.SetPeers([]Statement{{Network: "unix", Address: peer, Data: []byte("gone\n")}})
	e.pool.mu.Lock()
	old := e.pool.guard
	e.pool.mu.Unlock()
	e.pool.AliveUntil(boottime() + int64(50*time.Millisecond))
	select {
	case <-old.down:
	case <-time.After(10 * time.Second):
		t.Fatal("the deadline passed and nothing happened")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for fenced := false; !fenced && ctx.Err() == nil; time.Sleep(time.Millisecond) { // the pool may not have noticed yet
		e.pool.mu.Lock()
		fenced = e.pool.state == stateFenced
		e.pool.mu.Unlock()
	}
	if err := e.pool.Revive(ctx); err != nil {
		t.Fatal(err)
	}
	if h := e.run("echo", 1); h.ends() != "terminated 1" {
		t.Fatalf("after Revive: %s", h.ends())
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: peer})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ln.SetDeadline(time.Now().Add(time.Second))
	if c, err := ln.Accept(); err == nil {
		c.Close()
		t.Error("a guard of before states that nothing is alive")
	}
}

func TestEndReportedBeforeTheStartHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	ends := 0
	p := &guardProcess{started: make(chan error, 1), ended: func(exitStatus) { ends++ }}
	g := &guard{procs: map[uint64]*guardProcess{7: p}}
	g.hear(guardMessage{Op: "exited", ID: 7, Status: &exitStatus{}})
	g.hear(guardMessage{Op: "started", ID: 7, Pid: 1})
	select {
	case err := <-p.started:
		if err != nil || ends != 1 {
			t.Errorf("started with %v, ended %d times", err, ends)
		}
	default:
		t.Error("who waits for the start waits for ever")
	}
}
