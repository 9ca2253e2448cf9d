package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/cmd/internal/bench"
	"github.com/coflux-mesh/coflux/cmd/internal/localmesh"
	"github.com/coflux-mesh/coflux/node/api/client"
)

const benchHelp = `
Measures workloads with bodies that do nothing, so that what is left is the engine:

  w1  hello    one run of two executions after the other: submission to result
  w2  chain    a workflow calls a task 100 times and awaits each
  w3  fan-out  a workflow submits 1,000 tasks and gathers them (w3-5000, w3-10000: more)
  w4  burst    500 runs at once, through all nodes
  w6  backlog  how much longer w1 and w4 take while 100,000 runs (--queued) wait that nothing can run
  w5  memory   of the nodes and their Python processes, idle and after the others

Without --host it starts N nodes on this machine as dev does, with 8 slots between them. Python's own
process start, its fork and the disk's fdatasync are measured beside, for comparison. A mesh named by --host
must serve the module that --print-module prints.
`

// benchSlots is the number of slots of the whole mesh.
const benchSlots = 8

// benchOptions measure a mesh.
type benchOptions struct {
	nodes              int
	workloads          []string
	python             string
	queued             int
	trace, printModule bool
	flags              *pflag.FlagSet
}

func (o *benchOptions) AddFlags(f *pflag.FlagSet) {
	o.flags = f
	f.IntVar(&o.nodes, "nodes", 1, "start `N` nodes on this machine")
	f.StringSliceVar(&o.workloads, "workload", nil, "run only these, `w1,w2,..`; if not given: all but w3-5000, w3-10000 and w6")
	f.IntVar(&o.queued, "queued", 100_000, "for w6: `N` runs that nothing can run")
	f.BoolVar(&o.trace, "trace", false, "show where the time of one child call goes, stage by stage")
	f.StringVar(&o.python, "python", "", "run this `INTERPRETER`")
	f.BoolVar(&o.printModule, "print-module", false, "print the Python module of the workloads and do nothing else")
}

// benchReport is the JSON form.
type benchReport struct {
	Version  string          `json:"version"`
	Nodes    int             `json:"nodes"`
	Slots    int             `json:"slots"`
	StartMS  float64         `json:"startMs,omitempty"` // until the first node answers
	ReadyMS  float64         `json:"readyMs,omitempty"` // until all serve the module
	Baseline bench.Baseline  `json:"baseline"`
	Figures  []bench.Figure  `json:"workloads"`
	Idle     *bench.Memory   `json:"memoryIdle,omitempty"`
	After    *bench.Memory   `json:"memoryAfter,omitempty"`
	Stages   []bench.Stage   `json:"trace,omitempty"`
	names    map[string]bool // of the workloads asked for
}

func (o *benchOptions) run(ctx context.Context, a *app, args []string) error {
	if o.printModule {
		_, err := fmt.Fprint(a.stdout, bench.Source)
		return err
	}
	if o.queued < 1 || o.queued > 1_000_000 {
		return fmt.Errorf("--queued %d is not possible: give 1 to 1000000", o.queued)
	}
	names, err := bench.Workloads(o.workloads)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "coflux-bench-")
	if err != nil {
		return fmt.Errorf("make a directory for the benchmark: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	report := &benchReport{Version: o.version(), Nodes: o.nodes, Slots: benchSlots, names: map[string]bool{}}
	for _, n := range names {
		report.names[n] = true
	}
	if report.Baseline, err = bench.MeasureBaseline(ctx, o.python, dir, runtime.NumCPU()); err != nil {
		return err
	}
	if o.flags.Changed("host") {
		err = o.remote(ctx, a, names, report)
	} else {
		err = o.local(ctx, a, dir, names, report)
	}
	if err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		return err
	}
	if a.json() {
		return a.printJSONValue(report)
	}
	return a.printBench(report)
}

// remote measures the mesh that --host names.
func (o *benchOptions) remote(ctx context.Context, a *app, names []string, report *benchReport) error {
	if o.flags.Changed("nodes") {
		return errors.New("--nodes starts nodes here and --host names others: leave one of them out")
	}
	c, workspace, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	doc, err := c.Nodes(ctx)
	if err != nil {
		return fmt.Errorf("failed to list nodes: %w", err)
	}
	report.Nodes, report.Slots = len(doc.Value.Nodes), 0
	clients := []*client.Client{c}
	for _, n := range doc.Value.Nodes {
		if n.Slots != nil {
			report.Slots += *n.Slots
		}
		if base, err := baseURL(n.HTTP, a.opts.secure); err == nil && !n.Self && n.State == "alive" {
			clients = append(clients, a.clientOf(base))
		}
	}
	b := &bench.Bench{Clients: clients, Workspace: workspace, Queued: o.queued, Progress: o.progress(a)}
	if err := b.Check(ctx); err != nil {
		if errors.Is(err, bench.ErrNoModule) {
			return &hintError{err, "'coflux bench --print-module > " + bench.Module + ".py' beside the modules of each node, and --repo " + bench.Module}
		}
		return err
	}
	return o.measure(ctx, b, names, report)
}

// local starts nodes, measures and stops them. W6 has a second mesh to compare with.
func (o *benchOptions) local(ctx context.Context, a *app, dir string, names []string, report *benchReport) (err error) {
	if err := bench.WriteModule(dir); err != nil {
		return err
	}
	b, stop, err := o.start(ctx, a, dir, report)
	defer func() { err = cmp.Or(err, stop()) }()
	if err != nil {
		return err
	}
	if report.names["w6"] {
		beside, stop, err := o.start(ctx, a, dir, &benchReport{})
		defer func() { _ = stop() }() // an error of it changes nothing that was measured
		if err != nil {
			return err
		}
		b.Beside = beside
	}
	return o.measure(ctx, b, names, report)
}

// start starts a mesh to measure; stop is to be called in any case.
func (o *benchOptions) start(ctx context.Context, a *app, dir string, report *benchReport) (b *bench.Bench, stop func() error, err error) {
	slots := (benchSlots + o.nodes - 1) / max(o.nodes, 1)
	report.Slots = slots * o.nodes
	start := time.Now()
	mesh, err := localmesh.Start(localmesh.Config{
		Nodes: o.nodes, Repos: []string{bench.Module}, Required: []string{bench.Module}, Path: []string{dir}, Python: o.python, Concurrency: slots,
		Workspace: a.opts.workspace, Project: a.opts.project, Drain: devDrain, Progress: o.progress(a),
	})
	if err != nil {
		return nil, func() error { return nil }, err
	}
	stop = func() error {
		stopping, cancel := context.WithTimeout(context.Background(), devDrain+10*time.Second)
		defer cancel()
		return mesh.Stop(stopping, false)
	}
	if err := mesh.Answering(ctx, readyTimeout); err != nil {
		return nil, stop, err
	}
	report.StartMS = float64(time.Since(start).Milliseconds())
	if err := mesh.Ready(ctx, readyTimeout); err != nil {
		return nil, stop, err
	}
	report.ReadyMS = float64(time.Since(start).Milliseconds())
	b = &bench.Bench{Queued: o.queued, Progress: o.progress(a)}
	if b.Workspace, err = mesh.WorkspaceID(ctx); err != nil {
		return nil, stop, err
	}
	for _, n := range mesh.Nodes {
		c := *n.Client
		c.DialPatience = 0
		b.Clients, b.PIDs = append(b.Clients, &c), append(b.PIDs, n.PID())
	}
	return b, stop, nil
}

func (o *benchOptions) measure(ctx context.Context, b *bench.Bench, names []string, report *benchReport) error {
	memory := func() (*bench.Memory, error) {
		if len(b.PIDs) == 0 || !report.names["w5"] {
			return nil, nil
		}
		m, err := bench.MeasureMemory(b.PIDs)
		return &m, err
	}
	var err error
	if report.Idle, err = memory(); err != nil {
		return err
	}
	for _, name := range names {
		if name == "w5" {
			continue
		}
		f, err := b.Run(ctx, name)
		if err != nil {
			return err
		}
		report.Figures = append(report.Figures, f...)
	}
	if report.After, err = memory(); err != nil {
		return err
	}
	if o.trace {
		report.Stages, err = b.Trace(ctx)
	}
	return err
}

func (o *benchOptions) progress(a *app) func(string) {
	return func(s string) { fmt.Fprintln(a.stderr, s) }
}
