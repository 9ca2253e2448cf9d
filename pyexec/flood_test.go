package pyexec

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"
)

// heapBound is how much the node's memory may grow while bodies flood it, whatever they write.
const heapBound = 40 << 20

// flood is the host of a body that says more than should be kept.
type flood struct {
	*testHost
	lines, bytes, longest, bad atomic.Int64
	hold                       chan struct{} // Log returns when it is closed; nil = at once
}

func (f *flood) Log(level int, template *string, _ map[string]Value) {
	if f.hold != nil {
		<-f.hold
	}
	n := int64(len(*template))
	f.lines.Add(1)
	f.bytes.Add(n)
	f.longest.Store(max(f.longest.Load(), n)) // called by one goroutine at a time
	if !utf8.ValidString(*template) || strings.Contains(*template, "\n") || level != 1 && level != 3 {
		f.bad.Add(1)
	}
}

func (e *engine) flood(target string, hold chan struct{}, args ...any) *flood {
	f := &flood{hold: hold, testHost: &testHost{e: e, id: "flood-" + target, got: make(chan struct{}), ended: make(chan struct{})}}
	if err := e.pool.Run(Job{ExecutionID: f.id, Module: "flood", Target: target, Arguments: values(e.t, args...)}, f); err != nil {
		e.t.Fatal(err)
	}
	return f
}

// heapPeak measures by how much the heap grows until stop is called.
func heapPeak() (stop func() uint64) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	base, peak := m.HeapInuse, m.HeapInuse
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				runtime.ReadMemStats(&m)
				if m.HeapInuse > base+heapBound {
					runtime.GC() // on a busy machine the collector comes late; what it frees is not held
					runtime.ReadMemStats(&m)
				}
				peak = max(peak, m.HeapInuse)
			}
		}
	}()
	return func() uint64 {
		close(over)
		<-done
		return peak - min(base, peak)
	}
}

// Not parallel: the heap of the process is measured.
func TestFloodsAreBounded(t *testing.T) {
	e := newEngine(t, func(c *Config) { c.Modules = []string{"flood"} })
	n := 100_000
	if os.Getenv("COFLUX_SLOW") != "" {
		n = 1_000_000
	}
	const size = 50 << 20
	for _, c := range []struct {
		name, target string
		args         []any
		value        string
		bytes        int64 // of text that must arrive; -1 = as many as there were
	}{
		{"a million prints", "prints", []any{n}, "", int64(4 * n)},
		{"one line by print", "one_line", []any{"print", size}, `"heard"`, size},
		{"one line at descriptor 1", "one_line", []any{"stdout", size}, `"heard"`, size},
		{"one line at descriptor 2", "one_line", []any{"stderr", size}, `"heard"`, size},
		{"binary", "binary", []any{size}, `"heard"`, -1},
		{"a child", "by_child", []any{size}, `"heard"`, size},
		{"both descriptors and calls", "flooded", []any{2}, "", -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			stop := heapPeak()
			began := time.Now()
			f := e.flood(c.target, nil, c.args...)
			f.wait(t)
			grown := stop()
			if f.res == nil || f.res.Error != nil || c.value != "" && string(f.value) != c.value {
				t.Fatalf("ended as %s", f.ends())
			}
			if grown > heapBound {
				t.Errorf("the heap grew by %d MiB, at most %d are allowed", grown>>20, heapBound>>20)
			}
			if c.bytes >= 0 && f.bytes.Load() != c.bytes || f.bytes.Load() == 0 {
				t.Errorf("%d bytes of output arrived, want %d", f.bytes.Load(), c.bytes)
			}
			// A byte that is no text becomes a character of three.
			if f.longest.Load() > 3*maxOutputLine || f.bad.Load() > 0 {
				t.Errorf("%d lines are no lines; the longest has %d bytes", f.bad.Load(), f.longest.Load())
			}
			if c.target == "flooded" {
				var got [2]int64
				if json.Unmarshal(f.value, &got) != nil || got[1] == 0 || f.bytes.Load()+f.lines.Load() != got[0] {
					t.Errorf("bytes written and calls made: %s; arrived: %d bytes in %d lines", f.value, f.bytes.Load(), f.lines.Load())
				}
			}
			t.Logf("%s: %d lines, %d MiB in %s; the heap grew by %.1f MiB; %s", c.name, f.lines.Load(), f.bytes.Load()>>20, time.Since(began).Round(time.Millisecond), float64(grown)/(1<<20), f.value)
		})
	}
}

// A log that takes nothing stops the writer: what is on its way is no more than the pipe and one read.
func TestBackPressure(t *testing.T) { bothWays(t, backPressure) }

func backPressure(t *testing.T, way func(*Config)) {
	e := newEngine(t, func(c *Config) { way(c); c.Modules = []string{"flood"} })
	file := filepath.Join(t.TempDir(), "count")
	write(t, file, strings.Repeat("\x00", 8))
	written := func() uint64 {
		b, err := os.ReadFile(file)
		if err != nil || len(b) != 8 {
			t.Fatal(b, err)
		}
		return binary.LittleEndian.Uint64(b)
	}
	hold := make(chan struct{})
	f := e.flood("counted", hold, file)
	const most = 64<<10 + readSize + 4096
	// It stands when the count has not moved for a while.
	last, since := uint64(0), time.Now()
	for limit := time.Now().Add(20 * time.Second); time.Since(since) < 300*time.Millisecond || last == 0; time.Sleep(time.Millisecond) {
		n := written()
		if n != last {
			last, since = n, time.Now()
		}
		if n > most {
			t.Fatalf("%d bytes were written against a log that takes none, at most %d fit", n, most)
		}
		if time.Now().After(limit) {
			t.Fatalf("the writer does not come to stand: %d bytes", n)
		}
	}
	// Others are not held up, and it can be ended.
	if h := e.start(Job{Module: "flood", Target: "echo", Arguments: values(t, 1)}).wait(t); h.ends() != "terminated 1" {
		t.Errorf("another body: %s", h.ends())
	}
	e.pool.Kill(f.id)
	close(hold)
	if f.wait(t).ends() != "terminated" {
		t.Error(f.ends())
	}
}

// What bodies do to themselves ends as it should.
func TestOddEnds(t *testing.T) { bothWays(t, oddEnds) }

func oddEnds(t *testing.T, way func(*Config)) {
	e := newEngine(t, func(c *Config) { way(c); c.Modules = []string{"flood"} })
	late := filepath.Join(t.TempDir(), "late")
	for _, c := range []struct {
		target string
		args   []any
		want   string // the beginning
	}{
		{"recurse", nil, "terminated builtins.RecursionError maximum recursion depth exceeded"},
		{"ping", nil, "terminated builtins.RecursionError maximum recursion depth exceeded"},
		{"fork", []any{"return"}, `terminated ["the parent's",0]`},
		{"fork", []any{"raise"}, `terminated ["the parent's",1]`},
		{"fork", []any{"exit"}, `terminated ["the parent's",7]`},
		{"daemon_thread", nil, `terminated "done"`},
		{"daemon_logger", nil, `terminated "done"`},
		{"late_thread", []any{late}, `terminated "done"`},
		{"endless_thread", nil, `terminated "done"`},
		{"broken_streams", nil, `terminated "done"`},
		{"closed_channel", nil, "terminated internal EOF: the process ended without a result (exit status 1)"},
		{"long_message", []any{512 << 10}, "terminated builtins.ValueError mmmmm"},
	} {
		t.Run(c.target, func(t *testing.T) {
			t.Parallel()
			h := e.start(Job{Module: "flood", Target: c.target, Arguments: values(t, c.args...)}).wait(t)
			if got := h.ends(); !strings.HasPrefix(got, c.want) {
				t.Errorf("%v: ended as %.300s, want %s", c.args, got, c.want)
			}
			if c.target == "late_thread" {
				if b, err := os.ReadFile(late); err != nil || string(b) != "late" {
					t.Errorf("the thread did not come to its end: %q %v", b, err)
				}
			}
			if c.target == "fork" && c.args[0] == "return" && !strings.Contains(strings.Join(h.logs, "|"), "1 said by the child") {
				t.Errorf("output of the child: %q", h.logs)
			}
		})
	}
}
