package checker

import (
	"cmp"
	"maps"
	"slices"
)

// nodes of the final state, each with what it has.
func (h *History) finalsByNode() map[string][]Event {
	out := map[string][]Event{}
	for _, e := range h.Finals {
		out[e.Node] = append(out[e.Node], e)
	}
	return out
}

// checkAcknowledged: each run that was acknowledged is in the final state of every node.
func checkAcknowledged(h *History, f *finding) {
	for node, finals := range h.finalsByNode() {
		runs := map[string]bool{}
		for _, e := range finals {
			runs[runOf(e.Execution)] = true
		}
		for _, op := range h.Ops {
			if op.Op != "submit" || op.Phase != "ok" {
				continue
			}
			f.look()
			if !runs[op.Run] {
				f.problem("run %s was acknowledged by %s (operation %d) and is not on %s", op.Run, op.Node, op.ID, node)
			}
		}
	}
}

// checkCauses: each run comes from a submission or from the call of a workflow, each child from its parent, each further
// attempt from a re-run, a retry, a suspension or a recurrence.
func checkCauses(h *History, f *finding) {
	acknowledged, open := map[string]bool{}, 0
	reruns := map[string]int{}
	for _, op := range h.Ops {
		switch {
		case op.Op == "submit" && op.Phase == "ok":
			acknowledged[op.Run] = true
		case op.Op == "submit" && op.Phase == "info":
			open++
		case op.Op == "rerun" && op.Phase != "fail":
			reruns[op.Step]++
		}
	}
	submits := len(acknowledged) > 0 || open > 0
	for node, finals := range h.finalsByNode() {
		known, unknown, called, continued := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]int{}
		for _, e := range finals {
			known[e.Execution] = true
			if e.goesOn() {
				continued[stepOf(e.Execution)]++
			}
		}
		for _, e := range finals {
			f.look()
			called[runOf(e.Execution)] = called[runOf(e.Execution)] || e.Parent != "" && runOf(e.Parent) != runOf(e.Execution)
			if submits && !acknowledged[runOf(e.Execution)] {
				unknown[runOf(e.Execution)] = true
			}
			if e.Parent != "" && !known[e.Parent] {
				f.problem("%s has %s, whose parent %s does not exist", node, e.Execution, e.Parent)
			}
			asked := (1+e.Retries)*(1+continued[stepOf(e.Execution)]) + reruns[stepOf(e.Execution)]
			if attemptOf(e.Execution) > asked && e.Retries >= 0 {
				f.problem("%s has %s, which nobody asked for: %d retries, %d suspensions or recurrences, %d re-runs", node, e.Execution,
					e.Retries, continued[stepOf(e.Execution)], reruns[stepOf(e.Execution)])
			}
		}
		maps.DeleteFunc(unknown, func(run string, _ bool) bool { return called[run] })
		if len(unknown) > open {
			f.problem("%s has %d runs that were not acknowledged, but only %d submissions are in doubt: %v", node, len(unknown), open,
				slices.Sorted(maps.Keys(unknown)))
		}
	}
}

// checkKeys: all acknowledged submissions with one key within 24 h name one run, whichever is the first of them.
func checkKeys(h *History, f *finding) {
	const day = 24 * 60 * 60 * int64(1e9)
	type first struct {
		run string
		at  int64
	}
	keys := map[string]first{}
	for _, op := range slices.SortedFunc(slices.Values(h.Ops), func(a, b Operation) int { return cmp.Compare(a.Begin, b.Begin) }) {
		if op.Op != "submit" || op.Key == "" || op.Phase != "ok" {
			continue
		}
		f.look()
		k, known := keys[op.Key]
		if !known || op.Begin-k.at > day {
			keys[op.Key] = first{op.Run, op.Begin}
			continue
		}
		if k.run != op.Run {
			f.problem("key %q gave run %s, and run %s to operation %d", op.Key, k.run, op.Run, op.ID)
		}
	}
	// A submission in doubt must not have made a run of its own beside the one that its key names.
	made := map[string]map[string]bool{}
	keyOf := map[string]string{}
	for _, op := range h.Ops {
		if op.Op == "submit" && op.Key != "" && op.Token != "" {
			keyOf[op.Token] = op.Key
		}
	}
	for _, e := range h.Finals {
		if key := keyOf[e.Token]; e.Parent == "" && key != "" {
			if made[key] == nil {
				made[key] = map[string]bool{}
			}
			made[key][runOf(e.Execution)] = true
		}
	}
	for key, runs := range made {
		f.look()
		if len(runs) > 1 && keys[key].at+day > 0 {
			f.problem("key %q made %d runs: %v", key, len(runs), slices.Sorted(maps.Keys(runs)))
		}
	}
}
