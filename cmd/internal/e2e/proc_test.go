package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// proc is a process that a test started.
type proc struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how; read after done
}

// launches are the processes to start.
var launches = make(chan func())

// launcher starts processes from one thread for the life of the tests: the signal that a child gets at its parent's
// death is tied to the thread that started it, and no node may outlive the tests.
func launcher() {
	runtime.LockOSThread()
	for f := range launches {
		f()
	}
}

// launch starts a program in a group of its own with its output in a file.
func launch(t *testing.T, output, dir string, argv []string, more ...string) *proc {
	t.Helper()
	log, err := os.OpenFile(output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p := &proc{done: make(chan struct{}), cmd: &exec.Cmd{
		Path: argv[0], Args: argv, Dir: dir, Env: append(environment(), more...), Stdout: log, Stderr: log,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}}
	started := make(chan error)
	launches <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p
}

// environment is this process's without what would configure the programs.
func environment() (env []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "COFLUX_") {
			env = append(env, v)
		}
	}
	return env
}

func (p *proc) pid() int { return p.cmd.Process.Pid }

func (p *proc) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal sends a signal, unless the process has ended.
func (p *proc) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if !p.running() {
		return
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

// kill ends the process the hard way.
func (p *proc) kill(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
	<-p.done
}

// wait waits for the end and returns the exit status, -1 for a signal.
func (p *proc) wait(t *testing.T, timeout time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(timeout):
		t.Fatalf("%s (pid %d) has not ended after %s", p.cmd.Args[0], p.pid(), timeout)
		return 0
	}
}

// output is what a program run to its end has said.
type output struct {
	stdout, stderr string
	status         int
	took           time.Duration
}

func (o output) String() string {
	return fmt.Sprintf("status %d after %s\nstdout: %s\nstderr: %s", o.status, o.took, o.stdout, o.stderr)
}

// exe runs a program to its end; one that hangs is killed and fails the test.
func exe(t *testing.T, dir string, env []string, timeout time.Duration, program string, args ...string) output {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.Command(bin+"/"+program, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, append(environment(), env...), &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(timeout, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	o := output{out.String(), errs.String(), cmd.ProcessState.ExitCode(), time.Since(began)}
	if !hung.Stop() {
		t.Fatalf("%s %s does not end: %s", program, strings.Join(args, " "), o)
	}
	return o
}
