package pyexec

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// forkLimit is how long a fork may take, the start of the template included, before the template is given up.
const forkLimit = 10 * time.Second

// templateIDs is above all numbers of spawns, which the node gives.
const templateIDs = uint64(1) << 62

// The pauses before a template is started again.
const (
	templateBackoff    = time.Second
	templateBackoffMax = time.Minute
)

// template is a process of the SDK's that makes executors out of itself: see sdk/coflux/_fork.py. The guard's mu guards
// pending and dead.
type template struct {
	id       uint64
	conn     *net.UnixConn
	env      []string
	dir      string
	said     chan string     // the last of what it printed, when it has ended
	reaped   chan exitStatus // how it ended, when its group is gone
	pending  map[uint64]pendingFork
	answered bool
	dead     bool
}

// pendingFork is an executor that was asked for: it runs when a byte is written to start, and ends when that is closed.
type pendingFork struct {
	start int
	limit *time.Timer
}

// forkState is what the guard knows of templates. The guard's mu guards it.
type forkState struct {
	last    uint64
	all     map[uint64]*template // not yet reaped
	current *template
	pause   time.Duration
	resume  time.Time
	told    bool // that there is none
}

// fork asks the template for an executor; false if the caller has to start it. An answer never comes late: the
// descriptors stay the node's, which asks again when it is told that there is no fork.
func (g *guardServer) fork(m guardMessage, fds []int) bool {
	t := g.templateFor(m)
	if t == nil {
		return false
	}
	var start [2]int
	if unix.Pipe2(start[:], unix.O_CLOEXEC) != nil {
		return false
	}
	defer unix.Close(start[0])
	g.mu.Lock()
	defer g.mu.Unlock()
	if !t.dead && t.ask(m.ID, append(slices.Clone(fds), start[0])) == nil {
		t.pending[m.ID] = pendingFork{start: start[1], limit: time.AfterFunc(forkLimit, func() { g.kill(t.id) })}
		return true
	}
	unix.Close(start[1])
	return false
}

// ask does not wait: a template that does not read must not hold the guard up.
func (t *template) ask(id uint64, fds []int) error {
	raw, err := t.conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("the template's socket cannot be used: %w", err)
	}
	text := fmt.Appendf(nil, `{"id":%d}`, id)
	var serr error
	err = raw.Control(func(fd uintptr) {
		serr = unix.Sendmsg(int(fd), text, unix.UnixRights(fds...), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	})
	if err != nil {
		return fmt.Errorf("the template's socket cannot be used: %w", err)
	}
	return serr
}

// templateFor returns a template with the environment that is asked for, a fresh one if it has to be.
func (g *guardServer) templateFor(m guardMessage) *template {
	g.mu.Lock()
	t, early := g.forks.current, time.Now().Before(g.forks.resume)
	g.mu.Unlock()
	if t != nil {
		if !slices.Equal(t.env, m.Env) || t.dir != m.Dir {
			return nil
		}
		return t
	}
	if early {
		return nil
	}
	t, err := g.startTemplate(m)
	if err != nil {
		g.noTemplate(nil, fmt.Sprintf("it cannot be started: %v", err))
		return nil
	}
	return t
}

// startTemplate is called by the thread that starts processes. The template's descriptors are as an executor's, so
// that its streams are set up as an executor's, and one more.
func (g *guardServer) startTemplate(m guardMessage) (*template, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	mine, theirs, err := controlPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	conn, err := controlConn(mine)
	if err != nil {
		mine.Close()
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		conn.Close()
		return nil, err
	}
	defer w.Close()
	g.mu.Lock()
	g.forks.last++
	t := &template{
		id: templateIDs + g.forks.last, conn: conn, env: m.Env, dir: m.Dir,
		said: make(chan string, 1), reaped: make(chan exitStatus, 1), pending: map[uint64]pendingFork{},
	}
	files := []uintptr{null.Fd(), w.Fd(), w.Fd(), null.Fd(), null.Fd(), theirs.Fd()}
	pid, err := g.exec(t.id, m.Template, m.Env, m.Dir, files)
	if err == nil {
		g.forks.current = t
		g.forks.all[t.id] = t
	}
	g.mu.Unlock()
	if err != nil {
		conn.Close()
		r.Close()
		return nil, err
	}
	g.afterBirth(pid)
	go func() { t.said <- readTail(r) }()
	go g.listenTo(t)
	return t, nil
}

// readTail returns the last of what comes from f until its end.
func readTail(f *os.File) string {
	defer f.Close()
	var tail []byte
	buf := make([]byte, tailSize)
	for {
		n, err := f.Read(buf)
		tail = append(tail, buf[:n]...)
		tail = append([]byte(nil), tail[max(0, len(tail)-tailSize):]...)
		if err != nil {
			return strings.TrimSpace(string(tail))
		}
	}
}

// listenTo takes a template's answers until it is gone.
func (g *guardServer) listenTo(t *template) {
	buf := make([]byte, 4096)
	for {
		n, err := t.conn.Read(buf)
		if err != nil || n == 0 {
			break
		}
		var a struct {
			ID  uint64 `json:"id"`
			Pid int    `json:"pid"`
		}
		if json.Unmarshal(buf[:n], &a) == nil {
			g.forked(t, a.ID, a.Pid)
		}
	}
	g.mu.Lock()
	t.dead = true
	if g.forks.current == t {
		g.forks.current = nil
	}
	pending := t.pending
	t.pending = nil
	g.mu.Unlock()
	g.kill(t.id)
	status := <-t.reaped
	t.conn.Close()
	why := fmt.Sprintf("it has ended (%s)", status)
	if said := <-t.said; said != "" {
		why += ": " + lastLine(said)
	}
	g.noTemplate(t, why)
	for id, f := range pending {
		g.unforked(id, f)
	}
}

// forked takes a new executor over. It is the guard's child by now, and waits.
func (g *guardServer) forked(t *template, id uint64, pid int) {
	g.mu.Lock()
	f, ok := t.pending[id]
	delete(t.pending, id)
	// Under the lock nobody reaps: a child that died unknown is gone before, one that dies now is known.
	known := ok && pid > 0 && g.procs[pid] == 0 && unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == nil
	if known {
		g.procs[pid] = id
		t.answered = true
		g.forks.pause, g.forks.told = 0, false
	}
	g.mu.Unlock()
	if !ok {
		return
	}
	if !known {
		g.unforked(id, f)
		return
	}
	f.limit.Stop()
	g.out.put(guardMessage{Op: "started", ID: id, Pid: pid})
	unix.Write(f.start, []byte("g"))
	unix.Close(f.start)
	g.wakeReaper()
}

func (g *guardServer) unforked(id uint64, f pendingFork) {
	f.limit.Stop()
	unix.Close(f.start)
	g.out.put(guardMessage{Op: "unforked", ID: id})
}

// noTemplate holds the next start back and says why, once until there was a good one again.
func (g *guardServer) noTemplate(t *template, why string) {
	g.mu.Lock()
	if t != nil && t.answered {
		g.forks.pause = 0
	}
	g.forks.pause = min(max(templateBackoff, 2*g.forks.pause), templateBackoffMax)
	g.forks.resume = time.Now().Add(g.forks.pause)
	told := g.forks.told
	g.forks.told = true
	g.mu.Unlock()
	if !told && !g.fencing.Load() {
		g.out.put(guardMessage{Op: "template", Text: why})
	}
}

// templateEnded hears of the end of a process; false if it is no template.
func (g *guardServer) templateEnded(id uint64, status exitStatus) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.forks.all[id]
	delete(g.forks.all, id)
	if t != nil {
		t.reaped <- status
	}
	return t != nil
}
