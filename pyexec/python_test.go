package pyexec

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// TestPackage runs the Python package's own tests. COFLUX_TEST_PYTHONS names the interpreters, default the one found.
func TestPackage(t *testing.T) {
	t.Parallel()
	found, _, err := chooseInterpreter("", nil)
	if err != nil {
		t.Fatal(err)
	}
	pythons := strings.Fields(os.Getenv("COFLUX_TEST_PYTHONS"))
	if len(pythons) == 0 {
		pythons = []string{found.Executable}
	}
	for _, python := range pythons {
		cmd := exec.Command(python, "-W", "error", "-m", "unittest", "discover", "-s", "sdk/tests", "-t", "sdk/tests")
		cmd.Env = append(os.Environ(), "PYTHONPATH=sdk", "PYTHONDONTWRITEBYTECODE=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("\nOK")) || bytes.Contains(out, []byte("Ran 0 tests")) {
			t.Errorf("%s: %v\n%s", python, err, out)
		}
	}
}

// fake writes an interpreter that answers the probe with text.
func fake(t *testing.T, dir, text string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "python")
	if err := os.WriteFile(file, []byte("#!/bin/sh\necho '"+text+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestWrongPython(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := fake(t, filepath.Join(dir, "old"), `{"executable": "/x", "version": [3, 9, 18], "coflux": null, "ours": false}`)
	odd := fake(t, filepath.Join(dir, "odd"), "hello")
	for _, c := range []struct{ python, want string }{
		{filepath.Join(dir, "absent"), "no such file or directory; give a Python 3.10 or later with --python"},
		{old, "is Python 3.9.18; Python 3.10 or later is needed"},
		{odd, "does not answer like a Python"},
	} {
		_, err := New(Config{Python: c.python, Scratch: dir, Logger: hclog.NewNullLogger()})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.python, err)
		}
	}
	_, err := New(Config{Adapter: []string{filepath.Join(dir, "absent")}, Scratch: dir, Logger: hclog.NewNullLogger()})
	if err == nil || !strings.Contains(err.Error(), "cannot be run") {
		t.Errorf("adapter: %v", err)
	}
}

// The choice depends on the process's environment, so this test and its cases are not parallel.
func TestChoice(t *testing.T) {
	if os.Getenv("PATH") == "" {
		t.Fatal("no PATH")
	}
	dir := t.TempDir()
	answer := func(version, coflux string, ours string) string {
		return `{"executable": "/found/python", "version": ` + version + `, "coflux": ` + coflux + `, "ours": ` + ours + `}`
	}
	fake(t, filepath.Join(dir, "env", "bin"), answer("[3, 12, 1]", `"/site/coflux/__init__.py"`, "false"))
	fake(t, filepath.Join(dir, "path"), answer("[3, 13, 0]", "null", "false"))
	for _, c := range []struct {
		name, env, path string
		why, wrong      string
	}{
		{"environment", filepath.Join(dir, "env"), filepath.Join(dir, "path"), "VIRTUAL_ENV is set", ""},
		{"path", "", filepath.Join(dir, "path"), "it is python on PATH", ""},
		{"none", "", filepath.Join(dir, "nothing"), "", "no Python was found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("VIRTUAL_ENV", c.env)
			t.Setenv("PATH", c.path)
			p, why, err := chooseInterpreter("", nil)
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Error(err)
				}
				return
			}
			if err != nil || why != c.why || p.Executable != "/found/python" {
				t.Errorf("%+v because %q, %v", p, why, err)
			}
		})
	}
	t.Setenv("VIRTUAL_ENV", filepath.Join(dir, "env"))
	py, err := findPython(Config{Scratch: dir, Logger: hclog.NewNullLogger()})
	if err != nil || !py.foreign || strings.Join(py.argv, " ") != "/found/python -m coflux" {
		t.Errorf("an installed package that is not ours speaks on stdin and stdout: %+v %v", py, err)
	}
}
