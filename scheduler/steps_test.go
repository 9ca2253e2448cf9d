package scheduler

import (
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
)

func TestSubmitStepMakesAChild(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	group := 3
	request := call("S1", root, 1)
	request.Group, request.Timeout = &group, 500
	answer := r.ok(request)
	run := r.execution(root).Run
	want := Answer{RunID: run, StepID: run + ":2", ExecutionID: run + ":2:1", Module: "m", Target: "task"}
	if diff := cmp.Diff(want, answer); diff != "" {
		t.Error(diff)
	}
	step := r.store.View().Step(state.StepID{Run: run, Number: 2})
	if step.Parent != root || step.Request != 1 || *step.Group != 3 || step.Timeout != 500 {
		t.Errorf("step is %+v", step)
	}
	e := r.execution(answer.ExecutionID)
	if e.Tier != state.TierChild || e.Workspace != r.execution(root).Workspace {
		t.Errorf("execution is %+v", e)
	}
	// One commit records the call and its placement.
	if diff := cmp.Diff([]string{"assigned S1 " + answer.ExecutionID}, r.events()); diff != "" {
		t.Error(diff)
	}
}

func TestSubmitStepIsRecognisedByItsNumber(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	a := r.ok(call("S1", root, 1))
	again := call("S1", root, 1)
	again.Target = "other"
	if b := r.ok(again); a != b {
		t.Errorf("repeat answered %+v, want %+v", b, a)
	}
	if replies := r.step(call("S1", root, 2), call("S1", root, 2)); replies[0].Answer != replies[1].Answer {
		t.Errorf("repeat in one batch answered %+v", replies)
	}
	if c := r.ok(call("S1", root, 3)); c == a {
		t.Error("another number gave the same step")
	}
	r.ok(valueOf("S1", root, "null"))
	r.now += 48 * hour
	if b := r.ok(call("S1", root, 1)); a != b {
		t.Errorf("late repeat after the caller's end answered %+v, want %+v", b, a)
	}
	if n := r.store.View().Run(a.RunID).Steps; n != 4 {
		t.Errorf("%d steps, want 4", n)
	}
}

func TestSubmitStepRefusals(t *testing.T) {
	t.Parallel()
	with := func(change func(*SubmitStep)) func(*SubmitStep) { return change }
	for name, c := range map[string]struct {
		before func(r *rig, root string)
		change func(*SubmitStep)
		code   string
	}{
		"unknown session":   {change: with(func(s *SubmitStep) { s.Session = "S9" }), code: CodeFenced},
		"another session":   {before: func(r *rig, _ string) { r.session("S2", 1) }, change: with(func(s *SubmitStep) { s.Session = "S2" }), code: CodeFenced},
		"lost session":      {before: func(r *rig, _ string) { r.step(&LoseSession{Session: "S1"}) }, code: CodeFenced},
		"unknown parent":    {change: with(func(s *SubmitStep) { s.Parent = "Rnone:1:1" }), code: CodeFenced},
		"nonsense parent":   {change: with(func(s *SubmitStep) { s.Parent = "nonsense" }), code: CodeBadRequest},
		"finished parent":   {before: func(r *rig, root string) { r.ok(valueOf("S1", root, "1")) }, code: CodeFenced},
		"cancelled parent":  {before: func(r *rig, root string) { r.ok(r.cancel(root)) }, code: CodeFenced},
		"endless delay":     {change: with(func(s *SubmitStep) { s.Delay = maxBackoff + 1 }), code: CodeBadRequest},
		"endless timeout":   {change: with(func(s *SubmitStep) { s.Timeout = maxBackoff + 1 }), code: CodeBadRequest},
		"unknown type":      {change: with(func(s *SubmitStep) { s.Type = "thing" }), code: CodeBadRequest},
		"no number":         {change: with(func(s *SubmitStep) { s.Number = 0 }), code: CodeBadRequest},
		"too large":         {change: with(func(s *SubmitStep) { s.Arguments = []state.Value{{Data: make([]byte, state.MaxEntry)}} }), code: CodeTooLarge},
		"attempt not begun": {change: with(func(s *SubmitStep) { s.Parent = s.Parent[:len(s.Parent)-1] + "2" }), code: CodeFenced},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			root := r.running()
			if c.before != nil {
				c.before(r, root)
			}
			request := call("S1", root, 1)
			if c.change != nil {
				c.change(request)
			}
			r.refused(c.code, request)
			if n := r.store.View().Run(r.execution(root).Run).Steps; n != 1 {
				t.Errorf("%d steps, want 1", n)
			}
		})
	}
}

func TestARepeatDoesNotHelpTheFenced(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	r.ok(call("S1", root, 1))
	r.step(&LoseSession{Session: "S1"})
	r.refused(CodeFenced, call("S1", root, 1))
}

func TestSubmitStepWithDelayWaitsForItsTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	request := call("S1", root, 1)
	request.Delay = 100
	child := r.ok(request).ExecutionID
	if e := r.execution(child); e.Due || e.ExecuteAfter != r.now+100 || e.Session != "" {
		t.Errorf("execution is %+v", e)
	}
	r.now += 99
	r.step()
	if e := r.execution(child); e.Due {
		t.Error("due too early")
	}
	r.now++
	r.step()
	if e := r.execution(child); !e.Due || e.Session != "S1" {
		t.Errorf("not due: %+v", e)
	}
}

// The bytes of an entry do not grow with the number of siblings (rules 2.1); numbers get a little wider.
func TestEntryOfAChildDoesNotGrow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	r.soft.Sessions = nil
	size := map[int64]int{}
	for n := int64(1); n <= 10_000; n++ {
		if n == 10 || n == 9_998 {
			r.step(call("S1", root, n))
			size[n] = r.entry
			continue
		}
		batch := []Request{}
		for ; n%100 != 9 && n%100 != 97 && n <= 10_000; n++ {
			batch = append(batch, call("S1", root, n))
		}
		r.step(append(batch, call("S1", root, n))...)
		if len(r.last.Replies) != len(batch)+1 {
			t.Fatalf("%d of %d decided", len(r.last.Replies), len(batch)+1)
		}
	}
	if grown := size[9_998] - size[10]; grown > 16 {
		t.Errorf("child 10 takes %d bytes, child 9,998 takes %d", size[10], size[9_998])
	}
	t.Logf("bytes proposed for one call: child 10 %d, child 9,998 %d", size[10], size[9_998])
}

func TestGroupsAndDependencies(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	child := r.ok(call("S1", root, 1)).ExecutionID
	r.ok(&RegisterGroup{Session: "S1", Execution: root, ID: 0, Name: "first"})
	r.ok(&RegisterGroup{Session: "S1", Execution: root, ID: 0, Name: "renamed"})
	r.ok(&AddDependency{Session: "S1", Execution: root, On: []string{child, child, "Rnone:1:1", "nonsense"}})
	r.ok(&AddDependency{Session: "S1", Execution: root, On: []string{child}})
	id := r.execution(root).ID()
	var got []string
	for g := range r.store.View().Groups(id) {
		got = append(got, g.Name)
	}
	for d := range r.store.View().Dependencies(id) {
		got = append(got, d.On)
	}
	if diff := cmp.Diff([]string{"renamed", child}, got); diff != "" {
		t.Error(diff)
	}
	r.step(&LoseSession{Session: "S1"})
	r.refused(CodeFenced, &RegisterGroup{Session: "S1", Execution: root, ID: 1, Name: "late"})
	r.refused(CodeFenced, &AddDependency{Session: "S1", Execution: root, On: []string{child}})
}
