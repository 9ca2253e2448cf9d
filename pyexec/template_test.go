package pyexec

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

func childPids(pid int) []int {
	tasks, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	var pids []int
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		for _, c := range strings.Fields(string(b)) {
			n, _ := strconv.Atoi(c)
			pids = append(pids, n)
		}
	}
	return pids
}

// templatesOf are the living templates among the children of a guard: their marks are above all others.
func templatesOf(guard int) []int {
	var found []int
	for _, pid := range childPids(guard) {
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
		_, mark, _ := strings.Cut("\x00"+string(b), "\x00"+executorEnv+"=")
		mark, _, _ = strings.Cut(mark, "\x00")
		if id, err := strconv.ParseUint(mark, 10, 64); err == nil && id >= templateIDs && running(pid) {
			found = append(found, pid)
		}
	}
	return found
}

func waitTemplates(t *testing.T, n int, find func() []int) []int {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if found := find(); len(found) == n {
			return found
		}
	}
	t.Fatalf("templates %v, want %d", find(), n)
	return nil
}

// templateOf is the bare template of an engine that has discovered nothing.
func templateOf(t *testing.T, e *engine) int {
	t.Helper()
	return waitTemplates(t, 1, e.pids)[0]
}

// pids are the templates of an engine.
func (e *engine) pids() []int { return templatesOf(e.pool.guard.cmd.Process.Pid) }

// templatesUnder are the n templates of the guard of a node.
func templatesUnder(t *testing.T, node, n int) []int {
	t.Helper()
	return waitTemplates(t, n, func() []int {
		var all []int
		for _, guard := range childPids(node) {
			all = append(all, templatesOf(guard)...)
		}
		return all
	})
}

func openIn(pid int) int {
	fds, _ := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
	return len(fds)
}

// A forked executor is what a spawned one is.
func TestForkedIsLikeSpawned(t *testing.T) {
	t.Parallel()
	got := map[string]map[string]any{}
	for _, way := range []string{ahead, "fork", "spawn"} {
		e := newEngine(t, func(c *Config) { c.Executor, c.Boot, c.Warm = way, "like-"+strconv.Itoa(os.Getpid()), 1 })
		h := e.run("about")
		var items struct{ Items []any }
		if err := json.Unmarshal(h.value, &items); err != nil {
			t.Fatal(h.ends())
		}
		about := map[string]any{}
		for i := 0; i+1 < len(items.Items); i += 2 {
			about[items.Items[i].(string)] = items.Items[i+1]
		}
		if int(about["parent"].(float64)) != e.pool.guard.cmd.Process.Pid {
			t.Errorf("%s: the parent is %v, not the guard", way, about["parent"])
		}
		if about["death"] != 9.0 || about["leads"] != true || about["mark"] != true {
			t.Errorf("%s: %v", way, about)
		}
		if way != "spawn" && about["others"] != 1.0 { // that with which it looks
			t.Errorf("descriptors that are not the executor's: %v", about["others"])
		}
		delete(about, "parent")
		delete(about, "others") // the guard may have inherited some and pass them on to spawned ones
		path := about["path"].([]any)
		about["path"] = len(path) // the embedded package lies in a scratch directory of its own
		got[way] = about
	}
	for _, way := range []string{"fork", ahead} {
		if diff := cmp.Diff(got["spawn"], got[way]); diff != "" {
			t.Errorf("spawned (-) and %s (+): %s", way, diff)
		}
	}
}

// What the template has drawn is not drawn again by its executors, and each has a number of its own.
func TestForkedAreApart(t *testing.T) {
	t.Parallel()
	site := source(t, map[string]string{"sitecustomize.py": "import random\nrandom.random()\n"})
	e := newEngine(t, func(c *Config) { c.Executor, c.Path = "fork", []string{site, "testdata/mods"} })
	seen := map[string]bool{}
	for range 4 {
		h := e.run("dice")
		var v []any
		if err := json.Unmarshal(h.value, &v); err != nil {
			t.Fatal(h.ends())
		}
		for _, x := range v {
			b, _ := json.Marshal(x)
			seen[string(b)] = true
		}
	}
	if len(seen) != 8 {
		t.Errorf("seen %v", seen)
	}
}

// lines counts what a pool says of its templates.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if strings.Contains(string(b), "there is no template") || strings.Contains(string(b), "imports this module itself") || strings.Contains(string(b), "limits of memory") {
		l.all = append(l.all, strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

func (l *lines) get() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.all...)
}

func TestTemplateDies(t *testing.T) {
	t.Parallel()
	said := &lines{}
	e := newEngine(t, func(c *Config) {
		c.Executor, c.Logger = "fork", hclog.New(&hclog.LoggerOptions{Output: said})
	})
	file := filepath.Join(t.TempDir(), "flag")
	keeps := e.start(Job{Target: "await_", Arguments: values(t, file)})
	e.settled(2)
	old := templateOf(t, e)
	var busy []*testHost
	for range 12 {
		busy = append(busy, e.start(Job{Target: "echo", Arguments: values(t, 1)}))
	}
	syscall.Kill(old, syscall.SIGKILL)
	for _, h := range busy {
		if h.wait(t).ends() != "terminated 1" {
			t.Errorf("while the template died: %s", h.ends())
		}
	}
	for range 4 {
		if h := e.run("echo", 1); h.ends() != "terminated 1" {
			t.Errorf("without a template: %s", h.ends())
		}
	}
	fresh := 0
	for end := time.Now().Add(20 * time.Second); fresh == 0 && time.Now().Before(end); {
		if h := e.run("echo", 1); h.ends() != "terminated 1" {
			t.Fatal(h.ends())
		}
		if found := templatesOf(e.pool.guard.cmd.Process.Pid); len(found) == 1 && found[0] != old {
			fresh = found[0]
		}
	}
	if fresh == 0 {
		t.Error("no new template")
	}
	write(t, file, "")
	if keeps.wait(t).ends() != "terminated null" {
		t.Errorf("the template took an execution along: %s", keeps.ends())
	}
	if got := said.get(); len(got) != 1 || !strings.Contains(got[0], "killed by signal 9") {
		t.Errorf("said %q", got)
	}
}

func TestTemplateCannotStart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ site, want string }{
		"threads": {"import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n", "the start of Python starts threads (Thread-1"},
		"dies":    {"import sys, os\nif sys.argv[-1] == 'fork': os._exit(7)\n", "exit status 7"},
		"breaks":  {"import sys\nsys.modules['ctypes'] = None\n", "ctypes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said := &lines{}
			site := source(t, map[string]string{"sitecustomize.py": c.site})
			e := newEngine(t, func(cfg *Config) {
				cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: said})
				cfg.Executor, cfg.Path, cfg.Warm = "fork", []string{site, "testdata/mods"}, 1
			})
			for range 3 {
				if h := e.run("echo", 1); h.ends() != "terminated 1" {
					t.Error(h.ends())
				}
			}
			if got := said.get(); len(got) != 1 || !strings.Contains(got[0], c.want) {
				t.Errorf("said %q, want %q once", got, c.want)
			}
		})
	}
}

// A template that does not answer is given up.
func TestTemplateHangs(t *testing.T) {
	if os.Getenv("COFLUX_SLOW") == "" {
		t.Skip("it waits for a limit of 10 s; set COFLUX_SLOW=1")
	}
	t.Parallel()
	e := newEngine(t, func(c *Config) { c.Executor, c.Warm = "fork", 1 })
	e.settled(1)
	syscall.Kill(templateOf(t, e), syscall.SIGSTOP)
	var all []*testHost
	for range 5 {
		all = append(all, e.start(Job{Target: "echo", Arguments: values(t, 1)}))
	}
	for _, h := range all {
		if h.wait(t).ends() != "terminated 1" {
			t.Error(h.ends())
		}
	}
}

func TestWrongExecutor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Executor: "thread"}, "--executor thread is not possible: give fork or spawn"},
		{Config{Executor: "fork", Adapter: []string{"true"}}, "is not possible with an adapter"},
	} {
		c.cfg.Scratch, c.cfg.Logger = t.TempDir(), hclog.NewNullLogger()
		if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}
