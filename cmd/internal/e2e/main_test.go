package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// bin is the directory that holds the programs under test.
var bin string

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait for other processes most of the time.
	if err := flag.Set("test.parallel", strconv.Itoa(4)); err != nil {
		panic(err)
	}
	go launcher()
	err := realPython()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if bin, err = os.MkdirTemp("", "coflux-e2e-bin-"); err == nil {
		err = build(bin)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		_ = os.RemoveAll(bin)
		os.Exit(1)
	}
	code := m.Run()
	close(launches)
	_ = os.RemoveAll(bin)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// realPython puts the interpreter itself first on PATH, where python3 is a script that looks for it: it would take longer
// than a node takes to start.
func realPython() error {
	out, err := exec.Command("python3", "-c", "import os, sys; print(os.path.dirname(sys.executable))").Output()
	if err != nil {
		return fmt.Errorf("python3: %w", err)
	}
	return os.Setenv("PATH", strings.TrimSpace(string(out))+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// build makes the programs, once for all tests.
func build(dir string) error {
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", dir+string(filepath.Separator), "./cmd/coflux", "./cmd/coflux-node")
	cmd.Dir = filepath.Join("..", "..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return nil
}

// slow marks a test that takes long.
func slow(t *testing.T) {
	t.Helper()
	if os.Getenv("COFLUX_SLOW") == "" {
		t.Skip("takes long: runs with COFLUX_SLOW=1")
	}
}

// await polls until missing says "", which is what is still missing.
func await(t *testing.T, timeout time.Duration, missing func() string) {
	t.Helper()
	if what := poll(timeout, missing); what != "" {
		t.Fatalf("after %s: %s", timeout, what)
	}
}

func poll(timeout time.Duration, missing func() string) string {
	end := time.Now().Add(timeout)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		what := missing()
		if what == "" || time.Now().After(end) {
			return what
		}
		<-ticker.C
	}
}
