package checker

import (
	"maps"
	"slices"
)

// checkBodies: no execution has two bodies, none that is a link to another has one, and no step more than its attempts.
func checkBodies(h *History, f *finding) {
	starts := map[string][]Event{}
	for _, e := range h.Effects {
		if e.Event == "start" {
			f.look()
			starts[e.Execution] = append(starts[e.Execution], e)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(starts)) {
		if all := starts[id]; id != "" && len(all) > 1 {
			f.problem("%s has %d bodies: on %s (pid %d) and on %s (pid %d)", id, len(all), all[0].Node, all[0].PID, all[1].Node, all[1].PID)
		}
	}
	allowed, bodies := map[string]int{}, map[string]int{}
	for _, e := range h.Finals {
		if all := starts[e.Execution]; e.Link != "" && len(all) > 0 {
			f.problem("%s has a body on %s (pid %d), though it is %s and has the outcome of %s", e.Execution, all[0].Node, all[0].PID, e.Status, e.Link)
		}
		step := stepOf(e.Execution)
		allowed[step] = max(allowed[step], attemptOf(e.Execution))
	}
	for id := range starts {
		bodies[stepOf(id)]++
	}
	for _, step := range slices.Sorted(maps.Keys(bodies)) {
		if n, known := allowed[step]; known && bodies[step] > n {
			f.problem("step %s has %d attempts and %d bodies", step, n, bodies[step])
		}
	}
}

// body is the time in which a body was seen.
type body struct {
	begin, end int64 // end is 0 when it was not seen to end
}

func (h *History) bodies() map[string]body {
	out := map[string]body{}
	for _, e := range h.Effects {
		b := out[e.Execution]
		switch e.Event {
		case "start":
			b.begin = e.At
		case "end":
			b.end = e.At
		default:
			b.end = max(b.end, e.At)
		}
		out[e.Execution] = b
	}
	return out
}

// checkAttempts: attempts are numbered without gaps, within the limit, not before their time, and never after a value,
// a link or a cancellation, re-runs excepted.
func checkAttempts(h *History, f *finding) {
	reruns := map[string]int{}
	for _, op := range h.Ops {
		if op.Op == "rerun" && op.Phase != "fail" {
			reruns[op.Step]++
		}
	}
	steps := map[string]map[int]Event{}
	for _, e := range h.Finals {
		if steps[stepOf(e.Execution)] == nil {
			steps[stepOf(e.Execution)] = map[int]Event{}
		}
		steps[stepOf(e.Execution)][attemptOf(e.Execution)] = e
	}
	bodies := h.bodies()
	for _, step := range slices.Sorted(maps.Keys(steps)) {
		f.look()
		attempts, unasked := steps[step], 0
		for n := 1; n <= len(attempts); n++ {
			e, there := attempts[n]
			if !there {
				f.problem("step %s has %d attempts and none with number %d", step, len(attempts), n)
				break
			}
			next, more := attempts[n+1]
			if !more {
				continue
			}
			if e.Status == "value" || e.Status == "cancelled" || e.Link != "" {
				unasked++
			}
			if e.goesOn() {
				e.Backoff = 0 // that is for failures
			}
			a, b := bodies[e.Execution], bodies[next.Execution]
			if a.end != 0 && b.begin != 0 && b.begin < a.end+e.Backoff*1e6 && reruns[step] == 0 {
				f.problem("%s began %d ms after the end of %s, the backoff is %d ms", next.Execution, (b.begin-a.end)/1e6, e.Execution, e.Backoff)
			}
		}
		if unasked > reruns[step] {
			f.problem("step %s was tried again %d times after a value, a link or a cancellation, and run again %d times", step, unasked, reruns[step])
		}
	}
}
