package e2e

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// browser finds a Chromium; COFLUX_BROWSER names one that must be there.
func browser(t *testing.T) string {
	t.Helper()
	if named := os.Getenv("COFLUX_BROWSER"); named != "" {
		return named
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium on the PATH and none named by COFLUX_BROWSER")
	}
	return path
}

// shown gives the text of a page as a browser has built it a moment after loading.
func shown(t *testing.T, chromium, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir="+t.TempDir(),
		"--virtual-time-budget=10000", "--dump-dom", url)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the browser failed on %s: %v", url, err)
	}
	return string(out)
}

func TestPageInABrowser(t *testing.T) {
	slow(t)
	t.Parallel()
	chromium := browser(t)
	m := startMesh(t, 1)
	n := m.nodes[0]
	run := strings.TrimSpace(n.cli("submit", "flows/hello", `"<b>Joe</b>"`).stdout)
	for fragment, want := range map[string][]string{
		"#/runs":       {run, "flows", "completed"},
		"#/nodes":      {n.name, "leader", "alive"},
		"#/run/" + run: {"hello", "&lt;b&gt;Joe&lt;/b&gt;"},
	} {
		page := shown(t, chromium, "http://"+n.host()+"/"+fragment)
		for _, w := range want {
			if !strings.Contains(page, w) {
				t.Errorf("%s does not show %q:\n%s", fragment, w, page)
			}
		}
	}
}
