// Package bench measures a mesh with fixed workloads, and the machine below it, so that ratios can be compared.
package bench

import (
	"context"
	_ "embed" // for Source
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// Module is the name of the Python module that the workloads call.
const Module = "coflux_bench"

// Source is its text.
//
//go:embed coflux_bench.py
var Source string

// WriteModule writes the module into a directory.
func WriteModule(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, Module+".py"), []byte(Source), 0o600); err != nil {
		return fmt.Errorf("write the benchmark's module: %w", err)
	}
	return nil
}

// Names of the workloads that are run if none is named, in their order, and of all.
var (
	defaults = []string{"w1", "w2", "w3", "w4", "w5"}
	all      = []string{"w1", "w2", "w3", "w3-5000", "w3-10000", "w4", "w6", "w5"}
)

// Workloads checks names; none means the usual ones. The result is in the order in which they are run.
func Workloads(names []string) ([]string, error) {
	if len(names) == 0 {
		return defaults, nil
	}
	for _, n := range names {
		if !slices.Contains(all, n) {
			return nil, fmt.Errorf("the workload %q is unknown: there are %v", n, all)
		}
	}
	var ordered []string
	for _, n := range all {
		if slices.Contains(names, n) {
			ordered = append(ordered, n)
		}
	}
	return ordered, nil
}

// Bench runs workloads on a mesh that serves Module.
type Bench struct {
	Clients   []*client.Client // of all nodes, or of one
	Workspace string           // id
	PIDs      []int            // of the nodes, where they are known
	Queued    int              // runs that nothing can run, for w6
	Beside    *Bench           // a mesh like this one without these, to compare with; nil for none
	Progress  func(string)
}

// Figure is what one workload gave. Which fields are set depends on the workload.
type Figure struct {
	Name   string  `json:"name"`
	What   string  `json:"what"`
	Unit   string  `json:"unit"`
	Value  float64 `json:"value"` // the figure to compare with the targets
	P50    float64 `json:"p50,omitempty"`
	P90    float64 `json:"p90,omitempty"`
	P99    float64 `json:"p99,omitempty"`
	Count  int     `json:"count"`
	Higher bool    `json:"higherIsBetter"`
}

// Run runs one workload; w5 is measured by Memory.
func (b *Bench) Run(ctx context.Context, name string) ([]Figure, error) {
	switch name {
	case "w1":
		return one(b.hello(ctx))
	case "w2":
		return one(b.chain(ctx))
	case "w3":
		return one(b.fanOut(ctx, name, 1000))
	case "w3-5000":
		return one(b.fanOut(ctx, name, 5000))
	case "w3-10000":
		return one(b.fanOut(ctx, name, 10_000))
	case "w4":
		return one(b.burst(ctx))
	case "w6":
		return b.backlog(ctx)
	}
	return nil, fmt.Errorf("the workload %q cannot be run", name)
}

func one(f Figure, err error) ([]Figure, error) { return []Figure{f}, err }

func (b *Bench) say(format string, args ...any) {
	if b.Progress != nil {
		b.Progress(fmt.Sprintf(format, args...))
	}
}

func (b *Bench) client(i int) *client.Client { return b.Clients[i%len(b.Clients)] }

// submit starts a workflow of the module.
func (b *Bench) submit(ctx context.Context, c *client.Client, target string, arg any) (string, error) {
	text, err := json.Marshal(arg)
	if err != nil {
		return "", err
	}
	got, err := c.Submit(ctx, client.SubmitRequest{WorkspaceID: b.Workspace, Module: Module, Target: target, Arguments: []string{string(text)}})
	if err != nil {
		return "", fmt.Errorf("submit %s: %w", target, err)
	}
	return got.RunID, nil
}

// await waits for a run's value.
func (b *Bench) await(ctx context.Context, c *client.Client, run string) error {
	for {
		got, err := c.AwaitRun(ctx, b.Workspace, run, 30*time.Second)
		switch {
		case err != nil:
			return fmt.Errorf("wait for run %s: %w", run, err)
		case !got.Done || got.Result == nil:
			continue
		case got.Result.OK():
			return nil
		case got.Result.Error != nil:
			return fmt.Errorf("run %s failed: %s: %s", run, got.Result.Error.Type, got.Result.Error.Message)
		}
		return fmt.Errorf("run %s ended as %s", run, got.Result.Type)
	}
}

// time runs a workflow to its end.
func (b *Bench) time(ctx context.Context, c *client.Client, target string, arg any) (run string, took time.Duration, err error) {
	start := time.Now()
	if run, err = b.submit(ctx, c, target, arg); err == nil {
		err = b.await(ctx, c, run)
	}
	return run, time.Since(start), err
}

// percentile is the nearest rank; p is 0 to 1.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(math.Ceil(p*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

func ms(d time.Duration) float64 { return round(float64(d) / float64(time.Millisecond)) }

// round keeps three significant figures, so that the output does not pretend more.
func round(x float64) float64 {
	if x == 0 {
		return 0
	}
	scale := math.Pow(10, 2-math.Floor(math.Log10(math.Abs(x))))
	return math.Round(x*scale) / scale
}

// ErrNoModule means that the mesh does not serve the module.
var ErrNoModule = errors.New("the mesh does not serve the module " + Module)

// Check looks whether the mesh serves the module.
func (b *Bench) Check(ctx context.Context) error {
	doc, err := b.Clients[0].Manifests(ctx, b.Workspace)
	if err != nil {
		return fmt.Errorf("read the manifests: %w", err)
	}
	if _, ok := doc.Value[Module]["hello"]; !ok {
		return ErrNoModule
	}
	return nil
}
