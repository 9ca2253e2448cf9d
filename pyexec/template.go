package pyexec

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// forkLimit is how long a fork may take before the template is given up.
const forkLimit = 10 * time.Second

// templateIDs is above all numbers of executors.
const templateIDs = uint64(1) << 62

// template is a process of the SDK's that makes executors out of itself: see sdk/coflux/_fork.py. The guard's mu guards
// pending and dead.
type template struct {
	id      uint64
	conn    *net.UnixConn
	said    chan string     // the last of what it printed, when it has ended
	reaped  chan exitStatus // how it ended, when its group is gone
	pending map[uint64]pendingFork
	dead    bool
}

// pendingFork is an executor that was asked for, until the limit.
type pendingFork struct{ limit *time.Timer }

// fork asks the template m.From for an executor. An answer never comes late: the descriptors stay the node's, which asks
// again, in another way, when it is told that there is no fork.
func (g *guardServer) fork(m guardMessage, fds []int) {
	if !g.askFor(m, fds) {
		g.out.put(guardMessage{Op: "unforked", ID: m.ID})
	}
}

func (g *guardServer) askFor(m guardMessage, fds []int) bool {
	g.mu.Lock()
	t := g.templates[m.From]
	ok := t != nil && !t.dead
	if ok && t.ask(m.ID, fds) == nil {
		t.pending[m.ID] = pendingFork{limit: time.AfterFunc(forkLimit, func() { g.kill(t.id) })}
		g.mu.Unlock()
		return true
	}
	g.mu.Unlock()
	if ok {
		g.kill(t.id) // it does not read
	}
	return false
}

// ask does not wait: a template that does not read must not hold the guard up.
func (t *template) ask(id uint64, fds []int) error {
	return sendNow(t.conn, fmt.Appendf(nil, `{"id":%d}`, id), unix.UnixRights(fds...))
}

// template starts one; it is called by the thread that starts processes.
func (g *guardServer) template(m guardMessage) {
	if err := g.startTemplate(m); err != nil {
		g.out.put(guardMessage{Op: "templateEnded", ID: m.ID, Text: fmt.Sprintf("it cannot be started: %v", err)})
	}
}

// startTemplate: the template's descriptors are as an executor's, so that its streams are set up as an executor's, and
// one more.
func (g *guardServer) startTemplate(m guardMessage) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	mine, theirs, err := controlPair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	conn, err := controlConn(mine)
	if err != nil {
		mine.Close()
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		conn.Close()
		return err
	}
	defer w.Close()
	t := &template{
		id: m.ID, conn: conn, said: make(chan string, 1), reaped: make(chan exitStatus, 1), pending: map[uint64]pendingFork{},
	}
	files := []uintptr{null.Fd(), w.Fd(), w.Fd(), null.Fd(), null.Fd(), theirs.Fd()}
	g.mu.Lock()
	pid, err := g.exec(t.id, m.Argv, m.Env, m.Dir, files)
	if err == nil {
		g.templates[t.id] = t
	}
	g.mu.Unlock()
	if err != nil {
		conn.Close()
		r.Close()
		return err
	}
	g.afterBirth(pid)
	go func() { t.said <- readTail(r) }()
	go g.listenTo(t)
	return nil
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

// listenTo takes a template's words until it is gone.
func (g *guardServer) listenTo(t *template) {
	buf := make([]byte, 4096)
	for {
		n, err := t.conn.Read(buf)
		if err != nil || n == 0 {
			break
		}
		var a struct {
			ID      uint64 `json:"id"`
			Pid     int    `json:"pid"`
			Ready   bool   `json:"ready"`
			Refused string `json:"refused"`
		}
		switch {
		case json.Unmarshal(buf[:n], &a) != nil:
		case a.Ready:
			g.out.put(guardMessage{Op: "templateReady", ID: t.id})
		case a.Refused != "":
			g.out.put(guardMessage{Op: "templateRefused", ID: t.id, Text: a.Refused})
		default:
			g.forked(t, a.ID, a.Pid)
		}
	}
	g.mu.Lock()
	t.dead = true
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
	if !g.fencing.Load() {
		g.out.put(guardMessage{Op: "templateEnded", ID: t.id, Text: why})
	}
	for id, f := range pending {
		g.unforked(id, f)
	}
}

// forked takes a new executor over. It is the guard's child by now, and waits for a job, which the node gives to executors
// that have started.
func (g *guardServer) forked(t *template, id uint64, pid int) {
	g.mu.Lock()
	f, ok := t.pending[id]
	delete(t.pending, id)
	// Under the lock nobody reaps: a child that died unknown is gone before, one that dies now is known.
	known := ok && pid > 0 && g.procs[pid] == 0 && unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == nil
	if known {
		g.procs[pid] = id
		unix.Setpgid(pid, pid) // it has started nothing yet; who kills the group finds one
		g.limits.apply(pid)
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
	g.watch(pid)
}

func (g *guardServer) unforked(id uint64, f pendingFork) {
	f.limit.Stop()
	g.out.put(guardMessage{Op: "unforked", ID: id})
}

// templateGone hears of the end of a process; false if it is no template.
func (g *guardServer) templateGone(id uint64, status exitStatus) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.templates[id]
	delete(g.templates, id)
	if t != nil {
		t.reaped <- status
	}
	return t != nil
}
