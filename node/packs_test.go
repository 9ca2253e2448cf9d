package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/api"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
)

// packing is a node that leads, with a packer that works when it is told.
type packing struct {
	*testing.T
	n         *Node
	p         *packer
	workspace string
	ctx       context.Context
}

func newPacking(t *testing.T) *packing {
	n := startNode(t, "one", func(c *Config) { c.PackAfter = time.Hour })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	view, err := n.router.Linear(ctx)
	for err != nil && pause(ctx, 20*time.Millisecond) {
		view, err = n.router.Linear(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	k := &packing{T: t, n: n, ctx: ctx}
	for k.workspace == "" {
		if w := view.WorkspaceByName("default", "default"); w != nil {
			k.workspace = w.ID
		} else if pause(ctx, 20*time.Millisecond) {
			view = n.store.View()
		}
	}
	k.p = &packer{leader: n.coord.leader(), blocked: map[string]int64{}}
	return k
}

func (k *packing) do(r scheduler.Request) scheduler.Answer {
	k.Helper()
	reply, err := k.n.router.Do(k.ctx, r)
	if err != nil || reply.Err != nil {
		k.Fatalf("%s: %v %v", scheduler.Name(r), err, reply.Err)
	}
	return reply.Answer
}

// finished makes runs of a workflow that are over: cancelled, so that it takes no Python.
func (k *packing) finished(target string, n int) (runs []string) {
	k.Helper()
	for range n {
		a := k.do(&scheduler.SubmitRun{RequestID: ulid.Make().String(), Workspace: k.workspace, Module: "m", Target: target})
		k.do(&scheduler.Cancel{Workspace: k.workspace, Execution: a.ExecutionID})
		runs = append(runs, a.RunID)
	}
	return runs
}

// pack has runs leave for one pack.
func (k *packing) pack(runs ...string) {
	k.Helper()
	v, ready := k.n.store.View(), []readyRun{}
	for _, run := range runs {
		ready = append(ready, readyRun{run, run})
	}
	if done, err := k.p.pack(k.ctx, v, k.workspace, k.p.logTime(), ready); err != nil || !done {
		k.Fatalf("%v were not packed: %v", runs, err)
	}
}

// listed are the packed runs as lists show them, newest first.
func (k *packing) listed(target string) (runs []string) {
	k.Helper()
	q := api.PackedQuery{Workspace: k.workspace, Limit: 3}
	if target != "" {
		q.Module, q.Target = "m", target
	}
	for { // page by page
		page, err := backend{k.n}.PackedRuns(k.ctx, k.n.store.View(), q)
		if err != nil {
			k.Fatal(err)
		}
		for _, r := range page {
			runs = append(runs, r.Run)
			q.Before, q.BeforeID = r.CreatedAt, r.Run
		}
		if len(page) < q.Limit {
			return runs
		}
	}
}

func (k *packing) packs() (n int) {
	for p := range k.n.store.View().Packs() {
		if p.Runs != "" {
			n++
		}
	}
	return n
}

func (k *packing) expect(what string, want, got []string) {
	k.Helper()
	want, got = slices.Clone(want), slices.Clone(got)
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		k.Errorf("%s: %s", what, diff)
	}
}

func TestSmallPacksAreMerged(t *testing.T) {
	t.Parallel()
	k := newPacking(t)
	a, b := k.finished("a", 6), k.finished("b", 4)
	all := slices.Concat(a, b)
	for some := range slices.Chunk(all, 2) {
		k.pack(some...)
	}
	k.expect("all", all, k.listed(""))
	k.expect("of one workflow", b, k.listed("b"))
	if err := k.p.merge(k.ctx); err != nil || k.packs() != 1 {
		t.Fatalf("%d packs: %v", k.packs(), err)
	}
	k.expect("all, merged", all, k.listed(""))
	k.expect("of one workflow, merged", b, k.listed("b"))
	if err := k.p.merge(k.ctx); err != nil || k.packs() != 1 {
		t.Fatalf("%d packs: %v", k.packs(), err)
	}
	again := k.do(&scheduler.RerunStep{RequestID: ulid.Make().String(), Workspace: k.workspace, Step: a[0] + ":1"}) // brings it back
	if again.ExecutionID != a[0]+":1:2" || k.n.store.View().Run(a[0]) == nil {
		t.Errorf("%+v", again)
	}
	k.expect("without the one that was run again", all[1:], k.listed(""))
	if !k.p.justBrought(a[0]) {
		t.Error("it may be packed again at once")
	}
	view, err := backend{k.n}.Beside(k.ctx, k.n.store.View(), a[1])
	if err != nil || view.Run(a[1]) == nil || view.LatestAttempt(state.StepID{Run: a[1], Number: 1}) == nil {
		t.Errorf("a packed run is not seen: %v", err)
	}
}

func TestRetentionKeepsTheNewest(t *testing.T) {
	t.Parallel()
	k := newPacking(t)
	var a, b []string
	for range 4 {
		a, b = append(a, k.finished("a", 1)...), append(b, k.finished("b", 1)...)
	}
	k.pack(slices.Concat(a[:2], b[:2])...)
	k.pack(slices.Concat(a[2:], b[2:])...)
	retain := func(name, workflow string, value int64) {
		t.Helper()
		k.do(&scheduler.PutSetting{Name: state.Scoped(name, k.workspace, workflow), Value: value})
		if err := k.p.retain(k.ctx); err != nil {
			t.Fatal(err)
		}
	}
	retain(state.SettingKeepRuns, "", 7)
	if got := k.listed(""); len(got) != 7 {
		t.Errorf("7 runs are kept: %v", got)
	}
	retain(state.SettingKeepRuns, "m/b", 1)
	if got := k.listed("b"); len(got) != 1 {
		t.Errorf("one run of b is kept: %v", got)
	}
	left := k.listed("a")
	retain(state.SettingKeepBytes, "", 0)
	if got := k.listed(""); len(got) != 0 || len(left) < 3 {
		t.Errorf("nothing is kept: %v", got)
	}
	reply, err := k.n.router.Do(k.ctx, &scheduler.RerunStep{RequestID: ulid.Make().String(), Workspace: k.workspace, Step: a[0] + ":1"})
	if err != nil || reply.Err == nil || reply.Err.Code != scheduler.CodeNotFound {
		t.Errorf("a removed run: %+v %v", reply, err)
	}
}

// A run whose pack cannot be read ends the wait for it, also a poll, which needs the end of the answer.
func TestAWaitForWhatCannotBeReadEnds(t *testing.T) {
	t.Parallel()
	h, _ := hubWith(t, boottime, &state.Session{ID: "S1", State: state.SessionOpen, Slots: 1})
	h.l.ctx = t.Context()
	agent, s := newPipe()
	defer agent.cut()
	if !h.attach(helloOf("S1"), s, &Welcome{}) {
		t.Fatal("not attached")
	}
	q := &Select{Execution: "R:1:1", Number: 7, Handles: []string{"Rother:1:1", "Rpacked:1:1"}, Poll: true}
	h.selectsAgain("S1", q, "Rpacked", errors.New("away"))
	var got []string
	for len(got) < 3 {
		frames, err := agent.recv(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range frames {
			switch {
			case f.Welcome != nil:
				got = append(got, "welcome")
			case f.Outcome != nil:
				got = append(got, fmt.Sprint(f.Outcome.Execution, " ", f.Outcome.Result.Error.Message))
			case f.Nothing != nil:
				got = append(got, fmt.Sprint("nothing ", f.Nothing.Number))
			}
		}
	}
	want := []string{"welcome", "Rpacked:1:1 run Rpacked is packed and cannot be read now: away", "nothing 7"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// When the leadership is over nobody begins to unpack, and who asks is told.
func TestNothingIsUnpackedAfterTheEnd(t *testing.T) {
	t.Parallel()
	h, _ := hubWith(t, boottime)
	h.l.bringing.end()
	var told error
	h.l.bring("R", func(err error) { told = err })
	if !errors.Is(told, errNotLeading) {
		t.Errorf("told %v", told)
	}
}
