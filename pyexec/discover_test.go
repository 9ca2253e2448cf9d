package pyexec

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/google/go-cmp/cmp"
)

// source writes files below a new directory and returns it.
func source(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	// In one step, as editors do.
	if err := os.WriteFile(file+".tmp", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".tmp", file); err != nil {
		t.Fatal(err)
	}
}

const answer = "from coflux import task\nfrom helper import N\n\n@task()\ndef answer():\n    \"\"\"Says it.\"\"\"\n    return N\n"

// allKinds are modules that are good, and bad in every way.
var allKinds = map[string]string{
	"good.py":             "from coflux import workflow\nprint('noise')\n\n@workflow(timeout=1.5)\ndef w(a: int, b='x', c=object()):\n    'Doc.'\n",
	"missing.py":          "import nothing_like_this\n",
	"syntax.py":           "def f(:\n",
	"exits.py":            "import sys\nsys.exit(3)\n",
	"dies.py":             "import os\nos._exit(3)\n",
	"loops.py":            "while True: pass\n",
	"pkg/__init__.py":     "",
	"pkg/a.py":            "from coflux import task\n\n@task(name='other')\ndef t(): pass\n",
	"pkg/_private.py":     "1/0\n",
	"pkg/sub/b.py":        "from pkg.a import t\n",
	"pkg/sub/c.py":        "1/0\n",
	"pkg/sub/__init__.py": "",
}

func TestDiscover(t *testing.T) {
	t.Parallel()
	dir := source(t, allKinds)
	e := newEngine(t, func(c *Config) {
		c.Path, c.Warm = []string{dir}, 0
		c.Modules = []string{"good", "missing", "syntax", "exits", "dies", "loops", "pkg", "absent"}
		c.DiscoverTimeout = 3 * time.Second
	})
	d, err := e.pool.Discover(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range d.Modules {
		var names []string
		for _, target := range m.Targets {
			names = append(names, target.Module+"/"+target.Name)
		}
		got = append(got, m.Name+" ["+strings.Join(names, " ")+"] "+m.Error)
	}
	want := []string{
		"good [good/w] ",
		"missing [] ModuleNotFoundError: No module named 'nothing_like_this'",
		"syntax [] SyntaxError: invalid syntax (syntax.py, line 1)",
		"exits [] SystemExit: 3",
		"dies [] discovery failed (exit status 3)",
		"loops [] the import did not end within 3s",
		"pkg [pkg.a/other] pkg.sub.c: ZeroDivisionError: division by zero",
		"absent [] ModuleNotFoundError: No module named 'absent'",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	one, def := "int", `"x"`
	w := Target{
		Module: "good", Name: "w", Type: "workflow", Timeout: 1500, Instruction: "Doc.",
		Parameters: []Parameter{{Name: "a", Annotation: &one}, {Name: "b", Default: &def}, {Name: "c"}},
	}
	if diff := cmp.Diff([]Target{w}, d.Modules[0].Targets); diff != "" {
		t.Error(diff)
	}
	if tb := d.Modules[1].Traceback; !strings.Contains(tb, "missing.py") || strings.Contains(tb, "_discover.py") {
		t.Errorf("traceback %q", tb)
	}
	if tb := parseTraceback(d.Modules[2].Traceback); tb[0].Code != "def f(:" || tb[0].Line != 1 {
		t.Errorf("frames of a syntax error: %+v", tb)
	}
}

// reloading is a pool whose files are watched.
type reloading struct {
	*engine
	t    *testing.T
	dir  string
	seen chan Discovery
}

func newReloading(t *testing.T, modules []string, files map[string]string) *reloading {
	t.Helper()
	return newWatching(t, nil, modules, files)
}

// newWatching is newReloading with another watcher; nil = fsnotify's.
func newWatching(t *testing.T, watcher func() (*fsnotify.Watcher, error), modules []string, files map[string]string) *reloading {
	t.Helper()
	r := &reloading{t: t, dir: source(t, files), seen: make(chan Discovery, 64)}
	r.engine = newEngine(t, func(c *Config) { c.Path, c.Modules = []string{r.dir}, modules })
	if watcher != nil {
		r.pool.newWatcher, r.pool.scanEvery = watcher, 100*time.Millisecond
	}
	if _, err := r.pool.Discover(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.pool.Watch(ctx, func(d Discovery) { r.seen <- d })
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	r.until("the first", func(Discovery) bool { return true })
	return r
}

func (r *reloading) write(name, text string) { write(r.t, filepath.Join(r.dir, name), text) }

// until waits for a discovery of which ok is true.
func (r *reloading) until(what string, ok func(Discovery) bool) {
	r.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case d := <-r.seen:
			if ok(d) {
				return
			}
		case <-limit:
			r.t.Fatalf("no discovery: %s", what)
		}
	}
}

func (r *reloading) is(module, target, want string) {
	r.t.Helper()
	if h := r.start(Job{Module: module, Target: target}).wait(r.t); string(h.value) != want {
		r.t.Errorf("%s/%s: %s, want %s", module, target, h.ends(), want)
	}
}

// good waits for a newer generation in which all is well.
func (r *reloading) good() {
	r.t.Helper()
	r.pool.mu.Lock()
	before := r.pool.code.generation
	r.pool.mu.Unlock()
	r.until("good code", func(d Discovery) bool {
		for _, m := range d.Modules {
			if m.Error != "" {
				return false
			}
		}
		return d.Generation >= before
	})
}

func TestReload(t *testing.T) {
	t.Parallel()
	r := newReloading(t, []string{"m"}, map[string]string{"m.py": answer, "helper.py": "N = 1\n"})
	r.is("m", "answer", "1")
	begin := time.Now()
	r.write("helper.py", "N = 2\n")
	r.good()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the new code took %s", took)
	}
	r.is("m", "answer", "2")
	r.write("helper.py", "N = \n")
	r.until("broken code", func(d Discovery) bool {
		m := d.Modules[0]
		return strings.Contains(m.Error, "SyntaxError") && strings.Contains(m.Error, "last good code") && len(m.Targets) == 1
	})
	r.is("m", "answer", "2")
	if err := os.Remove(filepath.Join(r.dir, "m.py")); err != nil {
		t.Fatal(err)
	}
	r.until("missing code", func(d Discovery) bool { return strings.Contains(d.Modules[0].Error, "No module named 'm'") })
	r.is("m", "answer", "2")
	r.write("helper.py", "N = 3\n")
	r.write("m.py", answer)
	r.good()
	r.is("m", "answer", "3")
}

// An execution keeps the code it began with, also what it imports late and what its traceback quotes.
func TestCodeIsKept(t *testing.T) {
	t.Parallel()
	r := newReloading(t, []string{"slow", "p.flow"}, map[string]string{
		"p/__init__.py": "",
		"p/flow.py":     "from coflux import task\n\n@task()\ndef lazy():\n    from p import later\n    return later.N\n",
		"p/later.py":    "N = 'kept'\n",
		"slow.py":       "from coflux import task\nimport time, os\n\n@task()\ndef wait(flag):\n    while not os.path.exists(flag): time.sleep(0.005)\n    raise ValueError('old')\n",
	})
	flag := filepath.Join(t.TempDir(), "flag")
	old := r.start(Job{Module: "slow", Target: "wait", Arguments: values(t, flag)})
	r.write("slow.py", "# nothing is left\n")
	r.write("p/flow.py", "1/0\n")
	r.write("p/later.py", "N = 'broken'\n")
	r.until("broken code", func(d Discovery) bool { return d.Modules[1].Error != "" && len(d.Modules[0].Targets) == 0 })
	r.is("p.flow", "lazy", `"kept"`)
	write(t, flag, "")
	old.wait(t)
	if e := old.res.Error; e == nil || len(e.Frames) != 1 || e.Frames[0].Code != "raise ValueError('old')" {
		t.Errorf("the running one: %+v", old.res.Error)
	}
	kept, err := os.ReadDir(r.pool.code.dir)
	if err != nil || len(kept) != 2 {
		t.Errorf("snapshots kept: %v %v, want one per module", kept, err)
	}
}

// A file that is changed while it is imported has not changed yet: what was read is what served before. The next look finds it.
func TestChangedWhileImported(t *testing.T) {
	t.Parallel()
	const edits = "import os\nfrom coflux import task\nif os.path.exists(__file__ + '.edit'):\n    os.rename(__file__ + '.edit', __file__)\n\n@task()\ndef t(): pass\n"
	dir := source(t, map[string]string{"m.py": edits})
	// Templates import the module too, and would make the edit.
	e := newEngine(t, func(c *Config) { c.Executor, c.Path, c.Modules = "spawn", []string{dir}, []string{"m"} })
	look := func(want int) {
		t.Helper()
		d, err := e.pool.Discover(context.Background())
		if err != nil || d.Modules[0].Error != "" || d.Generation != want {
			t.Errorf("generation %d, want %d: %v %v", d.Generation, want, err, d.Modules)
		}
	}
	look(1)
	look(1)
	write(t, filepath.Join(dir, "m.py.edit"), edits+"# edited\n")
	look(1)
	look(2)
	look(2)
}
