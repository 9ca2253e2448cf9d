package checker

// outcome is a result as far as it is compared.
type outcome struct{ status, value string }

func (e Event) outcome() outcome { return outcome{e.Status, e.Value} }

// unfinished is the status of a run that has no result yet, as a read says it.
const unfinished = "unfinished"

// withoutBody are the results that an execution may have without having been given to anybody.
var withoutBody = map[string]bool{"cancelled": true, "cached": true, "deferred": true, "spawned": true}

// checkResults: one result per execution, in the stream, on all nodes and for all readers, ever.
func checkResults(h *History, f *finding) {
	results, assigned := map[string]outcome{}, map[string]bool{}
	for _, e := range h.Commits {
		switch e.Event {
		case "assigned":
			f.look()
			if assigned[e.Execution] {
				f.problem("%s is assigned a second time at index %d", e.Execution, e.Index)
			}
			if _, ended := results[e.Execution]; ended {
				f.problem("%s is assigned at index %d and has its result already", e.Execution, e.Index)
			}
			assigned[e.Execution] = true
		case "result":
			f.look()
			if was, ended := results[e.Execution]; ended && was != e.outcome() {
				f.problem("%s has the result %v, and %v at index %d", e.Execution, was, e.outcome(), e.Index)
			}
			if !assigned[e.Execution] && !withoutBody[e.Status] {
				f.problem("%s was never assigned and ends as %s at index %d", e.Execution, e.Status, e.Index)
			}
			results[e.Execution] = e.outcome()
		}
	}
	for _, e := range h.Finals {
		f.look()
		if was, known := results[e.Execution]; known && was != e.outcome() {
			f.problem("%s ended as %v and is %v on %s", e.Execution, was, e.outcome(), e.Node)
		}
		results[e.Execution] = e.outcome()
	}
	followed := h.followed()
	for _, op := range h.Ops {
		if op.Phase != "ok" || op.Op != "result" && op.Op != "get" || op.Status == unfinished || op.Status == "" {
			continue
		}
		execution := op.Execution
		if execution == "" {
			execution = followed(op.Run + ":1:1")
		}
		f.look()
		if was, known := results[execution]; known && was != op.outcome() {
			f.problem("%s ended as %v, %s showed %v (operation %d)", execution, was, op.Node, op.outcome(), op.ID)
		}
		results[execution] = op.outcome()
	}
}

// checkEnds: at rest nothing is without a result.
func checkEnds(h *History, f *finding) {
	for _, e := range h.Finals {
		f.look()
		if e.Status == "" {
			f.problem("%s has no result on %s", e.Execution, e.Node)
		}
	}
}

// checkHandles: what a body got from a child is the child's result.
func checkHandles(h *History, f *finding) {
	final := map[string]outcome{}
	parent, byID := map[string]string{}, map[string]Event{}
	for _, e := range h.Finals {
		byID[e.Execution] = e
		final[e.Execution], parent[e.Execution] = e.outcome(), e.Parent
	}
	followed := h.followed()
	for _, e := range h.Effects {
		if e.Event != "read" {
			continue
		}
		f.look()
		if was, known := final[followed(e.Child)]; known && was != e.outcome() {
			f.problem("%s read %v from %s, which ended as %v", e.Execution, e.outcome(), e.Child, was)
		}
	}
	for _, e := range h.Finals {
		if e.Parent == "" {
			continue
		}
		f.look()
		if call, known := byID[e.Parent]; known && runOf(e.Parent) != runOf(e.Execution) &&
			(call.Status != "spawned" || stepOf(call.Link) != stepOf(e.Execution)) {
			f.problem("%s has a parent in another run, %s, which did not become it", e.Execution, e.Parent)
		}
		if e.Parent == e.Execution || parent[e.Parent] == e.Execution {
			f.problem("%s is its own ancestor", e.Execution)
		}
	}
}

// checkDigestsAndFinals: equal digests at equal indexes, and the same final state everywhere.
func checkDigestsAndFinals(h *History, f *finding) {
	type seen struct{ node, digest string }
	at := map[uint64]seen{}
	for _, e := range h.Digests {
		f.look()
		if was, known := at[e.Index]; known && was.digest != e.Digest {
			f.problem("at index %d the digest is %s on %s and %s on %s", e.Index, was.digest, was.node, e.Digest, e.Node)
		}
		at[e.Index] = seen{e.Node, e.Digest}
	}
	byNode := h.finalsByNode()
	if len(byNode) < 2 {
		return
	}
	count := map[string]int{}
	for _, e := range h.Finals {
		count[e.Execution]++
	}
	for id, n := range count {
		f.look()
		if n != len(byNode) {
			f.problem("%s is on %d of %d nodes", id, n, len(byNode))
		}
	}
}
