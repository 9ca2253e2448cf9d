package pyexec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// python is how executors are started.
type python struct {
	argv    []string // followed by execute or discover
	env     []string
	dir     string // where they start; empty = the node's directory
	fork    bool
	foreign bool // speaks on stdin and stdout; ours uses descriptors 3 and 4
	path    []string
}

// probeScript says what an interpreter is and whether a coflux package is installed in it.
const probeScript = `
import sys, json, importlib.machinery, os
spec = None if sys.version_info < (3,) else importlib.machinery.PathFinder.find_spec("coflux", [p for p in sys.path if p])
origin = spec.origin if spec else None
release = ""
if origin:
    try:
        import importlib.metadata
        release = importlib.metadata.version("coflux")
    except Exception:
        pass  # put on the path without being installed: its first message tells
print(json.dumps({"executable": sys.executable, "version": list(sys.version_info[:3]), "coflux": origin,
    "ours": bool(origin) and os.path.exists(os.path.join(os.path.dirname(origin), "_channel.py")), "release": release}))
`

// launcher starts the SDK with a search path that does not depend on the current directory, and without runpy, which
// would cost every process some milliseconds.
const launcher = `import sys
if sys.path[:1] == [""]: del sys.path[0]
from coflux.__main__ import main
sys.exit(main(sys.argv[1:]))`

type probe struct {
	Executable string `json:"executable"`
	Version    []int  `json:"version"`
	Coflux     string `json:"coflux"`
	Ours       bool   `json:"ours"`
	Release    string `json:"release"` // of the coflux package, empty = unknown
}

func (p probe) version() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(p.Version), " ", "."), "[]")
}

func (p probe) tooOld() bool {
	return len(p.Version) < 2 || p.Version[0] < 3 || p.Version[0] == 3 && p.Version[1] < 10
}

// packageTooOld tells whether the installed coflux package is known to be of a generation before apiVersion.
func (p probe) packageTooOld() bool {
	var major, minor, wantMajor, wantMinor int
	if n, _ := fmt.Sscanf(p.Release, "%d.%d", &major, &minor); n < 2 {
		return false
	}
	fmt.Sscanf(apiVersion, "%d.%d", &wantMajor, &wantMinor)
	return major < wantMajor || major == wantMajor && minor < wantMinor
}

// findPython decides what to run: the adapter as given, else an interpreter with the package that is installed in it,
// else with the embedded one.
func findPython(cfg Config) (*python, error) {
	path, err := absolute(cfg.Path)
	if err != nil {
		return nil, err
	}
	if len(cfg.Adapter) > 0 {
		exe, err := exec.LookPath(cfg.Adapter[0])
		if err != nil {
			return nil, fmt.Errorf("the adapter %s cannot be run: %w", cfg.Adapter[0], err)
		}
		if exe, err = filepath.Abs(exe); err != nil {
			return nil, fmt.Errorf("the adapter %s cannot be run: %w", cfg.Adapter[0], err)
		}
		cfg.Logger.Info("using the given adapter", "command", strings.Join(cfg.Adapter, " "))
		argv := append([]string{exe}, cfg.Adapter[1:]...)
		return &python{argv: argv, env: environment(cfg.Boot, path, ""), foreign: true, path: path}, nil
	}
	found, why, err := chooseInterpreter(cfg.Python, path)
	if err != nil {
		return nil, err
	}
	if found.packageTooOld() {
		return nil, fmt.Errorf("the coflux package %s that is installed with %s (%s) is too old: %s or later is needed; upgrade it there, or remove it: the node brings its own",
			found.Release, found.Executable, why, apiVersion)
	}
	py := &python{argv: []string{found.Executable, "-c", launcher}, path: path}
	sdkDir, package_ := "", "installed, "+found.Coflux
	switch {
	case found.Coflux == "":
		if sdkDir, err = unpackSDK(cfg.Scratch); err != nil {
			return nil, err
		}
		if err := compileSDK(sdkDir, found); err != nil {
			return nil, err
		}
		package_ = "embedded"
	case !found.Ours:
		py.foreign = true
		py.argv = []string{found.Executable, "-m", "coflux"}
	}
	py.env = environment(cfg.Boot, path, sdkDir)
	if !py.foreign {
		py.env = append(py.env, "COFLUX_PROTOCOL_FD=3,4")
	}
	cfg.Logger.Info("using python", "path", found.Executable, "version", found.version(), "because", why, "package", package_)
	return py, nil
}

func absolute(path []string) ([]string, error) {
	if len(path) == 0 {
		path = []string{"."}
	}
	var out []string
	for _, p := range path {
		a, err := filepath.Abs(p)
		if err != nil {
			return nil, fmt.Errorf("the module search path %s cannot be used: %w", p, err)
		}
		out = append(out, a)
	}
	return out, nil
}

func environment(boot string, path []string, sdkDir string) []string {
	all := append([]string(nil), path...)
	if inherited := os.Getenv("PYTHONPATH"); inherited != "" {
		all = append(all, inherited)
	}
	if sdkDir != "" {
		all = append(all, sdkDir)
	}
	env := []string{"PYTHONPATH=" + strings.Join(all, string(os.PathListSeparator))}
	if boot != "" {
		env = append(env, BootEnv+"="+boot)
	}
	return env
}

func probeInterpreter(exe string, path []string) (probe, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	full, err := exec.LookPath(exe)
	if err != nil {
		return probe{}, err
	}
	cmd := exec.CommandContext(ctx, full, "-c", probeScript)
	cmd.Env = mergeEnv(os.Environ(), environment("", path, ""))
	out, err := cmd.Output()
	if err != nil {
		return probe{}, fmt.Errorf("it does not run: %w", err)
	}
	var p probe
	if err := json.Unmarshal(out, &p); err != nil {
		return probe{}, fmt.Errorf("it does not answer like a Python: %w", err)
	}
	if p.Executable == "" {
		return probe{}, errors.New("it does not know its own path")
	}
	return p, nil
}

func (py *python) executeSpec(from uint64, files []*os.File) spawnSpec {
	return spawnSpec{Argv: py.command("execute"), Env: py.env, Dir: py.dir, Files: files, From: from}
}

func (py *python) command(words ...string) []string { return append(slices.Clone(py.argv), words...) }

// setExecutor decides how executors come to be.
func (py *python) setExecutor(way string) error {
	switch {
	case way == "spawn":
	case way != "" && way != "fork":
		return fmt.Errorf("--executor %s is not possible: give fork or spawn", way)
	case !py.foreign:
		py.fork = true
	case way == "fork":
		return errors.New("--executor fork is not possible with an adapter or a coflux package that is not this one: give spawn")
	}
	return nil
}
