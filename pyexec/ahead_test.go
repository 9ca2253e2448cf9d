package pyexec

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

// onlyAhead is Python's test for being in a template.
const onlyAhead = "import os\nahead = int(os.environ['COFLUX_EXECUTOR']) >= 1 << 62\n"

const someTask = "\nfrom coflux import task\n\n@task()\ndef t():\n    return 7\n"

// A module is imported once for all executions, and each finds it as it was after that.
func TestImportedOnce(t *testing.T) {
	t.Parallel()
	dir := source(t, map[string]string{"m.py": `
import logging, os, random, sys
from coflux import task

here = os.path.dirname(__file__)
with open(os.path.join(here, "imports"), "a") as file:
    file.write("x")
seen = []
out = sys.stdout
logging.basicConfig(format="%(message)s")
code = open(__file__, "rb", buffering=0)
code.read(1)

@task()
def t():
    seen.append(1)
    print("kept", file=out)
    logging.warning("logged")
    return [len(seen), random.random(), code.read(6).decode(), os.get_inheritable(code.fileno())]
`})
	e := newEngine(t, func(c *Config) { c.Executor, c.Path, c.Modules = ahead, []string{dir}, []string{"m"} })
	imports := func() int { b, _ := os.ReadFile(filepath.Join(dir, "imports")); return len(b) }
	before := imports()
	values := map[string]bool{}
	for range 6 {
		h := e.start(Job{Module: "m", Target: "t"}).wait(t)
		text := string(h.value)
		if !strings.HasPrefix(text, "[1,") || !strings.HasSuffix(text, `,"import",false]`) {
			t.Error(h.ends())
		}
		if diff := cmp.Diff([]string{"1 kept", "3 logged"}, h.logs); diff != "" {
			t.Error(diff)
		}
		values[text] = true
	}
	if len(values) != 6 {
		t.Errorf("random numbers are drawn again: %v", values)
	}
	if n := imports(); n != before {
		t.Errorf("%d imports by 6 executions", n-before)
	}
}

// Threading's own handler of forks is spared only the fork of the executor: in one it works as always, also when user code forks.
func TestThreadsOfExecutors(t *testing.T) {
	t.Parallel()
	dir := source(t, map[string]string{"m.py": `
import concurrent.futures, os, threading
from coflux import task

lock = threading._active_limbo_lock

@task()
def t():
    spared = threading._active_limbo_lock is lock
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        squares = list(pool.map(lambda n: n * n, range(3)))
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    names = [thread is threading.main_thread() for thread in threading.enumerate()]
    pid = os.fork()
    if pid == 0:
        os._exit(len(threading.enumerate()) + (other.is_alive() << 1) + (threading.main_thread().is_alive() << 2))
    child = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    stop.set()
    other.join()
    return [spared, squares, names, child]
`})
	for _, way := range ways {
		e := newEngine(t, func(c *Config) { c.Executor, c.Path, c.Modules = way, []string{dir}, []string{"m"} })
		if h := e.start(Job{Module: "m", Target: "t"}).wait(t); string(h.value) != "[true,[0,1,4],[true,false],5]" {
			t.Errorf("%s: %v %s", way, h.ends(), h.logs)
		}
	}
}

// What cannot be forked is said in a sentence, and works all the same; other modules are not touched by it.
func TestUnfitModules(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ code, want string }{
		"thread": {
			"import threading\nthreading.Thread(target=threading.Event().wait, daemon=True, name='waiter').start()\n",
			"its import starts threads (waiter)",
		},
		"stubborn": {
			onlyAhead + "import threading\nif ahead: threading.Thread(target=threading.Event().wait).start()\n",
			"its import starts threads (Thread-1",
		},
		"process": {
			"import subprocess\np = subprocess.Popen(['sleep', '1000'])\n",
			"its import starts processes",
		},
		"socket": {
			"import socket\ns = socket.socket()\n",
			"its import opens a socket and keeps it open",
		},
		"loop": {
			"import asyncio\nloop = asyncio.new_event_loop()\n",
			"its import opens an event loop and keeps it open",
		},
		"written": {
			"f = open('/proc/self/comm', 'r+')\n",
			"/comm for writing and keeps it open",
		},
		"appended": {"import logging, tempfile, os\nlogging.FileHandler(os.path.join(tempfile.gettempdir(), 'coflux-test.log'))\n", ""},
		"lock": {
			"import multiprocessing\nlock = multiprocessing.get_context('fork').Lock()\n",
			"its import shares memory with other processes (",
		},
		"tracked": { // what Lock itself is since 3.14
			"import multiprocessing\nlock = multiprocessing.get_context('forkserver').Lock()\n",
			"its import starts processes",
		},
		"directory": {
			"import tempfile\nd = tempfile.TemporaryDirectory()\n",
			"its import makes a temporary directory",
		},
		"channel": {
			"import sys, types\ng = types.ModuleType('grpc')\nsys.modules['grpc'] = g\n" +
				"exec('class Channel: pass', g.__dict__)\nc = g.Channel()\n",
			"its import opens a gRPC channel",
		},
		"hang":  {onlyAhead + "import time\nwhile ahead: time.sleep(1)\n", "it is not imported within 5s"},
		"exit":  {onlyAhead + "if ahead: os._exit(7)\n", "it has ended (exit status 7)"},
		"crash": {onlyAhead + "import ctypes\nif ahead: ctypes.string_at(0)\n", "segmentation fault"},
		"raise": {onlyAhead + "if ahead: 1/0\n", "ZeroDivisionError: division by zero"},
		// OpenBLAS and its like: native threads with handlers for forks.
		"native": {
			"import ctypes\nlibc = ctypes.CDLL(None)\n" +
				"libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc.pause, None)\n",
			"",
		},
		"memory": {"import mmap\nm = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE)\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said := &lines{}
			dir := source(t, map[string]string{"bad.py": c.code + someTask, "well.py": someTask})
			e := newEngine(t, func(cfg *Config) {
				cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: said})
				cfg.Executor, cfg.Path, cfg.Modules, cfg.Warm = "fork", []string{dir}, []string{"bad", "well"}, 1
				if name == "hang" {
					cfg.DiscoverTimeout = 5 * time.Second
				}
			})
			if _, err := e.pool.Discover(context.Background()); err != nil {
				t.Fatal(err)
			}
			settled := func() bool {
				e.pool.mu.Lock()
				defer e.pool.mu.Unlock()
				for _, l := range e.pool.recent {
					if l.state == laneStarting {
						return false
					}
				}
				return true
			}
			for end := time.Now().Add(20 * time.Second); !settled() && time.Now().Before(end); time.Sleep(time.Millisecond) {
			}
			for _, module := range []string{"bad", "well", "bad"} {
				if h := e.start(Job{Module: module, Target: "t"}).wait(t); h.ends() != "terminated 7" {
					t.Errorf("%s: %s", module, h.ends())
				}
			}
			got := said.get()
			if c.want == "" && len(got) > 0 || c.want != "" && (len(got) == 0 || !strings.Contains(got[0], c.want) || !strings.Contains(got[0], "module=bad")) {
				t.Errorf("said %q, want %q", got, c.want)
			}
		})
	}
}

func TestTemplateOfAModuleDies(t *testing.T) {
	t.Parallel()
	said := &lines{}
	e := newEngine(t, func(c *Config) { c.Executor, c.Logger = ahead, hclog.New(&hclog.LoggerOptions{Output: said}) })
	old := waitTemplates(t, 2, e.pids) // the bare one and one for the module; what they have just forked looks like them
	var busy []*testHost
	for range 12 {
		busy = append(busy, e.start(Job{Target: "echo", Arguments: values(t, 1)}))
	}
	for _, pid := range old {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	for range 6 {
		busy = append(busy, e.start(Job{Target: "echo", Arguments: values(t, 1)}))
	}
	for _, h := range busy {
		if h.wait(t).ends() != "terminated 1" {
			t.Errorf("while the templates died: %s", h.ends())
		}
	}
	e.imported()
	if h := e.run("echo", 1); h.ends() != "terminated 1" {
		t.Error(h.ends())
	}
	if got := said.get(); len(got) != 2 || !strings.Contains(strings.Join(got, ""), "killed by signal 9") {
		t.Errorf("said %q", got)
	}
}

// New code gets a new template, a module that did not change keeps its own, and so does one that is broken.
func TestReloadOfTemplates(t *testing.T) {
	t.Parallel()
	if os.Getenv(executorTestEnv) == "spawn" {
		t.Skip("executors are spawned: there are no templates")
	}
	r := newReloading(t, []string{"a", "b"}, map[string]string{"a.py": answer, "b.py": someTask, "helper.py": "N = 1\n"})
	r.imported()
	template := func(name string) (string, uint64) {
		r.pool.mu.Lock()
		defer r.pool.mu.Unlock()
		l := r.pool.lanes[r.pool.code.good[name].snapshot]
		return l.snapshot, l.template
	}
	if n := r.pool.generation(); n != 1 {
		t.Errorf("generation %d, though nothing has changed since the start", n)
	}
	_, a1 := template("a")
	b, b1 := template("b")
	r.is("a", "answer", "1")
	r.write("helper.py", "N = 2\n")
	r.good()
	r.is("a", "answer", "2") // whether or not there is a template yet
	r.imported()
	r.is("a", "answer", "2")
	_, a2 := template("a")
	if bb, b2 := template("b"); b != bb || b1 != b2 || a1 == a2 {
		t.Errorf("a: %d %d, b: %s %d %s %d", a1, a2, b, b1, bb, b2)
	}
	r.write("a.py", "def f(:\n")
	r.until("broken code", func(d Discovery) bool { return d.Modules[0].Error != "" })
	r.is("a", "answer", "2")
	if _, a3 := template("a"); a3 != a2 {
		t.Error("broken code took the template of the good code away")
	}
	for end := time.Now().Add(10 * time.Second); len(r.pids()) != 3; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("templates %v, want the bare one and one for each module", r.pids())
		}
	}
}

// Of many modules those that were used last are kept imported; the others work too.
func TestManyModules(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	var modules []string
	for i := range maxTemplates + 3 {
		name := fmt.Sprintf("m%02d", i)
		modules = append(modules, name)
		files[name+".py"] = someTask
	}
	dir := source(t, files)
	e := newEngine(t, func(c *Config) { c.Executor, c.Path, c.Modules, c.Warm = "fork", []string{dir}, modules, 1 })
	if _, err := e.pool.Discover(context.Background()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, m := range modules {
			if h := e.start(Job{Module: m, Target: "t"}).wait(t); h.ends() != "terminated 7" {
				t.Errorf("%s: %s", m, h.ends())
			}
		}
	}
	for end := time.Now().Add(20 * time.Second); len(e.pids()) != maxTemplates+1; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d templates, want %d and the bare one", len(e.pids()), maxTemplates)
		}
	}
}
