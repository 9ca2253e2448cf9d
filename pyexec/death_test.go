package pyexec

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ends describes how an execution ended, in one line.
func (h *testHost) ends() string {
	switch r := h.res; {
	case r == nil:
		return h.over
	case r.Timeout:
		return h.over + " timeout"
	case r.Error != nil:
		var at []string
		for _, f := range r.Error.Frames {
			at = append(at, filepath.Base(f.File)+":"+f.Name)
		}
		if again := r.Error.Retryable; again != nil {
			at = append(at, map[bool]string{true: "retryable", false: "not retryable"}[*again])
		}
		return strings.TrimSpace(h.over + " " + r.Error.Type + " " + r.Error.Message + " " + strings.Join(at, " "))
	}
	return h.over + " " + string(h.value)
}

func TestEveryEnd(t *testing.T) { bothWays(t, everyEnd) }

func everyEnd(t *testing.T, way func(*Config)) {
	e := newEngine(t, way)
	eof := "terminated internal EOF: the process ended without a result "
	for _, c := range []struct {
		job  Job
		args []any
		want string
	}{
		{Job{Target: "noop"}, nil, "terminated null"},
		{Job{Target: "leave"}, []any{3}, eof + "(exit status 3)"},
		{Job{Target: "quit"}, []any{0}, eof + "(exit status 0)"},
		{Job{Target: "quit"}, []any{2}, eof + "(exit status 2)"},
		{Job{Target: "crash"}, nil, eof + "(killed by signal 11, segmentation fault)"},
		{Job{Target: "kill_self"}, nil, eof + "(killed by signal 9, killed)"},
		{Job{Target: "fail"}, []any{"no"}, "terminated builtins.ValueError no basic.py:fail"},
		{Job{Target: "uncaught"}, nil, "terminated builtins.ValueError boom basic.py:uncaught"},
		{Job{Target: "chained"}, nil, "terminated builtins.RuntimeError outer basic.py:chained basic.py:chained"},
		{Job{Target: "add"}, nil, "terminated builtins.TypeError add() missing 1 required positional argument: 'a'"},
		{Job{Target: "absent"}, nil, "terminated builtins.ValueError Target not found: basic/absent"},
		{Job{Module: "no_such", Target: "x"}, nil, "terminated builtins.ModuleNotFoundError No module named 'no_such'"},
		{Job{Target: "sleep", Timeout: 50 * time.Millisecond}, []any{1000}, "terminated timeout"},
		{Job{Target: "endless_raw", Timeout: 100 * time.Millisecond}, nil, "terminated timeout"},
		{Job{Target: "nan"}, nil, `terminated {"type":"ref","index":0}`},
		{Job{Target: "suspends"}, nil, "terminated"},
		{Job{Target: "picky"}, []any{"again"}, "terminated builtins.OSError again basic.py:picky retryable"},
		{Job{Target: "picky"}, []any{"never"}, "terminated builtins.ValueError never basic.py:picky not retryable"},
		{Job{Target: "far"}, nil, "terminated builtins.ValueError Target not found: basic/far"},
		{Job{Target: "refuse"}, nil, "terminated builtins.RuntimeError submit_error: not today"},
		{Job{Target: "threads"}, nil, "terminated [0,1,2,3]"},
		{Job{Target: "poll"}, nil, `terminated ["not yet","ExecutionCancelled","execution was cancelled"]`},
	} {
		c.job.Arguments = values(t, c.args...)
		h := e.start(c.job).wait(t)
		got := h.ends()
		// Frames of the package are shown only when there are no others.
		if i := strings.Index(got, " _"); i > 0 {
			got = got[:i]
		}
		if diff := cmp.Diff(c.want, strings.TrimSuffix(got, " <string>:<module> __main__.py:main")); diff != "" {
			t.Errorf("%s: %s", c.job.Target, diff)
		}
	}
}

func TestOutput(t *testing.T) { bothWays(t, output) }

func output(t *testing.T, way func(*Config)) {
	e := newEngine(t, way)
	h := e.run("talk")
	var ordered, raw []string
	for _, l := range h.logs {
		if strings.HasSuffix(l, " raw") {
			raw = append(raw, l)
		} else {
			ordered = append(ordered, l)
		}
	}
	if diff := cmp.Diff([]string{"1 one", "2 two {x} x=[1]", "3 four", "1 six without end"}, ordered); diff != "" {
		t.Error(diff)
	}
	if len(raw) != 2 || !strings.Contains(strings.Join(raw, ","), "1 three raw") || !strings.Contains(strings.Join(raw, ","), "3 five raw") {
		t.Error(raw)
	}
	if h := e.run("at_exit"); !cmp.Equal(h.logs, []string{"1 hi", "1 bye"}) {
		t.Errorf("output of exit handlers: %q", h.logs)
	}
}

func TestWorkingDirectory(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	h := e.run("where")
	if !strings.HasPrefix(string(h.value), `["`+e.pool.cfg.Scratch) || !strings.HasSuffix(string(h.value), ",[]]") {
		t.Errorf("%s", h.value)
	}
}

// A body's processes end with it, also those that write for ever and those in sessions of their own.
func TestNothingIsLeftBehind(t *testing.T) { bothWays(t, nothingIsLeftBehind) }

func nothingIsLeftBehind(t *testing.T, way func(*Config)) {
	e := newEngine(t, way)
	for _, how := range []string{"group", "session", "fork"} {
		h := e.run("leave_child", how, filepath.Join(t.TempDir(), "pid"))
		pid, err := strconv.Atoi(string(h.value))
		if err != nil {
			t.Fatal(h.ends())
		}
		if running(pid) {
			t.Errorf("%s: process %d is alive after Terminated", how, pid)
		}
	}
}

func TestKill(t *testing.T) { bothWays(t, kill) }

func kill(t *testing.T, way func(*Config)) {
	e := newEngine(t, way)
	file := filepath.Join(t.TempDir(), "pids")
	h := e.start(Job{Target: "spawn_children", Arguments: values(t, file)})
	pids := waitPids(t, file)
	e.pool.Kill(h.id)
	h.wait(t)
	if h.ends() != "terminated" {
		t.Error(h.ends())
	}
	for _, pid := range pids {
		if running(pid) {
			t.Errorf("process %d of %v is alive", pid, pids)
		}
	}
	loud := e.start(Job{Target: "endless"})
	seen := make(chan struct{}, 1)
	loud.mu.Lock()
	loud.onLog = func(string) {
		select {
		case seen <- struct{}{}:
		default:
		}
	}
	loud.mu.Unlock()
	<-seen
	e.pool.Kill(loud.id)
	if loud.wait(t).ends() != "terminated" {
		t.Error(loud.ends())
	}
	e.pool.Kill("unknown")
}

func waitPids(t *testing.T, file string) []int {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		var pids []int
		for _, f := range strings.Fields(string(b)) {
			pid, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
		return pids
	}
	t.Fatal("the processes did not come")
	return nil
}

// running is false for zombies too: whoever has to reap them, they run nothing.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	rest := string(b[strings.LastIndexByte(string(b), ')')+1:])
	return !strings.HasPrefix(rest, " Z") && !strings.HasPrefix(rest, " X")
}
