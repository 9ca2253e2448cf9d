package pyexec

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// guardName is the argv[0] by which a process knows that it is to be a guard.
const guardName = "coflux-guard"

// childNice is by how much executions are nicer than the node.
const childNice = 5

// maxNap bounds a wait: Go's timers stand still while the machine sleeps, the deadline does not.
const maxNap = 100 * time.Millisecond

// GuardMain runs the guard and returns true if this process was started as one. It is called first in main and in the
// TestMain of packages that use a Pool, which return at once when it says true.
func GuardMain() bool {
	if len(os.Args) == 0 || os.Args[0] != guardName {
		return false
	}
	// PDEATHSIG is sent when the thread that forked ends: this goroutine keeps its thread until the process ends. It does
	// nothing else, because waking a thread of its own for each message costs more than most messages. For the same reason
	// there is one processor: with a second Go has threads look for work that one does in some microseconds.
	runtime.LockOSThread()
	runtime.GOMAXPROCS(1)
	starts := make(chan func())
	go func() {
		defer close(starts)
		if err := runGuard(starts); err != nil {
			fmt.Fprintln(os.Stderr, "coflux-guard:", err)
		}
	}()
	for start := range starts {
		start()
	}
	return true
}

// guardServer is the guard's own side: the parent of all executors. mu guards procs and says that nobody else forks or
// reaps meanwhile, so a pid in procs is always ours.
type guardServer struct {
	conn *net.UnixConn
	boot string
	nice int // of executors
	oom  int // their oom_score_adj

	groups memoryGroups
	limits Limits // of executors; templates have none, so that executors do not inherit what a template has used
	memory *oomWatch

	list int // of the main thread's children, -1 = it cannot be read

	mu        sync.Mutex
	procs     map[int]uint64       // pid of a group leader -> id of the spawn
	templates map[uint64]*template // not yet reaped
	grace     graces
	bare      bareChildren

	fencing atomic.Bool // from here on every end is the guard's doing

	starts chan<- func() // what the thread does that starts processes

	reaping sync.Mutex // one at a time; taken before mu

	until int64       // deadline in boottime nanoseconds, 0 = none; owned by the main loop
	peers []Statement // owned by the main loop
	rings time.Time   // when a wait of the main loop ends at the latest, zero = it does not; owned by that
	out   *outbox
}

func runGuard(starts chan<- func()) error {
	// Caught and dropped, not ignored: what is ignored would be so in executors and all that they start.
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE)
	// Orphans of executors come to the guard and not to init, so it can find and end those that left their group.
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	conn, err := controlConn(os.NewFile(3, "guard-control"))
	if err != nil {
		return err
	}
	g := &guardServer{
		conn: conn, boot: os.Getenv(guardBootEnv),
		procs: map[int]uint64{}, grace: newGraces(), memory: newOOMWatch(), templates: map[uint64]*template{}, out: newOutbox(conn), bare: bareChildren{},
		groups: newMemoryGroups(os.Getenv(guardBootEnv)), starts: starts,
	}
	if g.list, err = unix.Open(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()), unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		g.list = -1 // a kernel without it
	}
	// The system call answers 20 - nice.
	if raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil {
		g.nice = 20 - raw + childNice
	}
	g.oom = min(readInt("/proc/self/oom_score_adj")+childOOMScore, 1000)
	if err := json.Unmarshal([]byte(os.Getenv(guardLimitsEnv)), &g.limits); err != nil {
		return fmt.Errorf("the limits are unreadable: %w", err)
	}
	go g.memory.run()
	go g.out.run()
	go g.reapOrphans()
	quiet := g.serve()
	g.fencing.Store(true)
	alone := g.killEverything(5 * time.Second)
	g.out.put(guardMessage{Op: "fenced"})
	g.out.close(time.Second)
	if !alone {
		return errors.New("some processes would not die within 5 s; no statement is made")
	}
	if !quiet {
		makeStatement(g.peers, 10*time.Second)
	}
	return nil
}

// serve handles the node's messages until it quits (true), dies or lets the deadline pass (false). A deadline that has
// passed counts only when no message is waiting: the one that moves it may be there already.
func (g *guardServer) serve() (quiet bool) {
	buf, oob := make([]byte, maxPacket), make([]byte, unix.CmsgSpace(4*maxFiles))
	late := false // the deadline had passed when the socket was last seen empty
	for {
		deadline := time.Time{}
		if g.until > 0 {
			deadline = time.Now().Add(min(time.Duration(g.until-boottime()), maxNap))
		}
		m, fds, err := g.receive(buf, oob, deadline)
		switch {
		case errors.Is(err, errNoMessage):
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			if late {
				return false
			}
			late = g.until > 0 && boottime() >= g.until
			continue
		case err != nil:
			return false
		}
		late = false
		if m.Op == "quit" {
			closeAll(fds)
			return true
		}
		g.handle(m, fds)
	}
}

// receive takes a waiting packet, else waits for one, at most until the deadline. A timer is only set where none will ring
// before: to set one costs more than most messages.
func (g *guardServer) receive(buf, oob []byte, deadline time.Time) (guardMessage, []int, error) {
	raw, err := g.conn.SyscallConn()
	if err != nil {
		return guardMessage{}, nil, err
	}
	if !deadline.IsZero() && (g.rings.IsZero() || deadline.Before(g.rings)) {
		g.rings = deadline
		g.conn.SetReadDeadline(deadline)
	}
	n, on := 0, 0
	var rerr error
	take := func(fd uintptr) {
		n, on, _, _, rerr = unix.Recvmsg(int(fd), buf, oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	}
	err = raw.Read(func(fd uintptr) bool {
		take(fd)
		return rerr != unix.EAGAIN && rerr != unix.EINTR
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// It hides a packet that waits.
		g.rings = time.Time{}
		g.conn.SetReadDeadline(time.Time{})
		if err = raw.Control(take); err == nil && (rerr == unix.EAGAIN || rerr == unix.EINTR) {
			err = os.ErrDeadlineExceeded
		}
	}
	if err != nil {
		return guardMessage{}, nil, err
	}
	if rerr != nil {
		return guardMessage{}, nil, rerr
	}
	if n == 0 && on == 0 {
		return guardMessage{}, nil, net.ErrClosed // the node is gone
	}
	return parsePacket(buf[:n], oob[:on])
}

func (g *guardServer) handle(m guardMessage, fds []int) {
	defer closeAll(fds)
	switch m.Op {
	case "spawn":
		g.onThread(func() { g.spawn(m, fds) })
	case "fork":
		g.fork(m, fds)
	case "template":
		g.onThread(func() { g.template(m) })
	case "kill":
		g.kill(m.ID)
	case "end":
		g.end(m.ID, time.Duration(m.Grace)*time.Millisecond)
	case "bound":
		g.bound(m)
	case "killall":
		g.killGroups()
	case "alive":
		g.until = m.Until
	case "peers":
		g.peers = m.Peers
	}
}

// onThread has the thread that starts processes do something, and waits.
func (g *guardServer) onThread(start func()) {
	done := make(chan struct{})
	g.starts <- func() {
		defer close(done)
		start()
	}
	<-done
}

func (g *guardServer) spawn(m guardMessage, fds []int) {
	files := make([]uintptr, len(fds))
	for i, fd := range fds {
		files[i] = uintptr(fd)
	}
	g.mu.Lock()
	pid, err := g.exec(m.ID, m.Argv, m.Env, m.Dir, files)
	if err == nil {
		g.limits.apply(pid)
	}
	g.mu.Unlock()
	if err != nil {
		g.out.put(guardMessage{Op: "failed", ID: m.ID, Text: fmt.Sprintf("cannot start %s: %v", m.Argv[0], err)})
		return
	}
	g.afterBirth(pid) // before the node hears of it, which gives it work
	g.out.put(guardMessage{Op: "started", ID: m.ID, Pid: pid})
}

// exec starts a process in its own group; called with mu held, by the thread that starts processes.
func (g *guardServer) exec(id uint64, argv, env []string, dir string, files []uintptr) (int, error) {
	more := append(slices.Clone(env), executorMark(id))
	attr := &syscall.ProcAttr{
		Dir: dir, Env: mergeEnv(os.Environ(), more), Files: files,
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	pid, err := syscall.ForkExec(argv[0], argv, attr)
	if err == nil {
		g.procs[pid] = id
	}
	return pid, err
}

func (g *guardServer) afterBirth(pid int) {
	unix.Setpriority(unix.PRIO_PROCESS, pid, g.nice)
	os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(g.oom)), 0) // higher is always allowed
	g.watch(pid)
}

func (g *guardServer) kill(id uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.grace.over(id)
	for pid, owner := range g.procs {
		if owner == id {
			unix.Kill(-pid, unix.SIGKILL)
		}
	}
}

func (g *guardServer) killGroups() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.grace.allOver()
	for pid := range g.procs {
		unix.Kill(-pid, unix.SIGKILL)
	}
}

// readInt reads a file with one number; 0 if there is none.
func readInt(file string) int {
	b, _ := os.ReadFile(file)
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}

// mergeEnv puts more over base, without doubles and without what is meant for the guard alone.
func mergeEnv(base, more []string) []string {
	names := map[string]bool{guardBootEnv: true, guardLimitsEnv: true, guardGroupsEnv: true}
	for _, v := range more {
		name, _, _ := strings.Cut(v, "=")
		names[name] = true
	}
	env := make([]string, 0, len(base)+len(more))
	for _, v := range base {
		if name, _, _ := strings.Cut(v, "="); !names[name] {
			env = append(env, v)
		}
	}
	return append(env, more...)
}
