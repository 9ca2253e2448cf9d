package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/coflux-mesh/coflux/cmd/internal/bench"
	"github.com/coflux-mesh/coflux/cmd/internal/daemon"
)

func (o *benchOptions) version() string { return daemon.Version() }

// benchTargets are gate and goal by the beginning of a figure's name, for one node and for three.
var benchTargets = map[string]map[int][2]float64{
	"W1": {1: {10, 5}, 3: {18, 9}},
	"W2": {1: {4, 2}, 3: {8, 4}},
	"W3": {1: {350, 800}, 3: {250, 450}},
	"W4": {1: {150, 300}, 3: {100, 180}},
	"W6": {1: {1.1, 1}, 3: {1.1, 1}},
}

func number(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// printBench prints the report as text.
func (a *app) printBench(r *benchReport) error {
	b := r.Baseline
	fmt.Fprintf(a.stdout, "coflux %s, %s, %d slots, %d CPUs, Python %s\n", r.Version, count(r.Nodes, "node"), r.Slots, b.CPUs, b.Python)
	fmt.Fprintf(a.stdout, "This machine: Python forks and exits in %s ms (%s/s), starts in %s ms; fdatasync %s ms (p99 %s ms)\n",
		number(b.ForkMS), number(b.ForkRate), number(b.StartMS), number(b.FdatasyncMS), number(b.Fdatasync99))
	if b.Load > float64(b.CPUs)/2 {
		fmt.Fprintf(a.stdout, "The machine was busy before (load %s): the figures are worse than it can do\n", number(b.Load))
	}
	if r.StartMS > 0 {
		fmt.Fprintf(a.stdout, "Started: every node answers after %s ms, all serve the module after %s ms\n", number(r.StartMS), number(r.ReadyMS))
	}
	fmt.Fprintln(a.stdout)
	if err := a.table(figureRows(r)); err != nil {
		return err
	}
	if r.Idle != nil && r.After != nil {
		fmt.Fprintf(a.stdout, "\nW5 memory       idle: %s; after: %s; peak of a node %s MiB\n", memoryText(r.Idle), memoryText(r.After), number(r.After.PeakNode))
	}
	if len(r.Stages) > 0 {
		fmt.Fprintln(a.stdout, "\nOne child call, medians:")
		rows := [][]string{{"Stage", "ms after the one before", "ms since the first", "Measured"}}
		for _, s := range r.Stages {
			rows = append(rows, []string{s.Name, number(s.SinceMS), number(s.AtMS), strconv.Itoa(s.Measured)})
		}
		return a.table(rows)
	}
	return nil
}

func figureRows(r *benchReport) [][]string {
	rows := [][]string{{"Workload", "Measured", "p90", "p99", "Gate", "Goal", "What"}}
	for _, f := range r.Figures {
		gate, goal := "-", "-"
		if t, ok := benchTargets[f.Name[:2]][r.Nodes]; ok {
			gate, goal = number(t[0]), number(t[1])
			switch met := func(x float64) bool { return f.Higher && f.Value >= x || !f.Higher && f.Value <= x }; {
			case met(t[1]):
				goal += " (met)"
			case met(t[0]):
				gate += " (met)"
			}
		}
		rows = append(rows, []string{f.Name, number(f.Value) + " " + f.Unit, orNone(f.P90), orNone(f.P99), gate, goal, f.What})
	}
	return rows
}

func orNone(x float64) string {
	if x == 0 {
		return "-"
	}
	return number(x)
}

func memoryText(m *bench.Memory) string {
	var nodes []string
	for _, n := range m.Nodes {
		nodes = append(nodes, number(n))
	}
	return fmt.Sprintf("nodes %s MiB, %d processes below %s MiB", strings.Join(nodes, " "), m.Children, number(m.PythonMB))
}
