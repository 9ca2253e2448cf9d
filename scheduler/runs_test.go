package scheduler

import (
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
)

const hour = 60 * 60 * 1000

func TestSubmitRunMakesRunStepAndExecution(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	request := submitRun(w, r.now)
	request.Arguments = []state.Value{{Data: []byte(`"Joe"`)}}
	answer := r.ok(request)
	want := Answer{RunID: answer.RunID, StepID: answer.RunID + ":1", ExecutionID: answer.RunID + ":1:1", Module: "m", Target: "flow"}
	if diff := cmp.Diff(want, answer); diff != "" {
		t.Error(diff)
	}
	v := r.store.View()
	if run := v.Run(answer.RunID); run.Steps != 1 || run.RequestID != request.RequestID || run.CreatedAt != r.now {
		t.Errorf("run is %+v", run)
	}
	step := v.Step(state.StepID{Run: answer.RunID, Number: 1})
	if step.Parent != "" || step.Type != state.TypeWorkflow || string(step.Arguments[0].Data) != `"Joe"` {
		t.Errorf("step is %+v", step)
	}
	if e := r.execution(answer.ExecutionID); !e.Queued() || e.Tier != state.TierRoot {
		t.Errorf("execution is %+v", e)
	}
}

func TestSubmitRunRepeats(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		later    int64 // after the first submission
		sameID   bool
		key      string
		otherKey string // of the second
		target   string // of the second
		same     bool   // run
		code     string
	}{
		"same id at once":                     {sameID: true, same: true},
		"same id, other target":               {sameID: true, target: "other", same: true},
		"same id just inside the window":      {later: RequestWindow - 1, sameID: true, same: true},
		"same id when it is forgotten":        {later: RequestWindow, sameID: true, code: CodeExpired},
		"same id a day later":                 {later: 24 * hour, sameID: true, code: CodeExpired},
		"another id":                          {},
		"same key":                            {key: "k", otherKey: "k", same: true},
		"same key, other target":              {key: "k", otherKey: "k", target: "other", same: true},
		"same key just inside 24 h":           {later: 24*hour - 1, key: "k", otherKey: "k", same: true},
		"same key after 24 h":                 {later: 24 * hour, key: "k", otherKey: "k"},
		"another key":                         {key: "k", otherKey: "l"},
		"no key":                              {key: "k"},
		"same id although the key is another": {sameID: true, key: "k", otherKey: "l", same: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			first := submitRun(r.workspace(), r.now)
			first.IdempotencyKey = c.key
			a := r.ok(first)
			r.now += c.later
			r.step() // what has expired is forgotten
			second := submitRun(first.Workspace, r.now)
			second.IdempotencyKey = c.otherKey
			if c.sameID {
				second.RequestID = first.RequestID
			}
			if c.target != "" {
				second.Target = c.target
			}
			if c.code != "" {
				r.refused(c.code, second)
				return
			}
			b := r.ok(second)
			if (a == b) != c.same {
				t.Errorf("answers %+v and %+v, want the same: %v", a, b, c.same)
			}
		})
	}
}

func TestSubmitRunWithOneKeyTwiceInABatch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	a, b := submitRun(w, r.now), submitRun(w, r.now)
	a.IdempotencyKey, b.IdempotencyKey = "k", "k"
	replies := r.step(a, b)
	if diff := cmp.Diff(replies[0], replies[1]); diff != "" {
		t.Error(diff)
	}
}

func TestIdempotencyKeyBelongsToAWorkspace(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := submitRun(r.workspace(), r.now)
	b := submitRun(r.ok(&CreateWorkspace{Project: "p", Name: "other"}).WorkspaceID, r.now)
	a.IdempotencyKey, b.IdempotencyKey = "k", "k"
	if r.ok(a).RunID == r.ok(b).RunID {
		t.Error("two workspaces share a key")
	}
}

func TestSubmitRunRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	with := func(change func(*SubmitRun)) *SubmitRun {
		s := submitRun(w, r.now)
		change(s)
		return s
	}
	_, before := r.store.Digest()
	r.refused(CodeNotFound, with(func(s *SubmitRun) { s.Workspace = "Wnone" }))
	r.refused(CodeBadRequest, with(func(s *SubmitRun) { s.RequestID = "" }))
	r.refused(CodeBadRequest, with(func(s *SubmitRun) { s.RequestID = "not a ulid" }))
	r.refused(CodeExpired, with(func(s *SubmitRun) { s.RequestID = ulidAt(r.now - RequestWindow) }))
	r.refused(CodeExpired, with(func(s *SubmitRun) { s.RequestID = ulidAt(r.now + RequestWindow + 1) }))
	r.refused(CodeTooLarge, with(func(s *SubmitRun) { s.Arguments = []state.Value{{Data: make([]byte, state.MaxEntry)}} }))
	if _, after := r.store.Digest(); after != before {
		t.Error("a refused submission left a trace")
	}
}

func TestARequestFromTheFutureIsRemembered(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := submitRun(r.workspace(), r.now+RequestWindow)
	a := r.ok(s)
	r.now += 2*RequestWindow - 1 // its id is 10 minutes old now
	r.step()
	if b := r.ok(s); a != b {
		t.Errorf("repeat answered %+v, want %+v", b, a)
	}
}

func TestForgettingIsSpreadOverBatches(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.workspace()
	for range 120 {
		r.ok(submitRun(w, r.now))
	}
	r.now += RequestWindow
	left := func() (n int) {
		for range r.store.View().ExpiredRequests() {
			n++
		}
		return n
	}
	for _, want := range []int{70, 20, 0} {
		r.step()
		if n := left(); n != want {
			t.Errorf("%d requests remembered, want %d", n, want)
		}
	}
}
