package scheduler

import (
	"errors"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// sweep works off the marked bulk changes, at most maxSweep rows in a batch. It goes in small transactions, so that no
// size of rows makes a sweep that fits no entry, and a sweep that meets a bug does not hold up the others.
func (b *batch) sweep() {
	left, seen := b.sweepLimit, map[string]bool{}
	defer func() {
		for s := range b.scratch.View().Sweeps() {
			b.out.More = b.out.More || !seen[s.ID] // begun by another sweep
		}
	}()
	for s := range b.scratch.View().Sweeps() {
		seen[s.ID] = true
		if s.Held {
			continue
		}
		chunk := sweepChunk
		for done := false; !done; {
			if left <= 0 || b.scratch.Bytes() >= 2*state.BatchBytes {
				b.out.More = true
				return
			}
			used := 0
			err := b.try(func(d *decision) error {
				used, done = d.sweepSome(s.ID, min(left, chunk))
				return nil
			})
			var large *state.TooLarge
			if errors.As(err, &large) && chunk > 1 { // what waits may become runs, which carry their arguments
				chunk /= 2
				continue
			}
			if errors.Is(err, state.ErrBatchFull) {
				b.out.More = true
				return
			}
			if err != nil {
				break
			}
			left -= used
		}
		// Those of sessions that it left behind come next.
		b.out.More = b.out.More || s.Kind == state.SweepWorkspace
	}
}

// sweepSome does at most limit rows of a sweep. It tells what it used of the limit and whether the sweep is done.
func (d *decision) sweepSome(id string, limit int) (used int, done bool) {
	s := d.Sweep(id)
	switch s.Kind {
	case state.SweepCancel:
		used, done = d.sweepCancel(s, limit)
	case state.SweepSession:
		used, done = d.sweepSession(s, limit)
	case state.SweepWorkspace:
		used, done = d.sweepWorkspace(s, limit)
	case state.SweepWake:
		used, done = d.sweepWake(s, limit)
	case state.SweepErase:
		used, done = d.sweepErase(s, limit)
	default:
		panic("a sweep of a kind that this version does not know: " + id)
	}
	if done {
		d.Delete(s)
	}
	return used, done
}

// sweepCancel cancels descendants of the subject. Children have higher step numbers than their parents, so one walk
// upwards through the run meets them all. Looking at rows that need no change costs a little, too.
func (d *decision) sweepCancel(s *state.Sweep, limit int) (used int, done bool) {
	const looksPerRow = 20
	subject, _ := state.ParseExecutionID(s.Subject)
	all, seen := subjects(nil).with(&d.View, s), map[state.StepID]bool{}
	workspace := ""
	if e := d.Execution(subject); e != nil {
		workspace = e.Workspace
	}
	changed, looked, step := 0, 0, 0
	for e := range d.RunExecutions(subject.Run, s.NextStep) {
		// A pause comes between steps only: it is a step at which the next walk begins.
		if used = changed + looked/looksPerRow; used >= limit && e.Step != step {
			rest := *s
			rest.NextStep = e.Step
			d.Put(&rest)
			return used, false
		}
		looked, step = looked+1, e.Step
		root := d.spawned(e)
		if e.Result != nil && root == nil || e.Workspace != workspace || !covered(&d.View, e, all, seen) {
			continue
		}
		reason := "its ancestor " + s.Subject + " was cancelled"
		if changed++; root != nil {
			d.cancelRun(root, reason)
		} else {
			d.finish(e, &state.Result{Type: state.ResultCancelled, Reason: reason})
		}
	}
	return changed + looked/looksPerRow, true
}

// sweepSession abandons what a lost session held, then removes its row: an unknown session is as fenced as a lost one.
func (d *decision) sweepSession(s *state.Sweep, limit int) (used int, done bool) {
	for e := range d.Assigned(s.Subject) {
		if used == limit {
			return used, false
		}
		result := &state.Result{Type: state.ResultAbandoned, Reason: s.Reason}
		if d.underCancel(e) {
			result = &state.Result{Type: state.ResultCancelled, Reason: "an ancestor was cancelled"}
		}
		d.finish(e, result)
		used++
	}
	if session := d.Session(s.Subject); session != nil {
		d.Delete(session)
	}
	if tally := d.Tally(s.Subject); tally != nil {
		d.Delete(tally)
	}
	return used, true
}
