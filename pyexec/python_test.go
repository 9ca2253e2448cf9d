package pyexec

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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
	program(t, file, "#!/bin/sh\necho '"+text+"'\n")
	return file
}

// program writes a file that is run at once. A process that another test forks meanwhile would hold it open for writing, and
// then it cannot be run.
func program(t *testing.T, file, text string) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
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

// The choice depends on the process's environment and directory, so this test and its cases are not parallel.
func TestChoice(t *testing.T) {
	answer := func(name, version, coflux, ours, release string) string {
		return `{"executable": "/` + name + `/python", "version": ` + version + `, "coflux": ` + coflux + `, "ours": ` + ours + `, "release": "` + release + `"}`
	}
	good := func(name string) string { return answer(name, "[3, 12, 1]", "null", "false", "") }
	// tool writes a program that prints a line, or fails with one.
	tool := func(dir, name, line string, status string) {
		t.Helper()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		text := "#!/bin/sh\nif [ " + status + " = 0 ]; then echo '" + line + "'; else echo '" + line + "' >&2; fi\nexit " + status + "\n"
		program(t, filepath.Join(dir, name), text)
	}
	for _, c := range []struct {
		name string
		make func(dir string) (env string) // below dir: "here" is the current directory, "path" is PATH
		want string                        // the beginning of "interpreter, because"
		err  string                        // or of the error
	}{
		{"active", func(dir string) string {
			fake(t, dir+"/env/bin", good("env"))
			fake(t, dir+"/here/.venv/bin", good("dotvenv"))
			return dir + "/env"
		}, "/env/python, VIRTUAL_ENV is set", ""},
		{"active but gone", func(dir string) string {
			fake(t, dir+"/here/.venv/bin", good("dotvenv"))
			return dir + "/gone"
		}, "/dotvenv/python, the current directory has .venv; passed over: VIRTUAL_ENV is set, but ", ""},
		{".venv", func(dir string) string {
			fake(t, dir+"/here/.venv/bin", good("dotvenv"))
			fake(t, dir+"/here/venv/bin", good("venv"))
			return ""
		}, "/dotvenv/python, the current directory has .venv", ""},
		{"venv", func(dir string) string {
			fake(t, dir+"/here/venv/bin", good("venv"))
			write(t, dir+"/here/poetry.lock", "")
			return ""
		}, "/venv/python, the current directory has venv", ""},
		{"poetry", func(dir string) string {
			tool(dir+"/path", "poetry", fake(t, dir+"/poetry", good("poetry")), "0")
			tool(dir+"/path", "uv", "no", "1")
			write(t, dir+"/here/pyproject.toml", "[tool.poetry]\nname = 'x'\n")
			write(t, dir+"/here/uv.lock", "")
			return ""
		}, "/poetry/python, poetry manages the current directory", ""},
		{"poetry fails", func(dir string) string {
			tool(dir+"/path", "poetry", "no environment", "1")
			tool(dir+"/path", "uv", fake(t, dir+"/uv", good("uv")), "0")
			write(t, dir+"/here/poetry.lock", "")
			write(t, dir+"/here/uv.lock", "")
			return ""
		}, "/uv/python, uv manages the current directory; passed over: poetry manages the current directory, but poetry says: no environment", ""},
		{"uv is not there", func(dir string) string {
			write(t, dir+"/here/pyproject.toml", "[tool.uv]\n")
			return ""
		}, "/system/python, it is python on PATH; passed over: uv manages the current directory, but uv is not installed", ""},
		{"system", func(dir string) string { return "" }, "/system/python, it is python on PATH", ""},
		{"none", func(dir string) string {
			if err := os.RemoveAll(dir + "/path"); err != nil {
				t.Fatal(err)
			}
			return ""
		}, "", "no Python was found; install Python 3.10"},
		{"only an old one", func(dir string) string {
			fake(t, dir+"/path", answer("system", "[3, 9, 1]", "null", "false", ""))
			return ""
		}, "", "no usable Python was found: it is python on PATH, but "},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			fake(t, dir+"/path", good("system"))
			if err := os.MkdirAll(dir+"/here", 0o755); err != nil {
				t.Fatal(err)
			}
			env := c.make(dir)
			t.Setenv("VIRTUAL_ENV", env)
			t.Setenv("PATH", dir+"/path")
			t.Chdir(dir + "/here")
			p, why, err := chooseInterpreter("", nil)
			if c.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), c.err) {
					t.Errorf("%v", err)
				}
				return
			}
			if got := p.Executable + ", " + why; err != nil || !strings.HasPrefix(got, c.want) {
				t.Errorf("%s, %v; want %s", got, err, c.want)
			}
		})
	}
	dir := t.TempDir()
	for release, want := range map[string]string{
		"0.11.2": "", "1.0": "", "": "",
		"0.9.3": "the coflux package 0.9.3 that is installed with /env/python (it was asked for) is too old: 0.11 or later is needed; upgrade it there, or remove it",
	} {
		python := fake(t, dir, answer("env", "[3, 12, 1]", `"/site/coflux/__init__.py"`, "false", release))
		py, err := findPython(Config{Python: python, Scratch: dir, Logger: hclog.NewNullLogger()})
		if want != "" {
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s: %v", release, err)
			}
		} else if err != nil || !py.foreign || strings.Join(py.argv, " ") != "/env/python -m coflux" {
			t.Errorf("an installed package that is not ours speaks on stdin and stdout: %+v %v", py, err)
		}
	}
}
