package scheduler_test

import (
	"fmt"
	"maps"
	"math/rand/v2"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// drawModules makes manifests of one or two modules, one of them perhaps without workflows.
func drawModules(rng *rand.Rand) (modules []scheduler.ModuleManifest) {
	for _, name := range []string{"m", "n"}[rng.IntN(2):] {
		m := scheduler.ModuleManifest{Module: name}
		for _, flow := range []string{"a", "b", "c"} {
			if rng.IntN(2) == 0 {
				m.Workflows = append(m.Workflows, scheduler.WorkflowDefinition{Name: flow, Definition: fmt.Appendf(nil, `{"delay":%d}`, rng.IntN(3))})
			}
		}
		modules = append(modules, m)
	}
	return modules
}

// register changes what is registered, as a user.
func (u *simUser) register() scheduler.Request {
	id := u.ulid(u.now)
	if u.chance(25) {
		return &scheduler.ArchiveModule{RequestID: id, Workspace: u.pick(""), Module: "m"}
	}
	return &scheduler.RegisterManifests{RequestID: id, Workspace: u.pick(""), Modules: drawModules(u.rng)}
}

// register makes known what the agent serves, or says that it does.
func (a *simAgent) register() {
	if a.chance(40) {
		a.ask(&scheduler.RegisterManifests{Session: a.session, Modules: drawModules(a.rng)}, func(scheduler.Reply) {})
	}
}

// registered follows a registration.
func (o *oracle) registered(r *scheduler.RegisterManifests, reply scheduler.Reply, now int64) error {
	if r.Session != "" {
		s := o.sessions[r.Session]
		if s == nil || s.lost {
			return refusedAs(reply, scheduler.CodeFenced)
		}
		r = &scheduler.RegisterManifests{Workspace: s.workspace, Modules: r.Modules}
	}
	return o.once(r.RequestID, reply, now, func() (string, error) {
		if !o.live(r.Workspace) {
			return "", nil
		}
		flows := o.rooms[r.Workspace].flows
		for _, m := range r.Modules {
			maps.DeleteFunc(flows, func(name, _ string) bool { return name[:2] == m.Module+"/" })
			for _, w := range m.Workflows {
				flows[m.Module+"/"+w.Name] = string(w.Definition)
			}
		}
		return r.Workspace, nil
	})
}

// compareFlows holds what is registered in a workspace against the books. An archived one loses it sooner or later.
func (o *oracle) compareFlows(v *state.View, id string) error {
	if !o.live(id) {
		return nil
	}
	got := map[string]string{}
	for w := range v.Workflows(id) {
		got[w.Module+"/"+w.Name] = string(w.Definition)
	}
	if !maps.Equal(got, o.rooms[id].flows) {
		return fmt.Errorf("in workspace %s is registered %v, want %v", id, got, o.rooms[id].flows)
	}
	return nil
}
