package pyexec

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// guard is the node's side of the guard: a spawner. mu guards the fields below it.
type guard struct {
	conn *net.UnixConn
	cmd  *exec.Cmd
	boot string
	log  hclog.Logger
	down chan struct{} // closed when nothing of the guard's is alive and every end was reported
	gone chan struct{} // closed when the guard itself has ended: it may be making its statement for a while

	mu    sync.Mutex
	last  uint64
	procs map[uint64]*guardProcess

	templates map[uint64]func(op, text string) // what is told of each, until its end
	fenced    bool                             // the guard itself said that all are dead
}

type guardProcess struct {
	g       *guard
	id      uint64
	n       int
	live    bool // started was reported; owned by listen
	started chan error
	bounded chan error // one answer, or the end
	ended   func(exitStatus)
}

func (p *guardProcess) pid() int { return p.n }
func (p *guardProcess) kill()    { p.g.send(guardMessage{Op: "kill", ID: p.id}, nil) }
func (p *guardProcess) end(grace time.Duration) {
	p.g.send(guardMessage{Op: "end", ID: p.id, Grace: grace.Milliseconds()}, nil)
}

func (p *guardProcess) bound(memory int64) error {
	if err := p.g.send(guardMessage{Op: "bound", ID: p.id, Memory: memory}, nil); err != nil {
		return err
	}
	return <-p.bounded
}

// over ends a wait for bounded: the process has.
func (p *guardProcess) over() {
	select {
	case p.bounded <- nil:
	default:
	}
}

// errUnforked means that the template has failed to make this process.
var errUnforked = errors.New("the template has not forked the process")

var errGuardGone = errors.New("the guard process is gone and every execution with it")

// startGuard starts this binary again as a guard. It outlives the node for as long as its last duty takes.
func startGuard(cfg Config, in groups) (*guard, error) {
	in.sweep()
	scratch, boot := cfg.Scratch, cfg.Boot
	bounds, err := json.Marshal(cfg.Limits)
	if err != nil {
		return nil, fmt.Errorf("the limits cannot be told to the guard: %w", err)
	}
	mine, theirs, err := controlPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	conn, err := controlConn(mine)
	if err != nil {
		return nil, err
	}
	// Not the node's own stderr: whoever waits for the end of that would wait for the guard.
	log, err := os.OpenFile(filepath.Join(scratch, "guard.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("cannot open the guard's log: %w", err)
	}
	defer log.Close()
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{guardName}, Stderr: log, ExtraFiles: []*os.File{theirs},
		Env: append(os.Environ(), guardBootEnv+"="+boot, guardLimitsEnv+"="+string(bounds), guardGroupsEnv+"="+in.dir),
		// Its own session: a Ctrl-C in the node's terminal is not for it.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("cannot start the guard process: %w", err)
	}
	g := &guard{conn: conn, cmd: cmd, boot: boot, log: cfg.Logger, down: make(chan struct{}), gone: make(chan struct{}), procs: map[uint64]*guardProcess{}, templates: map[uint64]func(op, text string){}}
	go g.listen()
	return g, nil
}

func (g *guard) spawn(spec spawnSpec, ended func(exitStatus)) (process, error) {
	p := &guardProcess{g: g, started: make(chan error, 1), bounded: make(chan error, 1), ended: ended}
	g.mu.Lock()
	if g.procs == nil {
		g.mu.Unlock()
		return nil, errGuardGone
	}
	g.last++
	p.id = g.last
	g.procs[p.id] = p
	g.mu.Unlock()
	m := guardMessage{Op: "spawn", ID: p.id, Argv: spec.Argv, Env: spec.Env, Dir: spec.Dir}
	if spec.From != 0 {
		m = guardMessage{Op: "fork", ID: p.id, From: spec.From}
	}
	if err := g.send(m, spec.Files); err != nil {
		g.take(p.id)
		return nil, err
	}
	if err := <-p.started; err != nil {
		g.take(p.id)
		return nil, err
	}
	return p, nil
}

// startTemplate starts one and returns its number; hear is called with what the guard says of it, templateEnded last,
// unless the guard ends. It is called by the goroutine that hears the guard, with no lock held.
func (g *guard) startTemplate(argv, env []string, dir string, hear func(op, text string)) (uint64, error) {
	g.mu.Lock()
	g.last++
	id := templateIDs + g.last
	g.templates[id] = hear
	g.mu.Unlock()
	err := g.send(guardMessage{Op: "template", ID: id, Argv: argv, Env: env, Dir: dir}, nil)
	if err != nil {
		g.mu.Lock()
		delete(g.templates, id)
		g.mu.Unlock()
	}
	return id, err
}

// endTemplate ends one and hears no more of it.
func (g *guard) endTemplate(id uint64) {
	g.mu.Lock()
	delete(g.templates, id)
	g.mu.Unlock()
	g.send(guardMessage{Op: "kill", ID: id}, nil)
}

// send never blocks for long: a guard that does not read is ended, which takes its children along.
func (g *guard) send(m guardMessage, files []*os.File) error {
	err := sendMessage(g.conn, m, files, 2*time.Second)
	if err != nil && !errors.Is(err, errTooLong) {
		g.cmd.Process.Kill()
	}
	return err
}

// busy says whether some process has not been reported dead.
func (g *guard) busy() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.procs) > 0
}

func (g *guard) take(id uint64) *guardProcess {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.procs[id]
	delete(g.procs, id)
	return p
}

// listen is the guard client's one goroutine; it ends when the guard has.
func (g *guard) listen() {
	buf := make([]byte, maxPacket)
	for {
		n, _, _, _, err := g.conn.ReadMsgUnix(buf, nil)
		if err != nil || n == 0 {
			break
		}
		if m, _, err := parsePacket(buf[:n], nil); err == nil {
			g.hear(m)
		}
	}
	g.conn.Close()
	g.mu.Lock()
	fenced := g.fenced
	g.mu.Unlock()
	if !fenced {
		g.sweep()
		g.bury()
	}
	g.cmd.Wait()
	close(g.gone)
}

func (g *guard) hear(m guardMessage) {
	switch m.Op {
	case "templateReady", "templateRefused", "templateEnded":
		g.mu.Lock()
		hear := g.templates[m.ID]
		if m.Op == "templateEnded" {
			delete(g.templates, m.ID)
		}
		g.mu.Unlock()
		if hear != nil {
			hear(m.Op, m.Text)
		}
	case "unforked":
		g.mu.Lock()
		p := g.procs[m.ID]
		g.mu.Unlock()
		if p != nil {
			p.started <- errUnforked
		}
	case "started", "failed":
		g.mu.Lock()
		p := g.procs[m.ID]
		if m.Op == "failed" {
			delete(g.procs, m.ID)
		}
		g.mu.Unlock()
		if p == nil {
			return
		}
		p.n = m.Pid
		if m.Op == "failed" {
			p.started <- errors.New(m.Text)
			return
		}
		p.live = true
		p.started <- nil
	case "bounded":
		g.mu.Lock()
		p := g.procs[m.ID]
		g.mu.Unlock()
		if p == nil {
			return
		}
		if m.Text != "" {
			p.bounded <- errors.New(m.Text)
			return
		}
		p.bounded <- nil
	case "exited":
		if p := g.take(m.ID); p != nil && m.Status != nil {
			p.over()
			if !p.live { // it ended so soon that the guard's reaper was quicker than the word of its start
				p.live = true
				p.started <- nil
			}
			p.ended(*m.Status)
		}
	case "fenced":
		g.mu.Lock()
		g.fenced = true
		g.mu.Unlock()
		g.bury()
	}
}

// bury reports the end of all that is left and lets nothing new begin.
func (g *guard) bury() {
	g.mu.Lock()
	procs := g.procs
	g.procs = nil
	g.mu.Unlock()
	for _, p := range procs {
		p.over()
		if !p.live {
			p.started <- errGuardGone
			continue
		}
		p.ended(exitStatus{Signal: int(unix.SIGKILL), Gone: true})
	}
	close(g.down)
}

// sweep ends what a guard that was killed itself may have left: members of groups whose leader PDEATHSIG took.
func (g *guard) sweep() {
	if g.boot == "" {
		return
	}
	same := func(boot string) bool { return boot == g.boot }
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if n, err := sweepOnce(same); err != nil || n == 0 {
			return
		}
	}
}
