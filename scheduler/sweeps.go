package scheduler

import "github.com/coflux-mesh/coflux/consensus/state"

// sweep works off the marked bulk changes, at most maxSweep rows in a batch.
func (b *batch) sweep() {
	left := maxSweep
	for s := range b.scratch.View().Sweeps() {
		if left <= 0 || b.scratch.Bytes() >= 2*state.BatchBytes {
			b.out.More = true
			return
		}
		err := b.try(func(d *decision) error {
			switch s.Kind {
			case state.SweepCancel:
				left = d.sweepCancel(s, left)
			case state.SweepSession:
				left = d.sweepSession(s, left)
			}
			return nil
		})
		if err != nil {
			return
		}
	}
	if left <= 0 {
		b.out.More = true
	}
}

// sweepCancel cancels descendants of the subject. Children have higher step numbers than their parents, so one walk
// upwards through the run meets them all.
func (d *decision) sweepCancel(s *state.Sweep, left int) int {
	subject, _ := state.ParseExecutionID(s.Subject)
	subjects, seen := map[string]bool{s.Subject: true}, map[state.StepID]bool{}
	looked := 0
	for e := range d.RunExecutions(subject.Run, s.NextStep) {
		if left <= 0 || looked == 20*maxSweep {
			rest := *s
			rest.NextStep = e.Step
			d.Put(&rest)
			return 0
		}
		looked++
		if e.Result != nil || !covered(&d.View, e.ID(), subjects, seen) {
			continue
		}
		d.finish(e, &state.Result{Type: state.ResultCancelled, Reason: "its ancestor " + s.Subject + " was cancelled"})
		left--
	}
	d.Delete(s)
	return left
}

// sweepSession abandons what a lost session held, then removes its row: an unknown session is as fenced as a lost one.
func (d *decision) sweepSession(s *state.Sweep, left int) int {
	for e := range d.Assigned(s.Subject) {
		if left <= 0 {
			return 0
		}
		result := &state.Result{Type: state.ResultAbandoned, Reason: s.Reason}
		if d.underCancel(e) {
			result = &state.Result{Type: state.ResultCancelled, Reason: "an ancestor was cancelled"}
		}
		d.finish(e, result)
		left--
	}
	d.Delete(s)
	if session := d.Session(s.Subject); session != nil {
		d.Delete(session)
	}
	return left
}
