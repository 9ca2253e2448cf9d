package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Baseline is what the machine itself can do, measured beside the workloads.
type Baseline struct {
	CPUs        int     `json:"cpus"`
	Load        float64 `json:"load"` // of the last minute, before the benchmark
	Python      string  `json:"python"`
	ForkMS      float64 `json:"pythonForkMs"`      // fork and exit of a child of a bare Python process
	ForkRate    float64 `json:"pythonForksPerSec"` // one after the other
	StartMS     float64 `json:"pythonStartMs"`     // start and end of a new interpreter
	FdatasyncMS float64 `json:"fdatasyncMs"`       // median after a write of 300 bytes, in the data directory
	Fdatasync99 float64 `json:"fdatasyncP99Ms"`
}

const forkScript = `
import os, sys, time
n = 300
start = time.perf_counter()
for _ in range(n):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
print(sys.version.split()[0], (time.perf_counter() - start) / n, sys.executable)
`

// MeasureBaseline measures the machine with this interpreter and this directory's disk.
func MeasureBaseline(ctx context.Context, python, dir string, cpus int) (Baseline, error) {
	if python == "" {
		python = "python3"
	}
	base := Baseline{CPUs: cpus}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		base.Load, _ = strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	}
	out, err := exec.CommandContext(ctx, python, "-S", "-c", forkScript).Output()
	if err != nil {
		return base, fmt.Errorf("measure the forks of %s: %w", python, err)
	}
	fields := strings.SplitN(strings.TrimSpace(string(out)), " ", 3)
	if len(fields) != 3 {
		return base, fmt.Errorf("measure the forks of %s: it printed %q", python, out)
	}
	seconds, err := strconv.ParseFloat(fields[1], 64)
	if err != nil || seconds <= 0 {
		return base, fmt.Errorf("measure the forks of %s: it printed %q", python, out)
	}
	base.Python, base.ForkMS, base.ForkRate = fields[0], round(seconds*1000), round(1/seconds)
	// The name may be a script that looks for the interpreter: nodes start the interpreter itself.
	if fields[2] != "" {
		python = fields[2]
	}
	var starts []time.Duration
	for range 10 {
		start := time.Now()
		if err := exec.CommandContext(ctx, python, "-c", "pass").Run(); err != nil {
			return base, fmt.Errorf("start %s: %w", python, err)
		}
		starts = append(starts, time.Since(start))
	}
	slices.Sort(starts)
	base.StartMS = ms(percentile(starts, 0.5))
	syncs, err := fdatasyncs(filepath.Join(dir, "fdatasync"))
	if err != nil {
		return base, err
	}
	base.FdatasyncMS, base.Fdatasync99 = ms(percentile(syncs, 0.5)), ms(percentile(syncs, 0.99))
	return base, nil
}

func fdatasyncs(path string) ([]time.Duration, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("measure fdatasync: %w", err)
	}
	defer func() { _ = f.Close(); _ = os.Remove(path) }()
	row := make([]byte, 300)
	var took []time.Duration
	for range 300 {
		if _, err := f.Write(row); err != nil {
			return nil, fmt.Errorf("measure fdatasync: %w", err)
		}
		start := time.Now()
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return nil, fmt.Errorf("measure fdatasync: %w", err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took, nil
}

// Memory is the resident memory of the mesh, in MiB.
type Memory struct {
	Nodes    []float64 `json:"nodesMiB"`     // each node's process
	Children int       `json:"children"`     // processes below the nodes
	PythonMB float64   `json:"childrenMiB"`  // their proportional share, in sum
	PeakNode float64   `json:"peakNodeMiB"`  // highest a node ever had
	CPU      float64   `json:"nodesCpuSec"`  // used by the nodes so far
	ChildCPU float64   `json:"reapedCpuSec"` // used by ended processes that a node itself has reaped
}

// MeasureMemory looks at the nodes and all processes below them.
func MeasureMemory(pids []int) (Memory, error) {
	var m Memory
	below := descendants(pids)
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return m, fmt.Errorf("read the memory of node process %d: %w", pid, err)
		}
		m.Nodes = append(m.Nodes, round(kib(string(status), "VmRSS:")/1024))
		m.PeakNode = max(m.PeakNode, round(kib(string(status), "VmHWM:")/1024))
		own, reaped := cpu(pid)
		m.CPU, m.ChildCPU = m.CPU+own, m.ChildCPU+reaped
	}
	total := 0.0
	for _, pid := range below {
		rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue // it has just ended
		}
		m.Children++
		total += kib(string(rollup), "Pss:")
	}
	m.PythonMB = round(total / 1024)
	return m, nil
}

// kib reads a line such as "VmRSS:  1234 kB".
func kib(text, key string) float64 {
	for l := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(l, key); ok {
			n, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return n
		}
	}
	return 0
}

// stat returns the fields of /proc/PID/stat behind the name, which may hold anything.
func stat(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
}

// cpu is the time used by a process and by its reaped children, in seconds; the kernel counts in 1/100 s.
func cpu(pid int) (own, reaped float64) {
	f := stat(pid)
	if len(f) < 15 {
		return 0, 0
	}
	n := make([]float64, 4)
	for i := range n {
		n[i], _ = strconv.ParseFloat(f[11+i], 64)
	}
	return (n[0] + n[1]) / 100, (n[2] + n[3]) / 100
}

// descendants of processes.
func descendants(roots []int) []int {
	children := map[int][]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if f := stat(pid); len(f) > 1 {
			parent, _ := strconv.Atoi(f[1])
			children[parent] = append(children[parent], pid)
		}
	}
	var found []int
	queue := slices.Clone(roots)
	for len(queue) > 0 {
		next := children[queue[0]]
		found, queue = append(found, next...), append(queue[1:], next...)
	}
	return found
}
