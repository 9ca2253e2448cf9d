package node

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/pyexec"
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
