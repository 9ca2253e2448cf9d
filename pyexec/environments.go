package pyexec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// candidate is a place where an interpreter may be, and why it is looked for there.
type candidate struct {
	why  string
	find func() (string, error) // "" = there is none, an error = there should be one
}

// candidates are the places in the order in which they are tried: what the user has activated, what lies in the current
// directory, what the tools say that manage the project there, what the system has.
func candidates() []candidate {
	return []candidate{
		{"VIRTUAL_ENV is set", func() (string, error) {
			env := os.Getenv("VIRTUAL_ENV")
			if env == "" {
				return "", nil
			}
			return mustExist(filepath.Join(env, "bin", "python"))
		}},
		{"the current directory has .venv", inDirectory(".venv")},
		{"the current directory has venv", inDirectory("venv")},
		{"poetry manages the current directory", func() (string, error) {
			if !exists("poetry.lock") && !mentions("pyproject.toml", "[tool.poetry") {
				return "", nil
			}
			return ask("poetry", "env", "info", "--executable")
		}},
		{"uv manages the current directory", func() (string, error) {
			if !exists("uv.lock") && !mentions("pyproject.toml", "[tool.uv") {
				return "", nil
			}
			// 'uv python find' does not know of UV_PROJECT_ENVIRONMENT, and gives the system's where the environment is not made yet.
			args := []string{"run", "--quiet"}
			if exists("uv.lock") {
				args = append(args, "--frozen") // the lock is not ours to change
			}
			return ask("uv", append(args, "python", "-c", "import sys; print(sys.executable)")...)
		}},
		{"it is python3 on PATH", onPath("python3")},
		{"it is python on PATH", onPath("python")},
	}
}

func inDirectory(env string) func() (string, error) {
	return func() (string, error) {
		if !exists(env) {
			return "", nil
		}
		return mustExist(filepath.Join(env, "bin", "python"))
	}
}

func onPath(name string) func() (string, error) {
	return func() (string, error) {
		found, err := exec.LookPath(name)
		if err != nil {
			return "", nil // the other name may be there
		}
		return found, nil
	}
}

func mustExist(file string) (string, error) {
	if _, err := exec.LookPath(file); err != nil {
		return "", fmt.Errorf("%s cannot be run: %w", file, errors.Unwrap(err))
	}
	return file, nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func mentions(file, word string) bool {
	b, err := os.ReadFile(file)
	return err == nil && bytes.Contains(b, []byte(word))
}

// toolTimeout is long: uv makes the environment first where there is none.
const toolTimeout = 5 * time.Minute

// ask has a tool name an interpreter on the last line of what it prints. A project without the tool is no error of the
// user's: the system's Python may do.
func ask(tool string, args ...string) (string, error) {
	exe, err := exec.LookPath(tool)
	if err != nil {
		return "", fmt.Errorf("%s is not installed", tool)
	}
	ctx, cancel := context.WithTimeout(context.Background(), toolTimeout)
	defer cancel()
	var said, errText bytes.Buffer
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &said, &errText, time.Second
	if err := cmd.Run(); err != nil {
		if why := lastLine(errText.String()); why != "" {
			return "", fmt.Errorf("%s says: %s", tool, why)
		}
		return "", fmt.Errorf("%s %s: %w", tool, strings.Join(args, " "), err)
	}
	found := lastLine(said.String())
	if found == "" {
		return "", fmt.Errorf("%s has made no environment yet", tool)
	}
	return mustExist(found)
}

// chooseInterpreter also says why it is this one, and what was passed over.
func chooseInterpreter(given string, path []string) (probe, string, error) {
	if given != "" {
		p, err := probeInterpreter(given, path)
		if err != nil {
			return p, "", fmt.Errorf("the interpreter %s cannot be used: %w; give a Python 3.10 or later with --python", given, err)
		}
		if p.tooOld() {
			return p, "", fmt.Errorf("the interpreter %s is Python %s; Python 3.10 or later is needed", given, p.version())
		}
		return p, "it was asked for", nil
	}
	var passed []string
	for _, c := range candidates() {
		exe, err := c.find()
		if exe == "" && err == nil {
			continue
		}
		p, why := probe{}, ""
		if err == nil {
			p, err = probeInterpreter(exe, path)
		}
		switch {
		case err != nil && exe != "":
			why = fmt.Sprintf("%s: %v", exe, err)
		case err != nil:
			why = err.Error()
		case p.tooOld():
			why = fmt.Sprintf("%s is Python %s", exe, p.version())
		default:
			because := c.why
			if len(passed) > 0 {
				because += "; passed over: " + strings.Join(passed, "; ")
			}
			return p, because, nil
		}
		passed = append(passed, fmt.Sprintf("%s, but %s", c.why, why))
	}
	if len(passed) > 0 {
		return probe{}, "", fmt.Errorf("no usable Python was found: %s; install Python 3.10 or later or name one with --python", strings.Join(passed, "; "))
	}
	return probe{}, "", errors.New("no Python was found; install Python 3.10 or later or name one with --python")
}

// findPythons finds what each of the modules runs with: those without an environment of their own have one in common.
func findPythons(cfg Config) (all []*python, of map[string]*python, err error) {
	found := map[string]*python{}
	of = map[string]*python{}
	names := cfg.Modules
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		env := cfg.Environments[name]
		if found[env] == nil {
			c := cfg
			if env != "" {
				if len(cfg.Adapter) > 0 {
					return nil, nil, fmt.Errorf("the module %s cannot have an environment of its own, %s, beside an adapter", name, env)
				}
				if c.Python, err = interpreterOf(env); err != nil {
					return nil, nil, fmt.Errorf("the environment of module %s cannot be used: %w", name, err)
				}
				c.Logger = cfg.Logger.With("environment", env)
			}
			py, err := findPython(c)
			if err == nil {
				err = py.setExecutor(cfg.Executor)
			}
			if err != nil {
				return nil, nil, err
			}
			found[env] = py
			all = append(all, py)
		}
		of[name] = found[env]
	}
	return all, of, nil
}

// interpreterOf is the interpreter of a virtual environment, or the file itself.
func interpreterOf(env string) (string, error) {
	st, err := os.Stat(env)
	if err != nil {
		return "", fmt.Errorf("%s does not exist: make it with python3 -m venv %s", env, env)
	}
	if !st.IsDir() {
		return env, nil
	}
	exe := filepath.Join(env, "bin", "python")
	if !exists(exe) {
		return "", fmt.Errorf("the directory %s holds no virtual environment, there is no bin/python in it: make one with python3 -m venv %s", env, env)
	}
	return exe, nil
}

// pythonOf is what a module runs with: that of the configured module that it is or lies in, the closest one.
func (p *Pool) pythonOf(module string) *python {
	for name := module; name != ""; {
		if py := p.of[name]; py != nil {
			return py
		}
		name = name[:max(0, strings.LastIndexByte(name, '.'))]
	}
	return p.py
}

// bareOf is the bare lane of an interpreter.
func (p *Pool) bareOf(py *python) *lane {
	for _, l := range p.bares {
		if l.py == py {
			return l
		}
	}
	return p.bares[0]
}
