package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/node"
	"github.com/coflux-mesh/coflux/pyexec"
)

// discoverOptions say which modules to import here, and with what.
type discoverOptions struct {
	adapter, path []string
	python        string
}

func (o *discoverOptions) AddFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.adapter, "adapter", nil, "run this `COMMAND` (words separated by commas) that speaks the adapter protocol, instead of Python")
	f.StringSliceVar(&o.path, "path", nil, "look for modules in this `DIRECTORY` (repeatable); the current directory if not given")
	f.StringVar(&o.python, "python", "", "run this `INTERPRETER`; if not given: the active virtual environment, .venv, venv, python3, python")
}

// discover imports the modules in processes of this machine and gives what they have; all of them must be good.
func (o *discoverOptions) discover(ctx context.Context, a *app, args []string) (pyexec.Discovery, error) {
	modules := first(args, a.listenv("COFLUX_WORKER_MODULES"), a.file.Worker.Modules, a.file.Modules)
	if len(modules) == 0 {
		return pyexec.Discovery{}, &hintError{errors.New("no modules: name those whose workflows are meant"), "for example: example1.repo"}
	}
	scratch, err := os.MkdirTemp("", "coflux-discover-")
	if err != nil {
		return pyexec.Discovery{}, fmt.Errorf("make the scratch directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	pool, err := pyexec.New(pyexec.Config{
		Adapter: first(o.adapter, a.listenv("COFLUX_WORKER_ADAPTER"), a.file.Worker.Adapter), Python: o.python, Path: o.path,
		Modules: modules, Scratch: scratch, Boot: "discover/" + rand.Text(), Executor: "spawn", Logger: hclog.NewNullLogger(),
	})
	if err != nil {
		return pyexec.Discovery{}, err
	}
	if err := pool.Start(ctx); err != nil {
		return pyexec.Discovery{}, err
	}
	d, err := pool.Discover(ctx)
	if stopErr := pool.Stop(context.WithoutCancel(ctx)); err == nil {
		err = stopErr
	}
	if err != nil {
		return d, fmt.Errorf("discovery failed: %w", err)
	}
	for _, m := range d.Modules {
		if m.Error != "" {
			return d, fmt.Errorf("discovery failed: module %s: %s", m.Name, m.Error)
		}
	}
	return d, nil
}

// manifestsDiscoverOptions show what the modules have, without a node.
type manifestsDiscoverOptions struct{ discoverOptions }

// discovered is a target in the manifest's form (adapter-protocol 1.1), without what is not set.
type discovered struct {
	pyexec.Target
	Parameters []discoveredParameter `json:"parameters"`
}

type discoveredParameter struct {
	Name       string  `json:"name"`
	Annotation *string `json:"annotation,omitempty"`
	Default    *string `json:"default,omitempty"`
}

func (o *manifestsDiscoverOptions) run(ctx context.Context, a *app, args []string) error {
	d, err := o.discover(ctx, a, args)
	if err != nil {
		return err
	}
	var found []discovered
	for _, m := range d.Modules {
		for _, t := range m.Targets {
			if t.Type != "workflow" || t.IsStub {
				continue
			}
			w := discovered{Target: t, Parameters: []discoveredParameter{}}
			for _, p := range t.Parameters {
				w.Parameters = append(w.Parameters, discoveredParameter{p.Name, p.Annotation, p.Default})
			}
			found = append(found, w)
		}
	}
	slices.SortFunc(found, func(x, y discovered) int {
		return cmp.Or(strings.Compare(x.Module, y.Module), strings.Compare(x.Name, y.Name))
	})
	if a.json() {
		b, err := json.Marshal(map[string][]discovered{"targets": found})
		if err != nil {
			return err
		}
		return a.printJSON(b)
	}
	if len(found) == 0 {
		fmt.Fprintln(a.stdout, "No workflows discovered.")
	}
	for _, t := range found {
		fmt.Fprintln(a.stdout, printable(t.Module+"/"+t.Name))
	}
	return nil
}

// manifestsRegisterOptions make the workflows of modules known to the mesh.
type manifestsRegisterOptions struct{ discoverOptions }

func (o *manifestsRegisterOptions) run(ctx context.Context, a *app, args []string) error {
	d, err := o.discover(ctx, a, args)
	if err != nil {
		return err
	}
	manifests, err := node.Manifests(d)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	workspace, err := a.ensureWorkspace(ctx, c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, submitPatience)
	defer cancel()
	if err := c.RegisterManifests(ctx, workspace, manifests); err != nil {
		return fmt.Errorf("failed to register manifests: %w", err)
	}
	if a.json() {
		return a.printJSONValue(map[string]bool{"registered": true})
	}
	fmt.Fprintln(a.stdout, "Manifest(s) registered.")
	return nil
}

// manifestsArchiveOptions make the mesh forget a module's workflows.
type manifestsArchiveOptions struct{}

func (o *manifestsArchiveOptions) AddFlags(*pflag.FlagSet) {}

func (o *manifestsArchiveOptions) run(ctx context.Context, a *app, args []string) error {
	c, workspace, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, submitPatience)
	defer cancel()
	if err := c.ArchiveModule(ctx, workspace, args[0]); err != nil {
		return fmt.Errorf("failed to archive module: %w", err)
	}
	if a.json() {
		return a.printJSONValue(map[string]bool{"archived": true})
	}
	fmt.Fprintf(a.stdout, "Archived module '%s'.\n", printable(args[0]))
	return nil
}
