package pyexec

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseLimits(t *testing.T) {
	t.Parallel()
	got, err := ParseLimits([]string{"memory=2G", "cpu=60", "files=1024"})
	if want := (Limits{2 << 30, 60, 1024}); err != nil || got != want {
		t.Errorf("%+v %v, want %+v", got, err, want)
	}
	for item, want := range map[string]string{
		"memory=2x":                  `"2x" is not a size such as 512M or 2G`,
		"memory=":                    `"" is not a size`,
		"memory=-1G":                 "is not a size",
		"memory=99999999999999T":     "is not a size",
		"memory=1M":                  "at least 32M",
		"cpu=fast":                   `"fast" is not a whole number`,
		"cpu=0":                      "at least 1",
		"files=3":                    "at least 32",
		"disk=1":                     "the limits are memory, cpu and files",
		"memory":                     `"" is not a size`,
		"files=99999999999999999999": "is not a whole number",
	} {
		_, err := ParseLimits([]string{"cpu=1", item})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), strconv.Quote(item)) {
			t.Errorf("%s: %v", item, err)
		}
	}
}

const unlimited = "-1"

// burners use a processor up, each with the executors of one way; who sets the limit is the same in all.
var burners = map[string]func(*engine) bool{
	"burns":            func(e *engine) bool { return !e.pool.py.fork },
	"burns_stubbornly": func(e *engine) bool { return e.allImported() },
}

func TestLimits(t *testing.T) { bothWays(t, limits) }

func limits(t *testing.T, way func(*Config)) {
	free := newEngine(t, func(c *Config) { way(c); c.Modules = []string{"limited"} })
	tight := newEngine(t, func(c *Config) {
		way(c)
		c.Modules, c.Limits = []string{"limited"}, Limits{Memory: 1 << 30, CPU: 50, Files: 200}
	})
	for _, e := range []*engine{free, tight} {
		d, err := e.pool.Discover(context.Background())
		if err != nil || d.Modules[0].Error != "" {
			t.Fatal(err, d.Modules)
		}
		for _, target := range d.Modules[0].Targets {
			if target.Name == "bounded" {
				if diff := cmp.Diff(&Limits{128 << 20, 7, 100}, target.Limits); diff != "" {
					t.Error(diff)
				}
			}
		}
	}
	own := fmt.Sprintf("terminated [[%d,%[1]d],[7,8],[100,100]]", 128<<20)
	max := fmt.Sprintf("terminated [[%d,%[1]d],[50,51],[200,200]]", 1<<30)
	eof := "terminated internal EOF: the process ended without a result "
	for _, c := range []struct {
		e            *engine
		target, want string
	}{
		{free, "bounded", own},
		{tight, "bounded", own},
		{tight, "unbounded", max},
		{tight, "greedy", max},
		{free, "fills", "terminated builtins.MemoryError no more memory: the limit is 128 MiB limited.py:fills"},
		{free, "opens", "terminated builtins.OSError [Errno 24] Too many open files: '/dev/null'"},
		{free, "burns", eof + "(killed by signal 24, CPU time limit exceeded: it has used all of its processor time, the limit cpu is 1 s)"},
		{free, "burns_stubbornly", eof + "(killed by signal 9, killed: it has used all of its processor time, the limit cpu is 1 s)"},
		{free, "child", `terminated "64\n"`},
	} {
		t.Run(c.target, func(t *testing.T) {
			t.Parallel()
			if burns, ok := burners[c.target]; ok && os.Getenv("COFLUX_SLOW") == "" && !burns(free) {
				t.Skip("it needs a processor for a second or two: every way runs with COFLUX_SLOW=1")
			}
			if got := c.e.start(Job{Module: "limited", Target: c.target}).wait(t).ends(); !strings.HasPrefix(got, c.want) {
				t.Errorf("ended as %s\nwant %s", got, c.want)
			}
		})
	}
	if h := free.start(Job{Module: "limited", Target: "unbounded"}).wait(t); !strings.Contains(string(h.value), "["+unlimited+","+unlimited+"]") {
		t.Errorf("without limits: %s", h.ends())
	}
}

// The node is easier to keep alive than what it runs.
func TestExecutionsComeAfterTheNode(t *testing.T) { bothWays(t, executionsComeAfterTheNode) }

func executionsComeAfterTheNode(t *testing.T, way func(*Config)) {
	e := newEngine(t, func(c *Config) { way(c); c.Modules = []string{"limited"} })
	var mine, guards, nice, guardNice int
	h := e.start(Job{Module: "limited", Target: "scores"}).wait(t)
	if _, err := fmt.Sscanf(string(h.value), "[%d,%d,%d,%d]", &mine, &guards, &nice, &guardNice); err != nil {
		t.Fatal(h.ends())
	}
	if mine != min(guards+childOOMScore, 1000) || nice != min(guardNice+childNice, 19) {
		t.Errorf("OOM score %d, the guard's is %d; nice %d, the guard's is %d", mine, guards, nice, guardNice)
	}
}

// memoryGroup makes a control group that holds little, and returns what puts a process into it.
func memoryGroup(t *testing.T, size int) func(pid int) {
	t.Helper()
	name := fmt.Sprintf("coflux-test-%d", os.Getpid())
	for root, limit := range map[string]string{"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max"} {
		dir := filepath.Join(root, name)
		if os.Mkdir(dir, 0o700) != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(dir) })
		// The kernel makes the file where the group can have a limit. Elsewhere, as in the directory that holds the groups of
		// version 1, writing it would only make a file.
		if _, err := os.Stat(filepath.Join(dir, limit)); err != nil {
			continue
		}
		if os.WriteFile(filepath.Join(dir, limit), []byte(strconv.Itoa(size)), 0) == nil {
			return func(pid int) {
				if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	t.Skip("no control group for memory can be made here")
	return nil
}

// An execution that the kernel ends because memory is short says so; one that ends itself the same way does not.
func TestOutOfMemory(t *testing.T) {
	put := memoryGroup(t, 96<<20)
	e := newEngine(t, func(c *Config) { c.Modules = []string{"limited"} })
	if h := e.start(Job{Module: "basic", Target: "kill_self"}).wait(t); strings.Contains(h.ends(), "memory") {
		t.Errorf("nothing was short: %s", h.ends())
	}
	dir := t.TempDir()
	h := e.start(Job{Module: "limited", Target: "eats", Arguments: values(t, dir)})
	put(waitPids(t, filepath.Join(dir, "pids"))[0])
	write(t, filepath.Join(dir, "gate"), "")
	if got := h.wait(t).ends(); !strings.Contains(got, "(killed by signal 9, killed: the kernel ended a process at that time because memory was short") {
		t.Errorf("ended as %s", got)
	}
}
