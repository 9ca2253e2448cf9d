package checker

// checkFencing: nothing from a lost session or an ended execution changes the state, and the bodies of two attempts do
// not overlap.
func checkFencing(h *History, f *finding) {
	lost, ended := map[string]uint64{}, map[string]uint64{}
	for _, e := range h.Commits {
		f.look()
		if at, gone := lost[e.Session]; gone && e.Event != "session_lost" {
			f.problem("session %s was lost at index %d, and at %d it has %s of %s", e.Session, at, e.Index, e.Event, e.Execution)
		}
		switch e.Event {
		case "session_lost":
			lost[e.Session] = e.Index
		case "created":
			if at, over := ended[e.Parent]; over {
				f.problem("%s ended at index %d and made %s at %d", e.Parent, at, e.Execution, e.Index)
			}
		case "result":
			ended[e.Execution] = e.Index
		}
	}
	bodies := h.bodies()
	for id, b := range bodies {
		if b.begin == 0 || attemptOf(id) < 2 {
			continue
		}
		f.look()
		for before, a := range bodies {
			if stepOf(before) == stepOf(id) && attemptOf(before) < attemptOf(id) && a.end > b.begin {
				f.problem("the body of %s went on until %d ms after that of %s began", before, (a.end-b.begin)/1e6, id)
			}
		}
	}
}

// Grace is how long a descendant of what was cancelled may still be seen after the answer, nanoseconds.
const Grace = int64(5e9)

// checkCancellation: after the answer to a cancel no descendant is assigned, none comes to another end, and none is seen
// any more after the grace.
func checkCancellation(h *History, f *finding) {
	parents := map[string]string{}
	for _, e := range h.Finals {
		parents[e.Execution] = e.Parent
	}
	for _, e := range h.Commits {
		if e.Event == "created" {
			parents[e.Execution] = e.Parent
		}
	}
	below := func(id, subject string) bool {
		for n := 0; id != "" && n <= len(parents); n++ {
			if id == subject {
				return true
			}
			id = parents[id]
		}
		return false
	}
	for _, op := range h.Ops {
		if op.Op == "cancel" && op.Phase == "ok" {
			h.cancelledByClient(op, below, f)
		}
	}
	h.cancelledInStream(below, f)
}

func (h *History) cancelledByClient(op Operation, below func(id, subject string) bool, f *finding) {
	subject := op.Execution
	if subject == "" {
		subject = op.Run + ":1:1"
	}
	f.look()
	for _, e := range h.Effects {
		if e.At > op.At+Grace && below(e.Execution, subject) {
			f.problem("%s was cancelled, and %d ms later the body of %s is seen (%s)", subject, (e.At-op.At)/1e6, e.Execution, e.Event)
		}
	}
	for _, e := range h.Finals {
		if below(e.Execution, subject) && e.Status == "" {
			f.problem("%s was cancelled, and %s has no result on %s", subject, e.Execution, e.Node)
		}
	}
}

func (h *History) cancelledInStream(below func(id, subject string) bool, f *finding) {
	cancelled, ended := map[string]uint64{}, map[string]bool{}
	for _, e := range h.Commits {
		switch e.Event {
		case "cancel":
			f.look()
			cancelled[e.Execution] = e.Index
		case "assigned", "created", "result":
			for subject, at := range cancelled {
				strict := e.Execution != subject && below(e.Execution, subject)
				switch {
				case !strict || e.Index <= at || ended[e.Execution]:
				case e.Event == "result" && e.Status == "cancelled":
				case e.Event == "created" && attemptOf(e.Execution) > 1: // run again
				default:
					f.problem("%s was cancelled at index %d, and at %d comes %s %s of %s", subject, at, e.Index, e.Event, e.Status, e.Execution)
				}
			}
			ended[e.Execution] = ended[e.Execution] || e.Event == "result"
		}
	}
}
