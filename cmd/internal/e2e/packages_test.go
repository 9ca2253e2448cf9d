package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// published is what is installed from the registry: the package that programs for Coflux 0.11 use. It is run, never read.
const published = "coflux>=0.11,<0.12"

// TestPackages runs one script with each package that bodies may use: ours, embedded, installed from its folder, and
// installed and spoken to as any other adapter; the published one; and both in one mesh.
func TestPackages(t *testing.T) {
	slow(t)
	t.Parallel()
	source, err := filepath.Abs("../../../pyexec/sdk")
	if err != nil {
		t.Fatal(err)
	}
	adapter := func(venv string) []string { return []string{"--adapter", venv + "/bin/python3,-m,coflux"} }
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		runScript(t, nil)
	})
	t.Run("installed", func(t *testing.T) {
		t.Parallel()
		venv := install(t, source)
		sameFiles(t, filepath.Join(source, "coflux"), venv)
		m := runScript(t, []string{"--python", venv + "/bin/python3"})
		if log, _ := os.ReadFile(m.nodes[0].log); !strings.Contains(string(log), "installed, "+venv) {
			t.Errorf("the node does not say that it uses the package in %s:\n%s", venv, m.nodes[0].tail(30))
		}
		runScript(t, adapter(venv))
	})
	t.Run("published", func(t *testing.T) {
		t.Parallel()
		venv := install(t, published)
		runScript(t, adapter(venv))
		runScript(t, nil, adapter(venv), adapter(venv)) // two nodes would have one voter
	})
}

// install makes a virtual environment with the package.
func install(t *testing.T, what string) string {
	t.Helper()
	venv := filepath.Join(t.TempDir(), "venv")
	if out, err := exec.Command("python3", "-m", "venv", venv).CombinedOutput(); err != nil {
		t.Fatalf("python3 -m venv: %v\n%s", err, out)
	}
	out, err := pip(venv, "install", what)
	if err == nil {
		return venv
	}
	if _, offline := pip(venv, "download", "--no-deps", "-d", t.TempDir(), "flit_core"); offline != nil {
		t.Skipf("the registry of Python packages cannot be reached, so %s cannot be installed", what)
	}
	t.Fatalf("pip install %s: %v\n%s", what, err, out)
	return ""
}

func pip(venv string, args ...string) ([]byte, error) {
	return exec.Command(venv+"/bin/python3", append([]string{"-m", "pip", "--disable-pip-version-check", "-q"}, args...)...).CombinedOutput()
}

// sameFiles compares the package in the folder with what was installed.
func sameFiles(t *testing.T, source, venv string) {
	t.Helper()
	installed, _ := filepath.Glob(venv + "/lib/python3*/site-packages/coflux")
	if len(installed) != 1 {
		t.Fatalf("the package is installed in %v", installed)
	}
	for _, dir := range []string{source, installed[0]} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if entry.Name() == "__pycache__" {
				continue
			}
			a, _ := os.ReadFile(filepath.Join(source, entry.Name()))
			b, _ := os.ReadFile(filepath.Join(installed[0], entry.Name()))
			if !bytes.Equal(a, b) {
				t.Errorf("%s differs in the folder and installed", entry.Name())
			}
		}
	}
}

// runScript runs the script in a mesh with a node for each list of further flags.
func runScript(t *testing.T, nodes ...[]string) *mesh {
	t.Helper()
	m := newMesh(t)
	text, err := os.ReadFile("testdata/script.py")
	if err != nil {
		t.Fatal(err)
	}
	m.write("script.py", string(text))
	for _, flags := range nodes {
		m.add(append([]string{"--repo", "script"}, flags...)...)
	}
	m.ready()
	runs := 1
	if len(nodes) > 1 {
		runs = 3 // so that calls between the packages go both ways
	}
	for range runs {
		m.scriptPasses(m.nodes[0])
	}
	return m
}

// people answer or dismiss what is asked, as its title says, until the returned function is called.
func (m *mesh) people(n *node) (stop func()) {
	ctx, cancel := context.WithCancel(m.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			doc, _ := n.client.Inputs(ctx, m.workspace)
			for id, in := range doc.Value {
				if in.Title != nil && *in.Title == "dismiss" {
					_ = n.client.DismissInput(ctx, id)
				} else {
					_ = n.client.RespondInput(ctx, id, json.RawMessage(`{"n": 1.5}`))
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

func (m *mesh) scriptPasses(n *node) {
	m.t.Helper()
	began := time.Now()
	defer m.people(n)()
	o := exe(m.t, m.dir, []string{"COFLUX_HOST=" + n.host()}, 5*time.Minute, "coflux", "workflow.run", "script", "script")
	if o.status != 0 {
		m.t.Fatalf("%v: %s", n.args, o)
	}
	run := strings.TrimSpace(o.stdout)
	var got, want map[string]any
	result := document[struct{ Value struct{ Data, Key string } }](n, "runs", "result", run)
	data := result.Value.Data
	if result.Value.Key != "" { // a string in JSON, kept as a blob
		if err := json.Unmarshal([]byte(n.said("", "blobs", "get", result.Value.Key)), &data); err != nil {
			m.t.Error(err)
		}
	}
	if err := json.Unmarshal([]byte(data), &got); err != nil {
		m.t.Errorf("%v: the script returned %q", n.args, data)
	}
	expected, err := os.ReadFile("testdata/script.json")
	if err != nil {
		m.t.Fatal(err)
	}
	if err := json.Unmarshal(expected, &want); err != nil {
		m.t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		m.t.Errorf("%v: %s", n.args, diff)
	}
	for _, line := range []string{`STDOUT +printed`, `STDOUT +twice`, `STDERR +to stderr`, `INFO +logged \[1, "two"\]`, `WARN +beside <fragment bytes \(5 bytes\)> "largelarge`, `STDERR +raw`} {
		await(m.t, patience, func() string { // lines may come a moment after the result
			if o := n.cli("logs", run); !regexp.MustCompile(`(?m)` + line).MatchString(o.stdout) {
				return "the log lacks " + line + ":\n" + o.String()
			}
			return ""
		})
	}
	m.t.Logf("the script took %s with %v", time.Since(began).Round(time.Millisecond), n.args[len(n.args)-2:])
}
