package pyexec

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// BootEnv marks every executor and what it starts.
const BootEnv = "COFLUX_BOOT"

// Sweep kills what earlier boots left behind: processes whose COFLUX_BOOT begins with prefix and is not keep. It
// returns how many it killed, and an error if some are still alive after 5 s. Call it after locking the data directory.
func Sweep(prefix, keep string) (int, error) {
	old := func(boot string) bool { return boot != keep && strings.HasPrefix(boot, prefix) }
	total := 0
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		n, err := sweepOnce(old)
		if err != nil {
			return total, err
		}
		if n == 0 {
			return total, nil
		}
		total = max(total, n)
		if time.Now().After(end) {
			return total, fmt.Errorf("%d processes of an earlier boot are still alive 5 s after SIGKILL; end them by hand", n)
		}
	}
}

// sweepOnce sends SIGKILL to each living process whose mark matches and returns how many there were.
func sweepOnce(match func(boot string) bool) (int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return 0, fmt.Errorf("cannot look for leftover processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0, fmt.Errorf("cannot look for leftover processes: %w", err)
	}
	found := 0
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() || !marked(pid, match) {
			continue
		}
		// The descriptor pins the process; what it is is asked again, because the pid may have changed hands.
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		if marked(pid, match) {
			found++
			unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
		unix.Close(fd)
	}
	return found, nil
}

func hasEntry(environ []byte, entry string) bool {
	return bytes.Contains(append([]byte{0}, environ...), []byte("\x00"+entry+"\x00"))
}

// environOf is what os.ReadFile would say for many more system calls: what a process was started with, nil if it cannot be
// read.
func environOf(pid int) []byte {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/environ", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	all := make([]byte, 0, 16<<10)
	for {
		all = slices.Grow(all, 4<<10)
		n, err := unix.Read(fd, all[len(all):cap(all)])
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return all
		}
		all = all[:len(all)+n]
	}
}

func marked(pid int, match func(boot string) bool) bool {
	for v := range bytes.SplitSeq(environOf(pid), []byte{0}) {
		if boot, ok := strings.CutPrefix(string(v), BootEnv+"="); ok {
			return match(boot)
		}
	}
	return false
}
