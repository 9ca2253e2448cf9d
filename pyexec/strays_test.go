package pyexec

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// A process in a session of its own that is just becoming another program, so that nobody can tell yet whose it is, ends with
// its execution all the same. Without the care for that, a few in a thousand stay.
func TestStraysThatAreNew(t *testing.T) {
	if os.Getenv("COFLUX_SLOW") == "" {
		t.Skip("takes half a minute: set COFLUX_SLOW=1")
	}
	e := newEngine(t, func(c *Config) { c.Warm = 4 })
	dir := t.TempDir()
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 300 {
				file := filepath.Join(dir, fmt.Sprint(w, "-", i))
				e.start(Job{Target: "dies_with_stray", Arguments: values(t, file)}).wait(t)
				text, err := os.ReadFile(file)
				if err != nil {
					t.Error(err)
					return
				}
				if pid, err := strconv.Atoi(string(text)); err != nil || running(pid) {
					t.Errorf("process %q is alive after its execution (%v)", text, err)
				}
			}
		})
	}
	all.Wait()
}

// A child that never has an environment holds executions up once, not each.
func TestBareChildren(t *testing.T) {
	t.Parallel()
	b, now := bareChildren{}, time.Now()
	for i, c := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {execLimit - 1, true}, {execLimit, false}, {time.Hour, false}} {
		if got := b.mayBeNew(7, now.Add(c.after)); got != c.want {
			t.Errorf("%d: %v", i, got)
		}
		b.keep([]int{5, 7})
	}
	b.keep([]int{5})
	if !b.mayBeNew(7, now.Add(time.Hour)) {
		t.Error("another process of that number is not new")
	}
}
