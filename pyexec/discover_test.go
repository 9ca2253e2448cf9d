package pyexec

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

func TestDiscover(t *testing.T) {
	t.Parallel()
	dir := source(t, map[string]string{
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
	})
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

func TestReload(t *testing.T) {
	t.Parallel()
	dir := source(t, map[string]string{
		"m.py":          answer,
		"helper.py":     "N = 1\n",
		"p/__init__.py": "",
		"p/flow.py":     "from coflux import task\n\n@task()\ndef lazy():\n    from p import later\n    return later.N\n",
		"p/later.py":    "N = 'kept'\n",
		"slow.py":       "from coflux import task\nimport time, os\n\n@task()\ndef wait(flag):\n    while not os.path.exists(flag): time.sleep(0.005)\n    raise ValueError('old')\n",
	})
	e := newEngine(t, func(c *Config) { c.Path, c.Modules = []string{dir}, []string{"m", "slow", "p.flow"} })
	if _, err := e.pool.Discover(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	seen := make(chan Discovery, 16)
	watching := make(chan error, 1)
	go func() { watching <- e.pool.Watch(ctx, func(d Discovery) { seen <- d }) }()
	defer func() {
		cancel()
		if err := <-watching; err != nil {
			t.Error(err)
		}
	}()
	next := func() Discovery {
		select {
		case d := <-seen:
			return d
		case <-time.After(20 * time.Second):
			t.Fatal("no discovery")
			return Discovery{}
		}
	}
	answerIs := func(want string) {
		t.Helper()
		if h := e.start(Job{Module: "m", Target: "answer"}).wait(t); string(h.value) != want {
			t.Errorf("answer %s %+v, want %s", h.value, h.res.Error, want)
		}
	}
	next()
	answerIs("1")

	flag := filepath.Join(t.TempDir(), "flag")
	old := e.start(Job{Module: "slow", Target: "wait", Arguments: values(t, flag)})
	write(t, filepath.Join(dir, "slow.py"), "# nothing is left\n")
	begin := time.Now()
	write(t, filepath.Join(dir, "helper.py"), "N = 2\n")
	next()
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("the new code took %s", took)
	}
	answerIs("2")

	write(t, filepath.Join(dir, "p/flow.py"), "1/0\n")
	write(t, filepath.Join(dir, "p/later.py"), "N = 'broken'\n")
	write(t, filepath.Join(dir, "helper.py"), "N = \n")
	if d := next(); !strings.Contains(d.Modules[0].Error, "SyntaxError") || !strings.Contains(d.Modules[0].Error, "last good code") || len(d.Modules[0].Targets) != 1 {
		t.Errorf("broken: %+v", d.Modules[0])
	}
	answerIs("2")
	if h := e.start(Job{Module: "p.flow", Target: "lazy"}).wait(t); string(h.value) != `"kept"` {
		t.Errorf("a module that a function imports: %s", h.ends())
	}
	os.Remove(filepath.Join(dir, "m.py"))
	next()
	answerIs("2")
	write(t, filepath.Join(dir, "m.py"), answer)
	write(t, filepath.Join(dir, "helper.py"), "N = 3\n")
	for d := next(); d.Modules[0].Error != ""; d = next() {
	}
	answerIs("3")

	write(t, flag, "")
	old.wait(t)
	if old.res.Error == nil || len(old.res.Error.Frames) != 1 || old.res.Error.Frames[0].Code != "raise ValueError('old')" {
		t.Errorf("the running one: %+v", old.res.Error)
	}
	kept, err := os.ReadDir(e.pool.code.dir)
	if err != nil || len(kept) != 3 {
		t.Errorf("snapshots kept: %v %v, want one per module", kept, err)
	}
}
