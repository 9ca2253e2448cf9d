package scheduler

import (
	"maps"
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
)

// registered gives what is registered in a workspace: definitions by module/name.
func (r *rig) registered(workspace string) map[string]string {
	out := map[string]string{}
	for w := range r.store.View().Workflows(workspace) {
		out[w.Module+"/"+w.Name] = string(w.Definition)
	}
	return out
}

func module(name string, flows ...string) ModuleManifest {
	m := ModuleManifest{Module: name}
	for _, f := range flows {
		name, definition, _ := strings.Cut(f, " ")
		m.Workflows = append(m.Workflows, WorkflowDefinition{name, []byte(definition)})
	}
	return m
}

func TestRegisterManifests(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w, other := r.room("p", "w", ""), r.room("p", "other", "")
	register := func(modules ...ModuleManifest) { r.ok(&RegisterManifests{Workspace: w, Modules: modules}) }
	see := func(want map[string]string) {
		t.Helper()
		if diff := cmp.Diff(want, r.registered(w)); diff != "" {
			t.Error(diff)
		}
	}
	register(module("m", "a 1", "b 1"), module("m.sub", "a 1"), module("n", "a 1"))
	all := map[string]string{"m/a": "1", "m/b": "1", "m.sub/a": "1", "n/a": "1"}
	see(all)
	register(module("m", "a 1", "b 1"))
	if r.entry > 200 {
		t.Errorf("registering what is registered writes %d bytes", r.entry)
	}
	at := r.store.View().Workflow(w, "m", "a").RegisteredAt
	r.now += 10
	register(module("m", "a 1", "c 2"))
	maps.DeleteFunc(all, func(name, _ string) bool { return name == "m/b" })
	all["m/c"] = "2"
	see(all)
	if got := r.store.View().Workflow(w, "m", "a").RegisteredAt; got != at {
		t.Error("what stayed as it was was registered anew")
	}
	r.ok(&ArchiveModule{Workspace: w, Module: "m"})
	r.ok(&ArchiveModule{Workspace: w, Module: "unknown"})
	see(map[string]string{"m.sub/a": "1", "n/a": "1"})
	if got := r.registered(other); len(got) != 0 {
		t.Errorf("in the other workspace is registered %v", got)
	}
	r.refused(CodeNotFound, &RegisterManifests{Workspace: "Wnone"})
	r.refused(CodeNotFound, &ArchiveModule{Workspace: "Wnone", Module: "m"})
	r.refused(CodeTooLarge, &RegisterManifests{Workspace: w, Modules: []ModuleManifest{module("n", "a "+strings.Repeat("x", state.MaxEntry))}})
	see(map[string]string{"m.sub/a": "1", "n/a": "1"})
}

func TestRegisterManifestsOfASession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	r.session("S1", 1)
	q := &RegisterManifests{Session: "S1", Modules: []ModuleManifest{module("m", "a 1")}}
	if a := r.ok(q); a.WorkspaceID != w || len(r.registered(w)) != 1 {
		t.Errorf("%+v, registered %v", a, r.registered(w))
	}
	r.ok(&LoseSession{Session: "S1"})
	r.refused(CodeFenced, q)
	if len(r.registered(w)) != 1 {
		t.Error("the loss of a session ended what it had registered")
	}
	r.ok(&ArchiveWorkspace{Workspace: w})
	r.drain()
	if len(r.registered(w)) != 0 {
		t.Error("something is registered in an archived workspace")
	}
}
