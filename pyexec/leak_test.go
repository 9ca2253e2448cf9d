package pyexec

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Executions leave no descriptors, files, zombies or processes behind. COFLUX_SLOW=1 makes it 1,000.
func TestNothingLeaks(t *testing.T) { bothWays(t, nothingLeaks) }

func nothingLeaks(t *testing.T, way func(*Config)) {
	n := 60
	if os.Getenv("COFLUX_SLOW") != "" {
		n = 1000
	}
	e := newEngine(t, func(c *Config) { way(c); c.Warm = 3 })
	if !e.pool.py.fork {
		n /= 2 // they take ten times as long
	}
	children := 3
	if e.pool.py.fork {
		children += 1 + len(e.pool.recent) // the templates
	}
	big := make([]int, 30000) // a result of more than 64 KiB goes through a file
	round := func(n int) {
		var hs []*testHost
		for i := range n {
			switch i % 4 {
			case 0:
				hs = append(hs, e.start(Job{Target: "echo", Arguments: values(t, big)}))
			case 1:
				hs = append(hs, e.start(Job{Target: "leave", Arguments: values(t, 1)}))
			default:
				hs = append(hs, e.start(Job{Target: "noop"}))
			}
			if len(hs) == 8 {
				for _, h := range hs {
					h.wait(t)
				}
				hs = hs[:0]
			}
		}
		for _, h := range hs {
			h.wait(t)
		}
		e.settled(3)
	}
	guard := e.pool.guard.cmd.Process.Pid
	count := func() [4]int {
		inner := 0
		if e.pool.py.fork {
			for _, pid := range templatesOf(guard) {
				inner += openIn(pid)
			}
		}
		fds, _ := os.ReadDir("/proc/" + strconv.Itoa(guard) + "/fd")
		kids, _ := filepath.Glob("/proc/" + strconv.Itoa(guard) + "/task/*")
		files, _ := filepath.Glob(e.pool.cfg.Scratch + "/x*/*")
		values, _ := filepath.Glob(e.pool.cfg.Scratch + "/x*-values")
		return [4]int{len(fds), len(kids), len(files) + len(values), inner}
	}
	round(8)
	before := count()
	round(n)
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		after, kids := count(), childrenOf(guard)
		if after[0] <= before[0] && after[1] <= before[1]+4 && after[2] == 0 && after[3] <= before[3] && kids == children {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("descriptors, threads and files of the guard, descriptors of the template: %v before, %v after; %d children, want %d", before, after, kids, children)
		}
	}
}

// Descriptors of the node itself are counted alone, because other tests run at the same time.
func TestNoDescriptorLeaks(t *testing.T) {
	e := newEngine(t, func(c *Config) { c.Warm = 2 })
	mine := func() int {
		fds, _ := os.ReadDir("/proc/self/fd")
		return len(fds)
	}
	e.run("noop")
	e.settled(2)
	before := mine()
	for range 10 {
		e.run("noop")
	}
	e.settled(2)
	for end := time.Now().Add(5 * time.Second); mine() > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d descriptors before, %d after", before, mine())
		}
	}
}

func childrenOf(pid int) int {
	tasks, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	n := 0
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		for _, c := range b {
			if c == ' ' {
				n++
			}
		}
	}
	return n
}
