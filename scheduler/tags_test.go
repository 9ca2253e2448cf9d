package scheduler

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
)

// tagged opens a session with tags and makes it ready; tags are written as people write them.
func (r *rig) tagged(id, provides, accepts string) {
	r.Helper()
	answer := r.ok(&OpenSession{Session: id, Project: "p", Workspace: "w", Node: "node-" + id, NodeName: id, Boot: "1", Slots: 8,
		Targets:  []state.DeclaredTarget{{Module: "m", Name: "flow", Type: state.TypeWorkflow}, {Module: "m", Name: "task", Type: state.TypeTask}},
		Provides: tagsOf(provides), Accepts: tagsOf(accepts)})
	r.ready(id, answer.WorkspaceID)
}

// tagsOf reads tags between blanks; "name:" is a name without values.
func tagsOf(text string) state.Tags {
	tags := state.Tags{}
	for _, part := range strings.Fields(text) {
		name, value, _ := strings.Cut(part, ":")
		tags[name] = append(tags[name], strings.Fields(value)...)
	}
	return tags
}

// Semantics 6.2.
func TestTagsDecideWhoMayRunWhat(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		provides, accepts, run, step string
		placed                       bool
	}{
		"nothing":                             {"", "", "", "", true},
		"more than is asked for":              {"gpu:a region:eu", "", "", "", true},
		"the run's tag":                       {"gpu:a", "", "gpu:a", "", true},
		"the step's tag":                      {"gpu:a", "", "", "gpu:a", true},
		"one of the run's values":             {"gpu:b", "", "gpu:a gpu:b", "", true},
		"one of its own values":               {"gpu:c gpu:b", "", "gpu:a gpu:b", "", true},
		"no tag":                              {"", "", "gpu:a", "", false},
		"another value":                       {"gpu:b", "", "gpu:a", "", false},
		"the same value of another tag":       {"region:a", "", "gpu:a", "", false},
		"case counts":                         {"GPU:a", "", "gpu:a", "", false},
		"a prefix is not the tag":             {"gp:a gpu:aa", "", "gpu:a", "", false},
		"true is a value like any":            {"gpu:a", "", "gpu:true", "", false},
		"one of two tags":                     {"gpu:a", "", "gpu:a region:eu", "", false},
		"both tags":                           {"gpu:a region:eu", "", "gpu:a", "region:eu", true},
		"the step's list replaces the run's":  {"gpu:b", "", "gpu:a", "gpu:b", true},
		"it does not add to it":               {"gpu:a", "", "gpu:a", "gpu:b", false},
		"an empty list takes the tag off":     {"", "", "gpu:a", "gpu:", true},
		"only that one":                       {"", "", "gpu:a region:eu", "gpu:", false},
		"what it accepts is asked for":        {"", "gpu:a", "gpu:a", "", true},
		"what it accepts is not asked for":    {"", "gpu:a", "", "", false},
		"it accepts another value":            {"gpu:b", "gpu:a", "gpu:b", "", false},
		"one of those that it accepts":        {"", "gpu:a gpu:b", "gpu:b", "", true},
		"all tags that it accepts are needed": {"", "gpu:a region:eu", "gpu:a", "", false},
		"it accepts one and provides another": {"region:eu", "gpu:a", "gpu:a region:eu", "", true},
		"an emptied tag is not asked for":     {"", "gpu:a", "gpu:a", "gpu:", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.tagged("S1", c.provides, c.accepts)
			r.tagged("S2", "gpu:a gpu:b gpu:true region:eu", "")
			submit := submitRun(r.store.View().WorkspaceByName("p", "w").ID, r.now)
			submit.Requires = tagsOf(c.run)
			soft := r.soft.Sessions["S1"]
			delete(r.soft.Sessions, "S1") // so that the parent runs on S2
			parent := r.ok(submit).ExecutionID
			r.soft.Sessions = map[string]SoftSession{"S1": soft}
			child := call("S2", parent, 1)
			child.Requires = tagsOf(c.step)
			id := r.ok(child).ExecutionID
			e := r.execution(id)
			if got := e.Session == "S1"; got != c.placed {
				t.Errorf("placed %v, want %v", got, c.placed)
			}
			r.step(&LoseSession{Session: "S2"})
			if e := r.execution(id); e.Session == "" {
				if reason := NoSession(r.store.View(), e.Class()); (reason == "") != c.placed {
					t.Errorf("the reason is %q", reason)
				}
			}
		})
	}
}

func TestWhyNoSessionFits(t *testing.T) {
	t.Parallel()
	const flow = "the workflow m/flow"
	for want, c := range map[string]struct {
		run   string
		setup func(r *rig)
	}{
		"": {"gpu:a", func(r *rig) { r.tagged("S1", "gpu:a", ""); r.occupy("S1", 8, 8) }},
		"no node serves " + flow + " in this workspace":                        {"", func(*rig) {}},
		"the only nodes that serve " + flow + " are being stopped":             {"", func(r *rig) { r.tagged("S1", "", ""); r.drains("S1") }},
		"no node that serves " + flow + " provides gpu:a":                      {"gpu:a", func(r *rig) { r.tagged("S1", "gpu:b", "") }},
		"no node that serves " + flow + " provides gpu:a or gpu:b":             {"gpu:a gpu:b region:eu", func(r *rig) { r.tagged("S1", "region:eu", "") }},
		"no node that serves " + flow + " provides all of gpu:a and region:eu": {"gpu:a region:eu", func(r *rig) { r.tagged("S1", "region:eu", ""); r.tagged("S2", "gpu:a", "") }},
		"the nodes that serve " + flow + " accept only work that requires tags of theirs (--accepts), and this requires none": {"",
			func(r *rig) { r.tagged("S1", "", "gpu:a") }},
		"the nodes that serve " + flow + " and provide gpu:a accept only work that requires other tags too (--accepts)": {"gpu:a",
			func(r *rig) { r.tagged("S1", "gpu:a", "region:eu") }},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			w := r.workspace()
			c.setup(r)
			submit := submitRun(w, r.now)
			submit.Requires = tagsOf(c.run)
			id := r.ok(submit).ExecutionID
			if got := NoSession(r.store.View(), r.execution(id).Class()); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

func (r *rig) drains(id string) {
	r.Helper()
	r.ok(&UpdateSession{Session: id, Targets: r.store.View().Session(id).Targets, Draining: true})
}

func TestTagsThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	many := state.Tags{}
	for i := range 11 {
		many[fmt.Sprint("t", i)] = []string{"x"}
	}
	r := newRig(t)
	root := r.running()
	for name, tags := range map[string]state.Tags{
		"eleven tags": many, "no name": {"": {"a"}}, "a name with a blank": {"g p": {"a"}}, "a long name": {strings.Repeat("n", 21): {"a"}},
		"an empty value": {"gpu": {""}}, "a value with a comma": {"gpu": {"a,b"}}, "a long value": {"gpu": {strings.Repeat("v", 31)}},
		"eleven values": {"gpu": strings.Split(strings.Repeat("v", 11), "")},
	} {
		if err := CheckTags(tags); err == nil {
			t.Errorf("%s: taken", name)
			continue
		}
		submit, step, session := submitRun(r.execution(root).Workspace, r.now), call("S1", root, 1), open("S9", "N9", "1")
		submit.Requires, step.Requires, session.Accepts = tags, tags, tags
		for _, request := range []Request{submit, step, session} {
			r.refused(CodeBadRequest, request)
		}
	}
	if err := CheckTags(state.Tags{"a-B_9": {"a-B_9"}, "off": {}}); err != nil {
		t.Error(err)
	}
}

func TestParseTags(t *testing.T) {
	t.Parallel()
	got, err := ParseTags([]string{"gpu", " region:eu", "region:us", "region:eu"})
	if diff := cmp.Diff(state.Tags{"gpu": {"true"}, "region": {"eu", "us"}}, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for _, bad := range []string{"", ":", "gpu:", ":a", "a:b:c"} {
		if _, err := ParseTags([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if got, err := ParseTags(nil); got != nil || err != nil {
		t.Errorf("%v %v", got, err)
	}
}

// Work is proportional to what is placed: many executions that require the same, and many that each require something
// that nobody has, cost no more than one of them.
func TestPlacementDoesNotReadWhatNobodyCanRun(t *testing.T) { // not parallel: it counts allocations
	step := func(backlog int) float64 {
		r := newRig(t)
		root := r.running()
		r.tagged("S2", "gpu:a region:eu", "")
		r.tagged("S3", "disk:ssd", "")
		ready := r.soft
		r.soft = Soft{}
		for n := 0; n < backlog; n += 100 {
			var batch []Request
			for i := range 100 {
				c := call("S1", root, int64(n+i+1))
				c.Requires = []state.Tags{
					{"gpu": {"b"}},
					{"gpu": {"b"}, "job": {fmt.Sprint(n, "-", i)}},
					{"job": {fmt.Sprint(n, "-", i)}},
					{"gpu": {"a"}, "job": {fmt.Sprint(n, "-", i)}},
				}[i%4]
				batch = append(batch, c)
			}
			r.step(batch...)
		}
		last := call("S1", root, int64(backlog+1))
		last.Requires = state.Tags{"gpu": {"a", "z"}, "region": {"eu"}}
		id := r.ok(last).ExecutionID
		r.soft = ready
		return testing.AllocsPerRun(20, func() {
			out := Step(r.store.Scratch(), Input{Now: r.now, Random: r.ids, Soft: r.soft})
			if len(out.Events) != 1 || out.Events[0].Session != "S2" || out.Events[0].Execution.String() != id {
				t.Errorf("placed %v", out.Events)
			}
		})
	}
	few, many := step(100), step(5_000)
	if many > 2*few {
		t.Errorf("placing one of 5,000 takes %.0f allocations, one of 100 takes %.0f", many, few)
	}
}
