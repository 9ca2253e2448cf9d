package pyexec

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

const where = `
import sys
from coflux import task

@task()
def prefix():
    return sys.prefix

@task()
def other(module):
    import importlib
    return importlib.import_module(module).prefix()
`

// Modules of one node run each with its own environment, and can call each other.
func TestSeveralEnvironments(t *testing.T) { bothWays(t, severalEnvironments) }

func severalEnvironments(t *testing.T, way func(*Config)) {
	dir := source(t, map[string]string{"shop/__init__.py": "", "shop/flows.py": where, "stock.py": where, "plain.py": where})
	b, err := base()
	if err != nil {
		t.Fatal(err)
	}
	for _, env := range []string{"one", "two"} {
		out, err := exec.Command(b.python, "-m", "venv", "--without-pip", filepath.Join(dir, env)).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	e := newEngine(t, func(c *Config) {
		way(c)
		c.Path, c.Modules = []string{dir}, []string{"shop", "stock", "plain"}
		c.Environments = map[string]string{"shop": one, "stock": filepath.Join(two, "bin", "python")}
	})
	if len(e.pool.bares) != 3 {
		t.Errorf("%d environments", len(e.pool.bares))
	}
	is := func(module, want string) {
		t.Helper()
		h := e.start(Job{Module: module, Target: "prefix"}).wait(t)
		got := strings.Trim(string(h.value), `"`)
		if want != "" && got != want || want == "" && (got == one || got == two || got == "") {
			t.Errorf("%s ran with %s (%s), want %q", module, got, h.ends(), want)
		}
	}
	for _, when := range []string{"before", "after"} { // the discovery, from when on modules are forked from their templates
		is("shop.flows", one)
		is("stock", two)
		is("plain", "")
		if when == "before" {
			d, err := e.pool.Discover(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range d.Modules {
				if m.Error != "" {
					t.Errorf("%s: %s", m.Name, m.Error)
				}
			}
		}
	}
	if h := e.start(Job{Module: "shop.flows", Target: "other", Arguments: values(t, "stock")}).wait(t); string(h.value) != `"`+two+`"` {
		t.Errorf("a call into another environment: %s", h.ends())
	}
	// Each lane's executors are of its own interpreter, also those that wait for work.
	e.pool.mu.Lock()
	defer e.pool.mu.Unlock()
	for _, l := range append(append([]*lane{}, e.pool.bares...), e.pool.recent...) {
		for _, x := range l.idle {
			exe, err := os.ReadFile("/proc/" + strconv.Itoa(x.proc.pid()) + "/cmdline")
			if err == nil && !strings.HasPrefix(string(exe), l.py.argv[0]+"\x00") {
				t.Errorf("an executor of %s is %q", l.py.argv[0], exe)
			}
		}
	}
}

func TestWrongEnvironment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for env, want := range map[string]string{
		filepath.Join(dir, "absent"): "the environment of module m cannot be used: " + dir + "/absent does not exist: make it with python3 -m venv",
		dir:                          "the environment of module m cannot be used: the directory " + dir + " holds no virtual environment",
		fake(t, dir+"/old", `{"executable": "/x", "version": [3, 9, 18]}`): "is Python 3.9.18; Python 3.10 or later is needed",
	} {
		_, err := New(Config{Modules: []string{"m"}, Environments: map[string]string{"m": env}, Scratch: dir, Logger: hclog.NewNullLogger()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", env, err)
		}
	}
}
