package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMeshScripts runs the commands that start nodes.
func TestMeshScripts(t *testing.T) {
	t.Parallel()
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/mesh",
		Setup: func(env *testscript.Env) error {
			env.Vars = append(env.Vars, "EXAMPLES="+examples, "GORACE=atexit_sleep_ms=0", "HOME="+env.WorkDir)
			return nil
		},
	})
}

// lockedBuffer is written by the command and read by the test.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// TestDevStaysUp starts a mesh, uses it as the printed lines say, and ends it as Ctrl-C does.
func TestDevStaysUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source := "from coflux import workflow\n\n@workflow()\ndef add(a, b):\n    print('adding')\n    return a + b\n"
	for name, text := range map[string]string{"flows.py": source, "broken.py": "import no_such_module\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dev, out, errs := plainApp()
	ended := make(chan int, 1)
	go func() { ended <- dev.main(ctx, []string{"dev", "--path", dir, "--repo", "flows", "--repo", "broken"}) }()
	host := waitForHost(t, ended, out, errs)
	if !strings.Contains(out.String(), "n1: module broken failed to load (not served):\n  ModuleNotFoundError: ") {
		t.Errorf("the broken module is not told: %s", out.String())
	}
	useMesh(t, host)
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("status %d: %s", code, errs.String())
	}
}

// plainApp is an app without a terminal and without environment.
func plainApp() (a *app, out, errs *lockedBuffer) {
	out, errs = &lockedBuffer{}, &lockedBuffer{}
	return &app{stdout: out, stderr: errs, env: func(string) (string, bool) { return "", false }, now: time.Now,
		size: func() (int, int) { return 80, 24 }}, out, errs
}

// waitForHost waits until dev says that the mesh is up, and returns the first node's address.
func waitForHost(t *testing.T, ended <-chan int, out, errs *lockedBuffer) string {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !strings.Contains(out.String(), "Ctrl-C stops them.") {
		select {
		case code := <-ended:
			t.Fatalf("ended with status %d: %s%s", code, out.String(), errs.String())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("not up: %s%s", out.String(), errs.String())
		}
	}
	host := regexp.MustCompile(`n1 +http://(127\.0\.0\.1:[0-9]+) `).FindStringSubmatch(out.String())
	if host == nil {
		t.Fatalf("no address in %s", out.String())
	}
	return host[1]
}

// useMesh runs each reading command, and one run.
func useMesh(t *testing.T, host string) {
	t.Helper()
	id := strings.TrimSpace(run(t, host, "submit", "flows/add", "1", "2.5"))
	for _, tt := range []struct{ args, want string }{
		{"runs list", `(?m)^` + id + ` +flows/add .* completed +1$`},
		{"runs result " + id, `^3\.5\n$`},
		{"runs inspect -o json " + id, `"node": "n1"`},
		{"logs " + id, `STDOUT adding\n$`},
		{"manifests inspect", `^flows\n  add\(a, b\)\n$`},
		{"nodes", `(?m)^n1 \* +127\.0\.0\.1:\d+ +leader +alive .* flows`},
		{"queue", `^Queue is empty\.\n$`},
		{"sessions list", `flows/add`},
		{"workspaces list", `(?m)^default +\(None\)$`},
	} {
		if got := run(t, host, strings.Fields(tt.args)...); !regexp.MustCompile(tt.want).MatchString(got) {
			t.Errorf("%s: %q does not match %s", tt.args, got, tt.want)
		}
	}
}

// run runs a command that must succeed and returns its output.
func run(t *testing.T, host string, args ...string) string {
	t.Helper()
	a, out, errs := plainApp()
	if code := a.main(t.Context(), append([]string{"--host", host}, args...)); code != 0 {
		t.Fatalf("%v: status %d: %s", args, code, errs.String())
	}
	return out.String()
}
