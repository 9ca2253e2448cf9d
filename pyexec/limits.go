package pyexec

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Limits bound what each process of a body may use; 0 = no bound. Sub-processes inherit the bounds and count by themselves;
// where the node may make control groups (see groups.go), Memory bounds also what they use together.
type Limits struct {
	Memory int64 `json:"memory,omitempty"` // bytes of heap, stacks and other private memory that can be written (RLIMIT_DATA)
	CPU    int64 `json:"cpu,omitempty"`    // seconds of processor time
	Files  int64 `json:"files,omitempty"`  // open descriptors
}

// What less of makes no Python run.
const (
	minMemory = 32 << 20
	minCPU    = 1
	minFiles  = 32
)

// cpuGrace is how many seconds of processor time lie between SIGXCPU, which a body may catch, and SIGKILL.
const cpuGrace = 1

// ParseLimits reads items of the form memory=2G, cpu=60 (seconds) and files=1024.
func ParseLimits(items []string) (Limits, error) {
	var l Limits
	for _, item := range items {
		name, text, _ := strings.Cut(item, "=")
		var err error
		switch strings.TrimSpace(name) {
		case "memory":
			l.Memory, err = bytesOf(strings.TrimSpace(text))
		case "cpu":
			l.CPU, err = atLeast(strings.TrimSpace(text), minCPU)
		case "files":
			l.Files, err = atLeast(strings.TrimSpace(text), minFiles)
		default:
			err = errors.New("the limits are memory, cpu and files")
		}
		if err != nil {
			return Limits{}, fmt.Errorf("%q cannot be a limit: %w; write for example memory=2G,cpu=60,files=1024", item, err)
		}
	}
	return l, nil
}

func atLeast(text string, least int64) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", text)
	}
	if n < least {
		return 0, fmt.Errorf("it must be at least %d", least)
	}
	return n, nil
}

// bytesOf reads a number of bytes, with K, M, G or T for powers of 1024.
func bytesOf(text string) (int64, error) {
	digits := strings.TrimRight(text, "KMGT")
	shift := map[string]int{"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
	by, known := shift[text[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !known || n < 0 || n > math.MaxInt64>>by {
		return 0, fmt.Errorf("%q is not a size such as 512M or 2G", text)
	}
	if n<<by < minMemory {
		return 0, fmt.Errorf("it must be at least %dM", minMemory>>20)
	}
	return n << by, nil
}

// and is the tighter of both.
func (l Limits) and(o Limits) Limits {
	return Limits{tighter(l.Memory, o.Memory), tighter(l.CPU, o.CPU), tighter(l.Files, o.Files)}
}

func tighter(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// apply bounds a process that the caller knows to be alive or a zombie.
func (l Limits) apply(pid int) {
	for _, r := range []struct {
		which int
		value int64
		more  int64
	}{{unix.RLIMIT_DATA, l.Memory, 0}, {unix.RLIMIT_CPU, l.CPU, cpuGrace}, {unix.RLIMIT_NOFILE, l.Files, 0}} {
		var now unix.Rlimit
		if r.value == 0 || unix.Prlimit(pid, r.which, nil, &now) != nil {
			continue
		}
		now.Cur = min(uint64(r.value), now.Cur)
		now.Max = min(now.Cur+uint64(r.more), now.Max)
		unix.Prlimit(pid, r.which, &now, nil) // lower than before, which is always allowed
	}
}

// explain says what the end of a process means, where limits or a lack of memory may have brought it about.
func (l Limits) explain(s exitStatus) string {
	killed := s.Signal == int(unix.SIGKILL)
	switch {
	case s.Signal == int(unix.SIGXCPU) && l.CPU == 0: // it has bounded itself
		return fmt.Sprintf("%s: it has used all of its processor time", s)
	case s.Signal == int(unix.SIGXCPU), killed && l.CPU > 0 && s.CPU >= l.CPU:
		return fmt.Sprintf("%s: it has used all of its processor time, the limit cpu is %d s", s, l.CPU)
	case s.Over:
		return fmt.Sprintf("%s: with all that it had started it has used more memory than its limit of %d MiB", s, l.Memory>>20)
	case killed && s.OOM:
		return fmt.Sprintf("%s: the kernel ended a process at that time because memory was short, probably this one; give it a limit of memory or a machine with more", s)
	}
	return s.String()
}

// memoryError gives Python's MemoryError, which says nothing, a sentence.
func (l Limits) memoryError(e *Error) {
	if e.Type == "builtins.MemoryError" && e.Message == "" && l.Memory > 0 {
		e.Message = fmt.Sprintf("no more memory: the limit is %d MiB", l.Memory>>20)
	}
}

// childOOMScore is by how much executions are likelier than the node to be ended when memory is short.
const childOOMScore = 500

// oomWatch knows whether the kernel has ended a process for want of memory within the last seconds.
type oomWatch struct {
	mu       sync.Mutex
	old, now int64 // the kernel's counter, one to two seconds and up to one second ago
}

func newOOMWatch() *oomWatch {
	n := oomKills()
	return &oomWatch{old: n, now: n}
}

// run looks once a second, to the end of the process.
func (w *oomWatch) run() {
	for range time.Tick(time.Second) {
		n := oomKills()
		w.mu.Lock()
		w.old, w.now = w.now, n
		w.mu.Unlock()
	}
}

func (w *oomWatch) recent() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return oomKills() > w.old
}

// oomKills is how many processes the kernel has ended for want of memory since it started.
func oomKills() int64 {
	b, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "\noom_kill ")
	text, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}
