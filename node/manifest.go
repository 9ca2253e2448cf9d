package node

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/api"
	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/hashicorp/go-hclog"
)

// manifest is what a node tells the others that it can run. It travels by gossip and is only shown: work is placed by
// what sessions declared.
type manifest struct {
	Project   string           `json:"project"`
	Workspace string           `json:"workspace"`
	Slots     int              `json:"slots"`
	Modules   []manifestModule `json:"modules"`
}

// manifestModule is one module; with an Error it serves the Targets of its last good code, if any.
type manifestModule struct {
	Name    string          `json:"name"`
	Error   string          `json:"error,omitempty"`
	Targets []pyexec.Target `json:"targets,omitempty"`
}

func newManifest(cfg Config, d pyexec.Discovery) manifest {
	m := manifest{Project: cfg.Project, Workspace: cfg.Workspace, Slots: cfg.Concurrency}
	for _, mod := range d.Modules {
		m.Modules = append(m.Modules, manifestModule{mod.Name, mod.Error, mod.Targets})
	}
	return m
}

func (m manifest) encode() ([]byte, error) { return json.Marshal(m) }

func decodeManifest(data []byte) (m manifest, err error) {
	err = json.Unmarshal(data, &m)
	return m, err
}

// declared are the targets as a session declares them.
func declared(d pyexec.Discovery) (targets []state.DeclaredTarget) {
	for _, m := range d.Modules {
		for _, t := range m.Targets {
			if !t.IsStub {
				targets = append(targets, state.DeclaredTarget{Module: t.Module, Name: t.Name, Type: state.TargetType(t.Type)})
			}
		}
	}
	slices.SortFunc(targets, func(a, b state.DeclaredTarget) int {
		return cmp.Or(strings.Compare(a.Module, b.Module), strings.Compare(a.Name, b.Name))
	})
	return targets
}

// Manifests are the workflows that modules have, as they are registered: module -> name -> definition. A module that can
// not be imported is not among them.
func Manifests(d pyexec.Discovery) (map[string]map[string]json.RawMessage, error) {
	out := map[string]map[string]json.RawMessage{}
	of := func(module string) map[string]json.RawMessage {
		if out[module] == nil {
			out[module] = map[string]json.RawMessage{}
		}
		return out[module]
	}
	for _, mod := range d.Modules {
		if mod.Error != "" && len(mod.Targets) == 0 {
			continue
		}
		of(mod.Name)
		for _, t := range mod.Targets {
			if t.Type != string(state.TypeWorkflow) || t.IsStub {
				continue
			}
			definition, err := workflow(t).Definition()
			if err != nil {
				return nil, fmt.Errorf("the definition of %s/%s: %w", t.Module, t.Name, err)
			}
			of(t.Module)[t.Name] = definition
		}
	}
	return out, nil
}

// manifests are what is to be registered of a discovery. What cannot be imported stays as it was registered; before is
// what this start has registered, of which modules may be gone.
func manifests(d pyexec.Discovery, before []scheduler.ModuleManifest) (out []scheduler.ModuleManifest, err error) {
	modules, err := Manifests(d)
	if err != nil {
		return nil, err
	}
	broken := map[string]bool{}
	for _, mod := range d.Modules {
		broken[mod.Name] = mod.Error != ""
	}
	for _, m := range before {
		if modules[m.Module] == nil && !broken[m.Module] {
			modules[m.Module] = map[string]json.RawMessage{}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		m := scheduler.ModuleManifest{Module: name}
		for _, flow := range slices.Sorted(maps.Keys(modules[name])) {
			m.Workflows = append(m.Workflows, scheduler.WorkflowDefinition{Name: flow, Definition: modules[name][flow]})
		}
		out = append(out, m)
	}
	return out, nil
}

// workflow is a target as the interface describes it.
func workflow(t pyexec.Target) api.Workflow {
	w := api.Workflow{WaitFor: t.WaitFor, Delay: int64(t.Delay), Recurrent: t.Recurrent, Timeout: int64(t.Timeout),
		Requires: t.Requires, Memo: bytes.Equal(t.Memo, []byte("true")), Instruction: t.Instruction, Durable: t.Durable}
	for _, p := range t.Parameters {
		w.Parameters = append(w.Parameters, api.Parameter{Name: p.Name, Default: p.Default, Annotation: p.Annotation})
	}
	if c := t.Cache; c != nil {
		w.Cache = &api.Cache{Params: c.Params, MaxAge: (*int64)(c.MaxAgeMS), Namespace: orNil(c.Namespace), Version: orNil(c.Version)}
	}
	if l := t.Limits; l != nil {
		w.Limits = &api.Limits{Memory: l.Memory, CPU: l.CPU, Files: l.Files}
	}
	if t.Defer != nil {
		w.Defer = &api.Defer{Params: t.Defer.Params}
	}
	if r := t.Retries; r != nil {
		w.Retries = &api.Retries{Limit: r.Limit, BackoffMin: int64(r.BackoffMinMS), BackoffMax: int64(r.BackoffMaxMS)}
	}
	return w
}

// registering are the manifests to register for what the modules offer now, nil for none. last is what this start has
// registered before, and then this.
func registering(log hclog.Logger, d pyexec.Discovery, last *[]scheduler.ModuleManifest) []scheduler.ModuleManifest {
	all, err := manifests(d, *last)
	if err != nil {
		log.Error("the workflows are not registered", "error", err)
		return nil
	}
	*last = all
	return all
}

// logModules says what the modules offer now.
func logModules(log hclog.Logger, d pyexec.Discovery) {
	for _, m := range d.Modules {
		if m.Error != "" {
			log.Error("module cannot be imported", "module", m.Name, "reason", m.Error, "still-serving", len(m.Targets))
			if m.Traceback != "" {
				log.Debug("traceback of the import", "module", m.Name, "traceback", m.Traceback)
			}
			continue
		}
		if len(m.Targets) == 0 {
			log.Warn("module has no tasks and no workflows: does Python find another module of that name?", "module", m.Name)
			continue
		}
		log.Info("module served", "module", m.Name, "targets", len(m.Targets), "generation", d.Generation)
	}
}
