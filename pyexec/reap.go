package pyexec

import (
	"fmt"
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

// reap is the one goroutine that waits for children: who reaps also kills. A dead leader is left a zombie (so its pid
// cannot be used again) until its group got SIGKILL.
func (g *guardServer) reap() {
	for {
		pid, err := waitAny()
		if err == unix.EINTR {
			continue
		}
		if err != nil { // no children
			<-g.born
			continue
		}
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
		if ours {
			g.ended(id, pid, ws, int64(used.Utime.Sec+used.Stime.Sec))
		}
	}
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
			if !alive() {
				return
			}
		}
	}()
}

// killStrays kills the orphans of an executor that are in no group of ours (setsid, daemons): they came to the guard,
// which is their subreaper, and are known by their environment. A dying process has none any more, so those once found
// are kept in known until they are reaped.
func (g *guardServer) killStrays(id uint64, known map[int]bool) int {
	mark := executorMark(id)
	children := g.children()
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, pid := range children {
		if _, leader := g.procs[pid]; !leader && (known[pid] || hasEnv(pid, mark)) {
			n++
			known[pid] = true
			unix.Kill(pid, unix.SIGKILL)
		}
	}
	return n
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

// waitAny blocks until some child has ended and leaves it a zombie.
func waitAny() (int, error) {
	var info [128]byte // siginfo_t
	_, _, e := unix.Syscall6(unix.SYS_WAITID, unix.P_ALL, 0, uintptr(unsafe.Pointer(&info)),
		unix.WEXITED|unix.WNOWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	// si_signo, si_errno, si_code, (padding), si_pid
	return int(*(*int32)(unsafe.Pointer(&info[siginfoPid]))), nil
}

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
			g.wakeReaper()
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
