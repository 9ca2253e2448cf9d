package scheduler_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// compare holds the tables against the books.
func (o *oracle) compare(t *turn, v *state.View) error {
	if err := o.compareRooms(v); err != nil {
		return err
	}
	for pass, check := range []func(*turn, *state.View, *oracleExec, *state.Execution) error{o.due, o.abandoned, o.execution, o.assigned} {
		if pass == 1 {
			if err := o.woken(t); err != nil {
				return err
			}
		}
		rows := o.rows(v)
		if pass == 0 { // as times come
			slices.SortStableFunc(rows, func(a, b *state.Execution) int {
				return cmp.Or(cmp.Compare(a.ExecuteAfter, b.ExecuteAfter), cmp.Compare(a.Run, b.Run), cmp.Compare(a.Step, b.Step))
			})
		}
		for _, e := range rows {
			want := o.execs[e.ID().String()]
			if want == nil && pass < 2 {
				continue // it follows something that is about to be looked at
			}
			if want == nil {
				return fmt.Errorf("nobody asked for execution %s", e.ID())
			}
			if err := check(t, v, want, e); err != nil {
				return fmt.Errorf("execution %s: %w", e.ID(), err)
			}
		}
	}
	if n := len(o.rows(v)); n != len(o.execs) {
		return fmt.Errorf("%d executions, want %d", n, len(o.execs))
	}
	for run, steps := range o.runs {
		if r := v.Run(run); r == nil || r.Steps != steps {
			return fmt.Errorf("run %s is %+v, want %d steps", run, r, steps)
		}
	}
	return nil
}

// rows are the executions of the runs that are known, in the order in which sweeps come to them.
func (o *oracle) rows(v *state.View) (rows []*state.Execution) {
	for run := range o.runs {
		rows = slices.AppendSeq(rows, v.RunExecutions(run, 0))
	}
	slices.SortFunc(rows, func(a, b *state.Execution) int {
		return cmp.Or(cmp.Compare(a.Session, b.Session), cmp.Compare(a.Run, b.Run), cmp.Compare(a.Step, b.Step), cmp.Compare(a.Attempt, b.Attempt))
	})
	return rows
}

// abandoned takes over what was given up, in the order of the sweeps: what follows it may take the place of others.
func (o *oracle) abandoned(t *turn, _ *state.View, want *oracleExec, e *state.Execution) error {
	if want.result != "" || e.Result == nil || e.Result.Type != state.ResultAbandoned && !strings.HasPrefix(resultText(e.Result), gaveUp) {
		return nil
	}
	return o.result(t, want, e)
}

// execution checks one row and takes over what may have changed by itself.
func (o *oracle) execution(t *turn, v *state.View, want *oracleExec, e *state.Execution) error {
	step := v.Step(e.ID().StepID())
	parent := ""
	if want.spawnedBy != nil {
		if run := v.Run(e.Run); run.Parent != want.spawnedBy.id || e.Tier != state.TierChild {
			return fmt.Errorf("its run is %+v, want one that %s has become; tier %d", run, want.spawnedBy.id, e.Tier)
		}
	} else if want.parent != nil {
		parent = want.parent.id
	}
	if e.Workspace != want.workspace {
		return fmt.Errorf("it is in workspace %s, want %s", e.Workspace, want.workspace)
	}
	if step == nil || step.Parent != parent || step.Request != want.number {
		return fmt.Errorf("its step is %+v, want the cause (%s, %d)", step, parent, want.number)
	}
	if want.before != nil && (max(e.ExecuteAfter, e.CreatedAt) < want.due || e.ExecuteAfter > want.latest) {
		return fmt.Errorf("is due at %d, want %d to %d", e.ExecuteAfter, want.due, want.latest)
	}
	if want.result == "suspended" && !want.stopped {
		if want.stopped = hasEvent(t.out, scheduler.EventAbort, e.Session, e.ID()); !want.stopped {
			return errors.New("is suspended and its process lives on")
		}
	}
	want.due = max(want.due, e.ExecuteAfter)
	return o.result(t, want, e)
}

func (o *oracle) assigned(t *turn, v *state.View, want *oracleExec, e *state.Execution) error {
	if e.Session == want.session {
		return nil
	}
	_, ready := t.soft.Sessions[e.Session]
	switch {
	case want.session != "":
		return fmt.Errorf("given to %s, was with %s already", e.Session, want.session)
	case want.doomed || want.result != "" || e.Result != nil:
		return fmt.Errorf("given to %s although it is over", e.Session)
	case o.rooms[want.workspace].state != state.WorkspaceActive || o.sessions[e.Session].workspace != want.workspace:
		return fmt.Errorf("given to %s although its workspace is %s", e.Session, o.rooms[want.workspace].state)
	case o.waits(want):
		return fmt.Errorf("given away although it waits for %v %v", want.all, want.any)
	case want.due > t.now:
		return fmt.Errorf("given away at %d, due at %d", t.now, want.due)
	case !ready || o.sessions[e.Session].lost || o.sessions[e.Session].draining:
		return fmt.Errorf("given to session %s, which is not ready", e.Session)
	case !o.suits(e.Session, want):
		return fmt.Errorf("needs %v and is given to session %s, which %+v", want.needs, e.Session, o.sessions[e.Session])
	case !hasEvent(t.out, scheduler.EventAssigned, e.Session, e.ID()):
		return fmt.Errorf("given to session %s, which is not told", e.Session)
	}
	if before := o.mayLive(t, v, e); before != nil {
		return fmt.Errorf("attempt %d may still be alive on %s", before.Attempt, before.Session)
	}
	for before := range v.Attempts(e.ID().StepID()) {
		if before.Workspace == e.Workspace && before.Session != "" && before.Attempt != e.Attempt {
			o.execs[before.ID().String()].gone = true
		}
	}
	want.session, want.node = e.Session, o.sessions[e.Session].node
	return o.elsewhere(t, v, want, e)
}

// mayLive gives an earlier attempt in the same workspace that nobody knows to be gone, nil when there is none.
func (o *oracle) mayLive(t *turn, v *state.View, e *state.Execution) *state.Execution {
	for before := range v.Attempts(e.ID().StepID()) {
		if before.Workspace != e.Workspace || before.Session == "" || before.Attempt == e.Attempt ||
			v.Session(before.Session) == nil || o.execs[before.ID().String()].gone {
			continue
		}
		if _, reachable := t.soft.Sessions[before.Session]; !reachable || t.soft.Holds(before.Session, before.ID().String()) {
			return before
		}
	}
	return nil
}

// elsewhere: after a failure another node comes first, if one could take the execution at the end of the turn.
func (o *oracle) elsewhere(t *turn, v *state.View, want *oracleExec, e *state.Execution) error {
	if want.before == nil || !failure(want.before.result) || want.before.node != want.node {
		return nil
	}
	given := map[string]int{}
	for _, ev := range t.out.Events {
		if ev.Kind == scheduler.EventAssigned {
			given[ev.Session]++
		}
	}
	for id, soft := range t.soft.Sessions {
		s := v.Session(id)
		if s != nil && s.State == state.SessionOpen && s.Node != want.node && soft.Serves[e.Class().Untagged()] && o.suits(id, want) && soft.Running+given[id] < s.Slots &&
			soft.Roots+given[id] < scheduler.RootsPerSlot*s.Slots {
			return fmt.Errorf("given to %s, where the attempt before it failed, although %s could take it", want.node, s.Node)
		}
	}
	return nil
}

func (o *oracle) result(t *turn, want *oracleExec, e *state.Execution) error {
	if e.Result == nil {
		if want.result != "" {
			return fmt.Errorf("has no result, want %s", want.result)
		}
		return nil
	}
	got := resultText(e.Result)
	if got == want.result {
		return o.followed(want, e)
	}
	switch {
	case want.result != "":
		return fmt.Errorf("result is %s, want %s for ever", got, want.result)
	case want.doomed && got == "cancelled":
	case want.forsaken && !want.doomed && (got == "abandoned" || want.durable && strings.HasPrefix(got, gaveUp)):
	default:
		return fmt.Errorf("result is %s, which nobody reported (doomed %v, forsaken %v)", got, want.doomed, want.forsaken)
	}
	if !hasEvent(t.out, scheduler.EventFinished, "", e.ID()) {
		return errors.New("has ended and nobody is told")
	}
	if e.Session != "" && !hasEvent(t.out, scheduler.EventAbort, e.Session, e.ID()) {
		return errors.New("has ended and its process lives on")
	}
	want.result = got
	switch resumed := o.loses(want, e.Result, t.now); {
	case strings.HasPrefix(got, gaveUp) != strings.HasPrefix(want.result, gaveUp):
		return fmt.Errorf("result is %s after %d losses without progress", got, want.losses)
	case !resumed:
		o.fails(want, e.Result, t.now)
	}
	return o.followed(want, e)
}

// followed: a failure names the attempt that follows it, if one does.
func (o *oracle) followed(want *oracleExec, e *state.Execution) error {
	next := 0
	if want.retry != nil {
		id, _ := state.ParseExecutionID(want.retry.id)
		next = id.Attempt
	}
	if e.Result.Retry != next {
		return fmt.Errorf("is followed by attempt %d, want %d", e.Result.Retry, next)
	}
	return nil
}

// placement checks what Step gave away, and what it did not.
func (o *oracle) placement(t *turn, v *state.View) error {
	given := map[string]int{}
	rootGiven := map[string]bool{}
	for _, ev := range t.out.Events {
		if ev.Kind == scheduler.EventAssigned {
			given[ev.Session]++
			e := v.Execution(ev.Execution)
			rootGiven[ev.Session] = rootGiven[ev.Session] || e.Tier == state.TierRoot
			if !t.soft.Sessions[ev.Session].Serves[e.Class().Untagged()] {
				return fmt.Errorf("session %s does not serve %s", ev.Session, ev.Execution)
			}
		}
	}
	for id, soft := range t.soft.Sessions {
		s := v.Session(id)
		if s == nil || s.State != state.SessionOpen {
			continue
		}
		if tally, n := v.Tally(id), o.given(id)-o.sessions[id].base; n > 0 && (tally == nil || tally.Executions != n) || n == 0 && tally != nil {
			return fmt.Errorf("session %s was given %d executions, its tally is %+v", id, n, tally)
		}
		if given[id] > 0 && soft.Running+given[id] > s.Slots {
			return fmt.Errorf("session %s has %d slots, %d running and was given %d", id, s.Slots, soft.Running, given[id])
		}
		if t.out.More || o.rooms[s.Workspace].state != state.WorkspaceActive {
			continue
		}
		for e := range v.Unfinished(s.Workspace) {
			if !e.Queued() || !soft.Serves[e.Class().Untagged()] || o.execs[e.ID().String()].doomed {
				continue
			}
			if o.mayLive(t, v, e) != nil || !o.suits(id, o.execs[e.ID().String()]) {
				continue
			}
			if soft.Running+given[id] < s.Slots {
				return fmt.Errorf("%s waits although session %s has a free slot", e.ID(), id)
			}
			if e.Tier == state.TierChild && rootGiven[id] {
				return fmt.Errorf("%s waits although session %s was given a new root", e.ID(), id)
			}
		}
	}
	return nil
}

// given counts what a session was ever given.
func (o *oracle) given(session string) (n int) {
	for _, e := range o.execs {
		if e.session == session {
			n++
		}
	}
	return n
}

// final checks what must be so when everything has come to rest.
func (o *oracle) final(v *state.View) error {
	for r := range v.Rows() {
		if tally, ok := r.(*state.Tally); ok && v.Session(tally.Session) == nil {
			return fmt.Errorf("the tally of session %s outlives it", tally.Session)
		}
	}
	for s := range v.Sessions() {
		if s.State == state.SessionLost {
			return fmt.Errorf("session %s is lost and still there", s.ID)
		}
		if !o.live(s.Workspace) {
			return fmt.Errorf("session %s lives on in an archived workspace", s.ID)
		}
		for e := range v.Assigned(s.ID) {
			return fmt.Errorf("session %s still holds %s", s.ID, e.ID())
		}
	}
	if err := o.waitsLeft(v); err != nil {
		return err
	}
	for c := range v.Classes() {
		return fmt.Errorf("something is queued in %v", c)
	}
	for _, id := range o.roomIDs() {
		for w := range v.Workflows(id) {
			if !o.live(id) {
				return fmt.Errorf("%s/%s is registered in an archived workspace", w.Module, w.Name)
			}
		}
	}
	return nil
}

func hasEvent(out scheduler.Output, kind scheduler.EventKind, session string, id state.ExecutionID) bool {
	for _, e := range out.Events {
		if e.Kind == kind && e.Session == session && e.Execution == id {
			return true
		}
	}
	return false
}
