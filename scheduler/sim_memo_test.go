package scheduler_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// share has a call say how it is memoised, and makes it one of few, mostly, so that others are equal to it. The first
// argument, which says how deep the body may call, is always part of the key: so nobody waits for something above itself.
func share(r *scheduler.SubmitStep, depth byte, rng *rand.Rand) {
	seed := rng.Uint64()
	if rng.IntN(5) > 0 {
		seed = 1
	}
	if r.Type == state.TypeTask && rng.IntN(6) > 0 {
		r.Module, r.Target = "m", "a"
	}
	r.Arguments = []state.Value{program(depth, seed), {Data: []byte(fmt.Sprint(rng.IntN(2)))}}
	all, first := &scheduler.Memo{Params: scheduler.Params{All: true}}, &scheduler.Memo{Params: scheduler.Params{Indexes: []int{0}}}
	r.Memo = []*scheduler.Memo{nil, nil, nil, all, all, first, first, {Off: true}, {Params: scheduler.Params{Indexes: []int{1, 0}}},
		{Params: scheduler.Params{Indexes: []int{0, 7}}}}[rng.IntN(10)]
}

// memoOf says what a call has in common with those that may share its result, "" for nothing.
func (o *oracle) memoOf(parent *oracleExec, r *scheduler.SubmitStep) string {
	indexes, run := []int{}, runOf(parent.id)
	switch {
	case r.Memo == nil && o.runDurable[run]:
		return fmt.Sprintf("%s %d %d", durableCall(r), parent.lap, r.Equal) + " by " + step(parent.id)
	case r.Memo == nil && !o.runMemo[run], r.Memo != nil && r.Memo.Off:
		return ""
	case r.Memo == nil || r.Memo.All:
		for i := range r.Arguments {
			indexes = append(indexes, i)
		}
	default:
		indexes = r.Memo.Indexes
	}
	parts := []string{run, r.Module, r.Target}
	for _, i := range indexes {
		text := "nothing"
		if i < len(r.Arguments) {
			text = fmt.Sprintf("%x", r.Arguments[i].Data)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " ")
}

// memoised are the executions of which a call with the memo must be given one: the newest that are open or gave a value;
// more than one if they were made at the same time.
func (o *oracle) memoised(memo, workspace string) (ids []string) {
	newest := int64(0)
	for _, id := range o.order {
		e := o.execs[id]
		if memo == "" || e.memo != memo || !o.inherits(workspace, e.workspace) || e.doomed && e.result == "" {
			continue
		}
		last, result := o.outcome(id)
		if result != "" && !strings.HasPrefix(result, "value") || result == "" && o.execs[last].doomed {
			continue
		}
		if e.made > newest {
			newest, ids = e.made, nil
		}
		ids = append(ids, id)
	}
	return ids
}

// hit checks a call that may have been given what was there already; made tells whether it had to make a step instead.
func (o *oracle) hit(parent *oracleExec, r *scheduler.SubmitStep, memo, answer string) (made bool, err error) {
	found := o.memoised(memo, parent.workspace)
	if r.Memo == nil && o.runDurable[runOf(parent.id)] {
		for i, id := range found {
			found[i] = o.first(id)
		}
	}
	if len(found) == 0 {
		return true, nil
	}
	if !slices.Contains(found, answer) {
		for _, id := range found {
			if last, result := o.outcome(id); result != "" || o.execs[last].session == "" && last == id && !o.execs[id].waiting {
				return false, fmt.Errorf("%s has the same memo key", id)
			}
		}
		return true, nil // it may wait for the caller
	}
	if parent.hits == nil {
		parent.hits = map[int64]string{}
	}
	parent.hits[r.Number] = answer
	return false, nil
}

// conspire has the body make a call that is equal to one that is there, right after somebody has cancelled the caller of
// that one, which is open: it must not be given; or has run that one again: it must be given the new attempt.
func (b *simBody) conspire(r *scheduler.SubmitStep) {
	again := b.rng.IntN(2) == 0
	for e := range b.view().RunExecutions(runOf(b.id), 2) {
		step := b.view().Step(e.ID().StepID())
		if e.Result != nil && !again || step.MemoKey == "" || step.Parent == b.id && !again || step.Arguments[0].Data[0] >= b.depth {
			continue
		}
		workspace := execution(b.view(), b.id).Workspace
		if again {
			b.send(&scheduler.RerunStep{RequestID: ulidOf(b.now, b.rng), Workspace: workspace, Step: step.ID().String()}, nil)
		} else {
			b.send(&scheduler.Cancel{Workspace: workspace, Execution: step.Parent}, nil)
		}
		r.Type, r.Module, r.Target, r.Arguments = step.Type, step.Module, step.Target, step.Arguments
		r.Memo = &scheduler.Memo{Params: scheduler.Params{All: true}}
		return
	}
}
