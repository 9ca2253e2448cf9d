package pyexec

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// guardBootEnv tells the guard whose processes it answers for. It is not COFLUX_BOOT, so that no sweep takes the guard
// for one of them.
const guardBootEnv = "COFLUX_GUARD_BOOT"

// guardLimitsEnv tells the guard the Limits of executors, as JSON.
const guardLimitsEnv = "COFLUX_GUARD_LIMITS"

// executorEnv marks an executor and what it starts with the number of its spawn.
const executorEnv = "COFLUX_EXECUTOR"

// executorMark has the same length for every number, because a forked executor writes its own over the template's.
func executorMark(id uint64) string { return fmt.Sprintf("%s=%020d", executorEnv, id) }

// watch has a child reaped when it ends. Its descriptor is waited for with all others, which costs less than a thread that
// waits: Go's scheduler looks after threads in system calls again and again.
func (g *guardServer) watch(pid int) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil { // a kernel before 5.10, or no descriptors are left
		go func() {
			for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
			}
			g.reap()
		}()
		return
	}
	go func() {
		f := os.NewFile(uintptr(fd), "pidfd")
		defer f.Close()
		if raw, err := f.SyscallConn(); err == nil {
			raw.Read(func(fd uintptr) bool { return hasEnded(int(fd)) })
		}
		g.reap()
	}()
}

// hasEnded is true for a process that is a zombie, or was reaped.
func hasEnded(pidfd int) bool {
	var info childInfo
	err := info.wait(unix.P_PIDFD, pidfd)
	return err == unix.ECHILD || err == nil && info.pid() != 0
}

// reap takes all children that have ended: who reaps also kills. A dead leader is left a zombie (so its pid cannot be used
// again) until its group got SIGKILL.
func (g *guardServer) reap() {
	for g.reapOne() {
	}
}

// reapOrphans takes those that end while their execution goes on.
func (g *guardServer) reapOrphans() {
	for range time.Tick(time.Second) {
		g.reap()
	}
}

// reapOne is false when no child has ended.
func (g *guardServer) reapOne() bool {
	g.reaping.Lock()
	var info childInfo
	if err := info.wait(unix.P_ALL, 0); err != nil || info.pid() == 0 {
		g.reaping.Unlock()
		return err == unix.EINTR
	}
	pid := info.pid()
	g.mu.Lock()
	id, ours := g.procs[pid]
	if ours && !g.grace.lasts(id) {
		unix.Kill(-pid, unix.SIGKILL)
	}
	var ws syscall.WaitStatus
	var used syscall.Rusage
	syscall.Wait4(pid, &ws, 0, &used)
	delete(g.procs, pid)
	g.mu.Unlock()
	g.reaping.Unlock()
	if ours {
		g.ended(id, pid, ws, int64(used.Utime.Sec+used.Stime.Sec))
	}
	return true
}

// ended reports a process when the last member of its group is gone too.
func (g *guardServer) ended(id uint64, pgid int, ws syscall.WaitStatus, cpu int64) {
	status := &exitStatus{Code: ws.ExitStatus(), Gone: g.fencing.Load()}
	if ws.Signaled() {
		status.Signal, status.CPU = int(ws.Signal()), cpu
		status.OOM = ws.Signal() == unix.SIGKILL && g.memory.recent()
		status.Over = ws.Signal() == unix.SIGKILL && g.overMemory(id)
	}
	report := func() {
		if !g.templateGone(id, *status) {
			g.out.put(guardMessage{Op: "exited", ID: id, Status: status})
		}
	}
	strays := map[int]bool{}
	alive := func() bool {
		if g.rests(id, pgid) {
			return true
		}
		return unix.Kill(-pgid, unix.SIGKILL) != unix.ESRCH || g.killStrays(id, strays) > 0 || !g.leaveGroup(id)
	}
	if !alive() {
		report()
		return
	}
	go func() {
		defer report()
		for g.rests(id, pgid) {
			time.Sleep(5 * time.Millisecond)
		}
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			g.reap() // orphans, which nobody watches
			if !alive() {
				return
			}
		}
	}()
}

// killStrays kills the orphans of an executor that are in no group of ours (setsid, daemons): they came to the guard,
// which is their subreaper, and are known by their environment. A dying process has none any more, so those once found
// are kept in known until they are reaped. One that is about to become another program (exec) has none yet: whoever started
// it goes on before it has, and may have ended since. So those without any count as alive while they may be new.
func (g *guardServer) killStrays(id uint64, known map[int]bool) int {
	mark := executorMark(id)
	children := g.children()
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, pid := range children {
		if _, leader := g.procs[pid]; leader {
			continue
		}
		switch env := environOf(pid); {
		case known[pid] || hasEntry(env, mark):
			n++
			known[pid] = true
			unix.Kill(pid, unix.SIGKILL)
		case len(env) == 0 && g.bare.mayBeNew(pid, time.Now()):
			n++
		}
	}
	g.bare.keep(children)
	return n
}

// execLimit is how long a process may be without an environment because it is about to have one.
const execLimit = 200 * time.Millisecond

// bareChildren are children without an environment, by pid, and since when that is known. The guard's mu guards it.
type bareChildren map[int]time.Time

// mayBeNew says whether a child may be without an environment because it is about to have one.
func (b bareChildren) mayBeNew(pid int, now time.Time) bool {
	if _, known := b[pid]; !known {
		b[pid] = now
	}
	return now.Sub(b[pid]) < execLimit
}

// keep forgets those that are no children any more.
func (b bareChildren) keep(children []int) {
	maps.DeleteFunc(b, func(pid int, _ time.Time) bool { return !slices.Contains(children, pid) })
}

// children lists the guard's children for less than ownChildren does: the guard starts processes from its main thread, and
// orphans go to the first thread of a subreaper that lives. It counts, too, when it was the same twice.
func (g *guardServer) children() []int {
	if g.list < 0 {
		return ownChildren()
	}
	last := readChildren(g.list)
	for range 20 {
		again := readChildren(g.list)
		if slices.Equal(last, again) {
			break
		}
		last = again
	}
	return last
}

// readChildren reads a file of children anew.
func readChildren(fd int) (pids []int) {
	buf := make([]byte, 4096)
	n, rest := 0, 0
	for off := int64(0); ; off += int64(n) {
		if n, _ = unix.Pread(fd, buf, off); n <= 0 {
			return pids
		}
		for _, c := range buf[:n] {
			if c != ' ' {
				rest = 10*rest + int(c-'0')
				continue
			}
			pids, rest = append(pids, rest), 0
		}
	}
}

// childInfo is a siginfo_t.
type childInfo [128]byte

// wait looks for a child that has ended and leaves it a zombie; it does not wait for one.
func (i *childInfo) wait(kind, which int) error {
	_, _, e := unix.Syscall6(unix.SYS_WAITID, uintptr(kind), uintptr(which), uintptr(unsafe.Pointer(i)),
		unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// pid is 0 if none has ended. Before it are si_signo, si_errno and si_code.
func (i *childInfo) pid() int { return int(*(*int32)(unsafe.Pointer(&i[siginfoPid]))) }

// siginfoPid is the offset of si_pid: three ints, then padding to the alignment of a pointer.
const siginfoPid = (12 + unsafe.Sizeof(uintptr(0)) - 1) / unsafe.Sizeof(uintptr(0)) * unsafe.Sizeof(uintptr(0))

// killEverything kills all groups, all orphans that came to the guard, and whatever else carries the boot's mark, until
// nothing is left; false if something still is after the limit.
func (g *guardServer) killEverything(limit time.Duration) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Millisecond) {
		g.killGroups()
		children := ownChildren()
		g.mu.Lock()
		for _, pid := range children {
			// Only this goroutine's lock holder reaps, so these are still our children, dead or alive.
			unix.Kill(pid, unix.SIGKILL)
		}
		left := len(g.procs) + len(children)
		g.mu.Unlock()
		if left > 0 {
			g.reap()
			continue
		}
		if g.boot == "" {
			return true
		}
		if n, err := sweepOnce(func(boot string) bool { return boot == g.boot }); err == nil && n == 0 {
			return true
		}
	}
	return false
}

// ownChildren lists the children of every thread of this process. The kernel may skip one when another ends while it
// lists, so the list counts when it was the same twice.
func ownChildren() []int {
	last := listChildren()
	for range 20 {
		again := listChildren()
		if slices.Equal(last, again) {
			break
		}
		last = again
	}
	return last
}

func listChildren() []int {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil
	}
	var pids []int
	for _, t := range tasks {
		b, err := os.ReadFile("/proc/self/task/" + t.Name() + "/children")
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
