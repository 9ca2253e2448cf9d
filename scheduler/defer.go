package scheduler

import "github.com/coflux-mesh/coflux/consensus/state"

// deferKey is what calls have in common of which only the last is to be made; "" without params.
func deferKey(s *state.Step, p *Params) (string, error) {
	if p == nil {
		return "", nil
	}
	if err := p.check("defer"); err != nil {
		return "", err
	}
	return argumentsKey(s.Module+":"+s.Target, "", *p, s.Arguments), nil
}

// collapse leaves one of the executions with e's defer key that nobody was given yet: the one with the latest time to
// start, among equals the newest, which is e. The others have its outcome (semantics 8), but for those that it waits for.
func (d *decision) collapse(e *state.Execution) {
	var others []*state.Execution
	survivor := e
	for x := range d.Deferrable(e.Class(), e.DeferKey) {
		if x.ID() == e.ID() || d.underCancel(x) {
			continue
		}
		others = append(others, x)
		if x.ExecuteAfter > survivor.ExecuteAfter {
			survivor = x
		}
	}
	for _, x := range append(others, e) {
		if x != survivor && !(d.AnyWaits() && d.waitsFor(survivor, x)) {
			d.finish(x, &state.Result{Type: state.ResultDeferred, Link: survivor.ID().String()})
		}
	}
}
