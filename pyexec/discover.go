package pyexec

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxManifest bounds what discover may print.
const maxManifest = 64 << 20

// manifest is what discover prints; errors and files are our SDK's addition.
type manifest struct {
	Targets []Target `json:"targets"`
	Errors  []struct {
		Module    string `json:"module"`
		Type      string `json:"type"`
		Message   string `json:"message"`
		Traceback string `json:"traceback"`
	} `json:"errors"`
	Files []string `json:"files"`
}

// found is one module's discovery.
type found struct {
	name     string
	snapshot string
	digest   string
	manifest manifest
	why      string // it cannot be imported, or not all of it
	trace    string
}

// Discover imports each module in a throw-away process and puts the good ones into service. A module that fails is
// reported by name and reason; the code it had before, if any, keeps serving.
func (p *Pool) Discover(ctx context.Context) (Discovery, error) {
	d, _, err := p.discover(ctx)
	return d, err
}

// discover also returns the files that the modules were made of.
func (p *Pool) discover(ctx context.Context) (Discovery, []string, error) {
	p.discovering.Lock()
	defer p.discovering.Unlock()
	all := make([]found, len(p.cfg.Modules))
	gate := make(chan struct{}, runtime.NumCPU())
	var wg sync.WaitGroup
	for i, name := range p.cfg.Modules {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			all[i] = p.importModule(ctx, name)
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		for _, f := range all {
			os.RemoveAll(f.snapshot)
		}
		return Discovery{}, nil, fmt.Errorf("the discovery of modules was interrupted: %w", err)
	}
	d, files := p.adoptCode(all)
	return d, files, nil
}

// adoptCode decides per module between the new code and the last good one.
func (p *Pool) adoptCode(all []found) (Discovery, []string) {
	var files []string
	var free []string
	fresh := map[string]goodCode{}
	p.mu.Lock()
	var d Discovery
	for _, f := range all {
		files = append(files, f.manifest.Files...)
		last, served := p.code.good[f.name]
		m := Module{Name: f.name, Targets: f.manifest.Targets, Error: f.why, Traceback: f.trace}
		switch {
		case served && f.digest != "" && f.digest == last.digest: // it serves already
			free = append(free, f.snapshot)
		case f.why == "", !served && len(f.manifest.Targets) > 0:
			fresh[f.name] = goodCode{snapshot: f.snapshot, digest: f.digest, targets: f.manifest.Targets}
		case served:
			m.Targets = last.targets
			m.Error += "; the last good code keeps serving"
			free = append(free, f.snapshot)
		default:
			free = append(free, f.snapshot)
		}
		d.Modules = append(d.Modules, m)
	}
	free = append(free, p.code.replace(fresh)...)
	d.Generation = p.code.generation
	var stale []*executor
	for _, l := range p.bares {
		if !l.py.foreign || d.Generation < 2 {
			continue
		}
		l.idle = slices.DeleteFunc(l.idle, func(e *executor) bool { // it may have imported the old code ahead of its job
			old := e.generation < d.Generation
			if old {
				stale = append(stale, e)
			}
			return old
		})
	}
	p.syncLanes()
	p.refill()
	p.mu.Unlock()
	for _, e := range stale {
		e.kill()
	}
	for _, dir := range free {
		if dir != "" {
			os.RemoveAll(dir)
		}
	}
	return d, files
}

// importModule runs discover for one module.
func (p *Pool) importModule(ctx context.Context, name string) found {
	f := found{name: name}
	py := p.pythonOf(name)
	env := py.env
	if !py.foreign {
		p.mu.Lock()
		p.seq++
		f.snapshot = filepath.Join(p.code.dir, strconv.FormatUint(p.seq, 10))
		p.mu.Unlock()
		if err := os.MkdirAll(f.snapshot, 0o700); err != nil {
			f.why = fmt.Sprintf("its code cannot be kept: %v", err)
			return f
		}
		roots := strings.Join(py.path, string(os.PathListSeparator))
		env = append(slices.Clone(env), "COFLUX_SNAPSHOT="+f.snapshot, "COFLUX_CODE_ROOTS="+roots)
	}
	out, errText, status, err := p.runDiscover(ctx, py, name, env)
	switch {
	case err != nil:
		f.why = err.Error()
	case status != exitStatus{}:
		f.why = fmt.Sprintf("discovery failed (%s)", status)
		if last := lastLine(errText); last != "" {
			f.why += ": " + last
		}
		f.trace = errText
		if strings.Contains(errText, "No module named coflux") {
			f.why = "discovery failed: the coflux package is not installed in this Python environment"
		}
	default:
		f.read(out, errText)
		f.digest = f.sum()
	}
	return f
}

// read takes the printed manifest.
func (f *found) read(out []byte, errText string) {
	if err := json.Unmarshal(out, &f.manifest); err != nil {
		f.why = fmt.Sprintf("failed to parse discovery output: %v", err)
		return
	}
	if len(f.manifest.Errors) > 0 {
		e := f.manifest.Errors[0]
		f.why = fmt.Sprintf("%s: %s", strings.TrimPrefix(e.Type, "builtins."), e.Message)
		if e.Module != f.name {
			f.why = e.Module + ": " + f.why
		}
		f.trace = e.Traceback
		return
	}
	if len(f.manifest.Targets) == 0 && strings.Contains(errText, "Failed to import module") {
		f.why = lastLine(errText)
	}
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// runDiscover runs the process to its end, or to the time limit.
func (p *Pool) runDiscover(ctx context.Context, py *python, name string, env []string) (out []byte, errText string, s exitStatus, err error) {
	p.mu.Lock()
	g, state := p.guard, p.state
	if state == stateRunning {
		p.wg.Add(1)
		defer p.wg.Done()
	}
	p.mu.Unlock()
	if state != stateRunning {
		return nil, "", s, ErrStopped
	}
	o, err := newCapture(maxManifest)
	if err != nil {
		return nil, "", s, err
	}
	defer o.close()
	e, err := newCapture(64 << 10)
	if err != nil {
		return nil, "", s, err
	}
	defer e.close()
	ended := make(chan exitStatus, 1)
	spec := spawnSpec{
		Argv: append(slices.Clone(py.argv), "discover", name), Env: env, Dir: py.dir,
		Files: []*os.File{p.null, o.w, e.w},
	}
	proc, err := g.spawn(spec, func(s exitStatus) { ended <- s })
	if err != nil {
		return nil, "", s, fmt.Errorf("failed to run discovery: %w", err)
	}
	o.begin()
	e.begin()
	limit := time.NewTimer(p.cfg.DiscoverTimeout)
	defer limit.Stop()
	select {
	case s = <-ended:
	case <-limit.C:
		err = fmt.Errorf("the import did not end within %s", p.cfg.DiscoverTimeout)
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		proc.kill()
		<-ended
		return nil, "", s, err
	}
	if s.Gone {
		return nil, "", s, errGuardGone
	}
	return o.bytes(), string(e.bytes()), s, nil
}

// capture keeps the first bytes of a process's output and reads on; it owns both ends of the pipe.
type capture struct {
	w     *os.File
	t     *tap
	limit int
	buf   bytes.Buffer
}

func newCapture(limit int) (*capture, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("cannot make a pipe: %w", err)
	}
	unix.SetNonblock(fds[0], true)
	c := &capture{w: os.NewFile(uintptr(fds[1]), "|w"), limit: limit}
	t, err := newTap(os.NewFile(uintptr(fds[0]), "|r"), maxOutputLine, true)
	if err != nil {
		c.w.Close()
		return nil, err
	}
	t.onBytes = func(b []byte) {
		c.buf.Write(b[:min(len(b), max(0, c.limit-c.buf.Len()))])
	}
	c.t = t
	return c, nil
}

func (c *capture) begin() {
	c.w.Close()
	go c.t.pump()
}

// bytes is called when the process is gone.
func (c *capture) bytes() []byte {
	c.t.finish()
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	return c.buf.Bytes()
}

func (c *capture) close() {
	c.w.Close()
	c.t.f.Close()
}
