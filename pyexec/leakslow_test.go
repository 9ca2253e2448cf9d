package pyexec

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// 10,000 executions, eight at a time, while executors, templates and guards are killed: each ends, and in the end nothing
// is there that was not there in the beginning.
func TestNothingLeaksInTheLongRun(t *testing.T) {
	if os.Getenv("COFLUX_SLOW") == "" {
		t.Skip("it takes minutes; set COFLUX_SLOW=1")
	}
	e := newEngine(t, func(c *Config) { c.Executor, c.Warm = ahead, 4 })
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	big := make([]int, 30000)
	one := func() *testHost {
		switch r.IntN(20) {
		case 0:
			return e.start(Job{Target: "echo", Arguments: values(t, big)})
		case 1:
			return e.start(Job{Target: "leave", Arguments: values(t, 1)})
		case 2:
			return e.start(Job{Target: "kill_self"})
		case 3:
			return e.start(Job{Target: "mess", Arguments: values(t, "nested")})
		case 4:
			h := e.start(Job{Target: "sleep", Arguments: values(t, 1000)})
			e.pool.Kill(h.id)
			return h
		}
		return e.start(Job{Target: "noop"})
	}
	round := func(n int) {
		var going []*testHost
		for range n {
			going = append(going, one())
			if len(going) == 8 {
				going[0].wait(t)
				going = going[1:]
			}
		}
		for _, h := range going {
			h.wait(t)
		}
	}
	e.counted(t)
	round(50)
	before := e.counted(t)
	for i := range 100 {
		round(100)
		switch i % 10 {
		case 3, 6: // a template
			if all := e.pids(); len(all) > 0 {
				syscall.Kill(all[r.IntN(len(all))], syscall.SIGKILL)
			}
		case 8: // an idle executor
			if all := childPids(e.pool.guard.cmd.Process.Pid); len(all) > 0 {
				syscall.Kill(all[r.IntN(len(all))], syscall.SIGKILL)
			}
		case 9:
			e.killGuard(t)
		}
	}
	e.imported()
	after := e.counted(t)
	if after.worse(before) {
		t.Errorf("%+v before, %+v after", before, after)
	}
}

// killGuard kills the guard as the kernel would, and puts the pool back into service.
func (e *engine) killGuard(t *testing.T) {
	t.Helper()
	g := e.pool.guard
	g.cmd.Process.Kill()
	<-g.down
	if left := marks(e.pool.cfg.Boot); left > 0 {
		t.Errorf("%d processes outlive their guard", left)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for !e.fenced() { // the pool may not have noticed yet
		if time.Sleep(time.Millisecond); ctx.Err() != nil {
			t.Fatal("the pool does not notice that its guard has ended")
		}
	}
	if err := e.pool.Revive(ctx); err != nil {
		t.Fatal(err)
	}
}

func (e *engine) fenced() bool {
	e.pool.mu.Lock()
	defer e.pool.mu.Unlock()
	return e.pool.state == stateFenced
}

// marks counts the living processes of a boot.
func marks(boot string) int {
	n := 0
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if marked(pid, func(b string) bool { return b == boot }) && running(pid) {
			n++
		}
	}
	return n
}

// counts is what could leak.
type counts struct {
	Node, Guard, Templates int // open descriptors
	Children, Marked       int // processes
	Dirs, Files            int // in the scratch directory; and in the working directories
}

func (c counts) worse(than counts) bool {
	// The runtime of the guard may have opened an epoll descriptor late.
	return c.Node > than.Node || c.Guard > than.Guard+2 || c.Templates > than.Templates || c.Children > than.Children ||
		c.Marked > than.Marked || c.Dirs > maxSpareDirs || c.Files > 0
}

// counted waits until the pool is at rest and counts.
func (e *engine) counted(t *testing.T) counts {
	t.Helper()
	count := func() counts {
		guard := e.pool.guard.cmd.Process.Pid
		c := counts{
			Node: openIn(os.Getpid()), Guard: openIn(guard), Children: childrenOf(guard), Marked: marks(e.pool.cfg.Boot),
		}
		for _, pid := range e.pids() {
			c.Templates += openIn(pid)
		}
		dirs, _ := filepath.Glob(e.pool.cfg.Scratch + "/x*")
		files, _ := filepath.Glob(e.pool.cfg.Scratch + "/x*/*")
		values, _ := filepath.Glob(e.pool.cfg.Scratch + "/x*-values")
		c.Dirs, c.Files = len(dirs), len(files)+len(values)
		return c
	}
	same := 0
	last := counts{}
	for end := time.Now().Add(30 * time.Second); same < 20 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		e.settled(4)
		now := count()
		if same++; now != last {
			same, last = 0, now
		}
	}
	if same < 20 {
		t.Errorf("the pool does not come to rest: %+v", last)
	}
	return last
}
