package pyexec

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ways are the ways in which executors come to be, the fastest first.
var ways = []string{ahead, "fork", "spawn"}

// BenchmarkWarm is the latency of a no-op on an executor that is ready: from Run to the result.
func BenchmarkWarm(b *testing.B) {
	for _, way := range ways {
		b.Run(way, func(b *testing.B) {
			e := newEngine(b, func(c *Config) { c.Warm, c.Executor = 4, way })
			var took []time.Duration
			for b.Loop() {
				e.settled(4)
				begin := time.Now()
				h := e.start(Job{Target: "noop"})
				<-h.got
				took = append(took, time.Since(begin))
				h.wait(b)
			}
			report(b, took)
		})
	}
}

func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkHello is a workflow that calls one task, one after the other without a pause: refilling competes with it.
func BenchmarkHello(b *testing.B) {
	e := newEngine(b, func(c *Config) { c.Warm, c.Executor = 4, ahead })
	var took []time.Duration
	e.settled(4)
	for b.Loop() {
		begin := time.Now()
		h := e.start(Job{Target: "hello", Arguments: values(b, "Joe")})
		<-h.got
		took = append(took, time.Since(begin))
	}
	report(b, took)
}

// BenchmarkSaturated keeps 8 executions going. Beside it is what the machine does at that moment: how many processes a
// Python that has imported the package forks, and reaps, a second: eight at a time, which keeps two processors busy; one after the
// other; and eight at a time when each first runs a body that it reads from a pipe and answers, with nobody to guard it, to
// schedule it or to read its output.
func BenchmarkSaturated(b *testing.B) {
	for _, way := range ways {
		b.Run(way, func(b *testing.B) {
			e := newEngine(b, func(c *Config) { c.Warm, c.Executor = 4, way })
			b.SetParallelism(8 / runtime.GOMAXPROCS(0))
			e.settled(4)
			rate1, cost1 := e.bareForks(b, 8, "pass")
			one1, _ := e.bareForks(b, 1, "pass")
			body1, _ := e.bareForks(b, 8, bareBody)
			used := e.cpu()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					e.start(Job{Target: "noop"}).wait(b)
				}
			})
			b.StopTimer()
			rate := float64(b.N) / b.Elapsed().Seconds()
			e.settled(4)
			after := e.cpu()
			rate2, cost2 := e.bareForks(b, 8, "pass")
			one2, _ := e.bareForks(b, 1, "pass")
			body2, _ := e.bareForks(b, 8, bareBody)
			bare, one, bodies := (rate1+rate2)/2, (one1+one2)/2, (body1+body2)/2
			b.ReportMetric(rate, "exec/s")
			b.ReportMetric(bare, "bare-forks/s")
			b.ReportMetric(100*rate/bare, "%-of-bare")
			b.ReportMetric(one, "one-by-one/s")
			b.ReportMetric(100*rate/one, "%-of-one-by-one")
			b.ReportMetric(bodies, "bare-bodies/s")
			b.ReportMetric(100*rate/bodies, "%-of-bodies")
			b.ReportMetric((cost1+cost2)/2, "bare-cpu-µs/fork")
			b.ReportMetric(float64((after[0]-used[0]).Microseconds())/float64(b.N), "pool-cpu-µs/exec")
			b.ReportMetric(float64((after[1]-used[1]).Microseconds())/float64(b.N), "process-cpu-µs/exec")
		})
	}
}

// bareBody is what an executor does, as a process by itself.
const bareBody = "body()"

// bareScript forks and reaps for half a second, as many at a time as it is told.
const bareScript = `
import gc, os, sys, time
import coflux._execute, coflux._rehearsal
from coflux import _channel, _execute, _json, _rehearsal

def body():
    to_read, to_write = os.pipe(), os.pipe()
    os.write(to_read[1], line)
    _execute.run(_channel.Channel(to_read[0], to_write[1]))
    os.read(to_write[0], 65536)

line = _json.dumps({"method": "execute", "params": {
    "execution_id": "R:0:0", "module": _rehearsal.__name__, "target": "nothing", "arguments": [], "working_dir": ".", "values_dir": "/",
}}) + b"\n"
work = compile(sys.argv[1], "work", "exec")
if sys.argv[1] != "pass":
    _rehearsal.rehearse()
gc.collect()
gc.freeze()
begin, used, n, running = time.monotonic(), os.times(), 0, 0
while True:
    while running < int(sys.argv[2]) and time.monotonic() < begin + 0.5:
        if os.fork() == 0:
            exec(work)
            os._exit(0)
        running += 1
    if not running:
        break
    os.wait()
    running -= 1
    n += 1
print(n / (time.monotonic() - begin), (sum(os.times()[:4]) - sum(used[:4])) * 1e6 / n)
`

// bareForks is the rate at which a Python forks, with nothing around it, processes that do some work, and the microseconds
// of processor time for one.
func (e *engine) bareForks(b *testing.B, atOnce int, work string) (rate, cost float64) {
	cmd := exec.Command(e.pool.py.argv[0], "-c", bareScript, work, strconv.Itoa(atOnce))
	cmd.Env = mergeEnv(os.Environ(), e.pool.py.env)
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Sscan(string(out), &rate, &cost); err != nil {
		b.Fatal(err)
	}
	return rate, cost
}

// BenchmarkDiscover is a module with 1,000 targets, from the question to the answer.
func BenchmarkDiscover(b *testing.B) {
	var text strings.Builder
	text.WriteString("from coflux import task\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "\n@task()\ndef t%d(a, b: int = 1, c=None):\n    \"\"\"Does it.\"\"\"\n    return a\n", i)
	}
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "many.py"), []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	e := newEngine(b, func(c *Config) { c.Path, c.Modules, c.Warm = []string{dir}, []string{"many"}, 0 })
	for b.Loop() {
		d, err := e.pool.Discover(context.Background())
		if err != nil || len(d.Modules[0].Targets) != 1000 {
			b.Fatal(err, d.Modules[0].Error)
		}
	}
}

// pandasEnv names an interpreter that has pandas.
const pandasEnv = "COFLUX_TEST_PANDAS"

// BenchmarkPandas is the memory of its own of an execution that uses pandas, and the latency of it.
func BenchmarkPandas(b *testing.B) {
	python := os.Getenv(pandasEnv)
	if python == "" {
		b.Skip("it needs an interpreter with pandas: set " + pandasEnv)
	}
	dir := b.TempDir()
	text := "import pandas\nfrom coflux import task\n\n" +
		"@task()\ndef own():\n    kb = 0\n    for line in open('/proc/self/smaps_rollup'):\n" +
		"        if line.startswith('Private_'):\n            kb += int(line.split()[1])\n    return kb\n\n" +
		"@task()\ndef total():\n    return int(pandas.Series([1, 2]).sum())\n"
	if err := os.WriteFile(filepath.Join(dir, "frames.py"), []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	for _, way := range ways {
		b.Run(way, func(b *testing.B) {
			e := newEngine(b, func(c *Config) {
				c.Path, c.Modules, c.Warm, c.Python, c.Executor = []string{dir}, []string{"frames"}, 4, python, way
			})
			var took []time.Duration
			own := 0
			for b.Loop() {
				e.settled(4)
				begin := time.Now()
				h := e.start(Job{Module: "frames", Target: "total"})
				<-h.got
				took = append(took, time.Since(begin))
				if string(h.wait(b).value) != "3" {
					b.Fatal(h.ends())
				}
				kb, err := strconv.Atoi(string(e.start(Job{Module: "frames", Target: "own"}).wait(b).value))
				if err != nil {
					b.Fatal(err)
				}
				own = max(own, kb)
			}
			report(b, took)
			b.ReportMetric(float64(own)/1024, "own-MiB")
		})
	}
}

// cpu is the time used by this process, and by the guard, its templates and all executors that have ended.
func (e *engine) cpu() [2]time.Duration {
	guard := e.pool.guard.cmd.Process.Pid
	all := [2]time.Duration{cpuOf(os.Getpid()), cpuOf(guard)}
	for _, pid := range templatesOf(guard) {
		all[1] += cpuOf(pid)
	}
	return all
}

// cpuOf is what a process and its reaped children have used.
func cpuOf(pid int) time.Duration {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	ticks := 0
	for _, f := range fields[11:15] { // utime, stime, cutime, cstime
		n, _ := strconv.Atoi(f)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// settled waits until n executors are idle.
func (e *engine) settled(n int) {
	for {
		e.pool.mu.Lock()
		idle := len(e.pool.bares[0].idle)
		for _, l := range e.pool.recent {
			idle += len(l.idle)
		}
		ok := idle >= n && e.pool.starting == 0
		e.pool.mu.Unlock()
		if ok {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
