package localmesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// Node is one process of the mesh.
type Node struct {
	Name    string
	HTTP    string // host:port
	Gossip  string
	LogFile string
	Client  *client.Client

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how; read after done
}

// PID of the process.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Done is closed when the process has ended.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err says how the process ended, nil for status 0. It is valid once Done is closed.
func (n *Node) Err() error { return n.err }

// Signal sends a signal to the process, unless it has ended.
func (n *Node) Signal(s os.Signal) error {
	select {
	case <-n.done:
		return os.ErrProcessDone
	default:
		return n.cmd.Process.Signal(s)
	}
}

// Tail returns the last lines of the node's log.
func (n *Node) Tail(lines int) string {
	f, err := os.Open(n.LogFile)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	const window = 32 << 10
	if info, err := f.Stat(); err == nil && info.Size() > window {
		if _, err := f.Seek(-window, io.SeekEnd); err != nil {
			return ""
		}
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(len(all)-lines, 0):], "\n")
}

// starter starts processes from one thread that lives as long as they do: the signal that a child gets
// at its parent's death is tied to the thread that started it.
type starter struct {
	jobs chan func()
	done sync.WaitGroup
}

func newStarter() *starter {
	s := &starter{jobs: make(chan func())}
	s.done.Go(func() {
		runtime.LockOSThread()
		for f := range s.jobs {
			f()
		}
	})
	return s
}

func (s *starter) do(f func() error) error {
	result := make(chan error)
	s.jobs <- func() { result <- f() }
	return <-result
}

func (s *starter) stop() {
	close(s.jobs)
	s.done.Wait()
}

// start runs argv with its output in the log file. The process has its own group, so that Ctrl-C reaches
// only its parent, and dies with it.
func (s *starter) start(n *Node, argv []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's file: %w", err)
	}
	log, err := os.OpenFile(n.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", n.Name, err)
	}
	defer func() { _ = log.Close() }()
	n.cmd = &exec.Cmd{
		Path: self, Args: argv, Stdout: log, Stderr: log,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	if err := s.do(n.cmd.Start); err != nil {
		return fmt.Errorf("start node %s: %w", n.Name, err)
	}
	n.done = make(chan struct{})
	go func() {
		n.err = n.cmd.Wait()
		close(n.done)
	}()
	return nil
}

// stop asks the process to end and kills it after grace. It returns an error if it did not end cleanly
// though it was alive.
func (n *Node) stop(ctx context.Context, grace time.Duration) error {
	if err := n.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-n.done:
		if n.err != nil {
			return fmt.Errorf("node %s ended with %w; the end of its log:\n%s", n.Name, n.err, indent(n.Tail(10)))
		}
		return nil
	case <-t.C:
	case <-ctx.Done():
	}
	_ = n.Signal(syscall.SIGKILL)
	<-n.done
	return fmt.Errorf("node %s did not stop and was killed; the end of its log:\n%s", n.Name, indent(n.Tail(10)))
}

func indent(text string) string {
	var b bytes.Buffer
	for _, l := range strings.Split(text, "\n") {
		b.WriteString("  " + l + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}
