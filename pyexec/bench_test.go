package pyexec

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// benchWay is ahead unless executorTestEnv says otherwise.
func benchWay() string {
	if way := os.Getenv(executorTestEnv); way != "" {
		return way
	}
	return ahead
}

// BenchmarkWarm is the latency of a no-op on an executor that is ready: from Run to the result.
func BenchmarkWarm(b *testing.B) {
	e := newEngine(b, func(c *Config) { c.Warm, c.Executor = 4, benchWay() })
	var took []time.Duration
	for b.Loop() {
		e.settled(4)
		begin := time.Now()
		h := e.start(Job{Target: "noop"})
		<-h.got
		took = append(took, time.Since(begin))
		h.wait(b)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkHello is a workflow that calls one task, one after the other without a pause: refilling competes with it.
func BenchmarkHello(b *testing.B) {
	e := newEngine(b, func(c *Config) { c.Warm, c.Executor = 4, benchWay() })
	var took []time.Duration
	e.settled(4)
	for b.Loop() {
		begin := time.Now()
		h := e.start(Job{Target: "hello", Arguments: values(b, "Joe")})
		<-h.got
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkSaturated keeps 8 executions going.
func BenchmarkSaturated(b *testing.B) {
	e := newEngine(b, func(c *Config) { c.Warm, c.Executor = 4, benchWay() })
	b.SetParallelism(4)
	e.settled(4)
	used := e.cpu()
	begin := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			e.start(Job{Target: "noop"}).wait(b)
		}
	})
	b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "exec/s")
	e.settled(4)
	after := e.cpu()
	b.ReportMetric(float64((after[0]-used[0]).Microseconds())/float64(b.N), "pool-cpu-µs/exec")
	b.ReportMetric(float64((after[1]-used[1]).Microseconds())/float64(b.N), "process-cpu-µs/exec")
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
