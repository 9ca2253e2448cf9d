package checker

// goesOn tells whether the execution ended in favour of the next attempt, without having failed.
func (e Event) goesOn() bool { return e.Status == "suspended" || e.Status == "recurred" }

// checkLinks: an execution that has the outcome of another leads to one that exists, that is an equal call, and at the end
// of the way to one that is no link.
func checkLinks(h *History, f *finding) {
	followed := h.followed()
	for _, finals := range h.finalsByNode() {
		byID := map[string]Event{}
		for _, e := range finals {
			byID[e.Execution] = e
		}
		for _, e := range finals {
			linked := e.Status == "cached" || e.Status == "deferred" || e.Status == "spawned"
			if !linked && e.Link == "" {
				continue
			}
			f.look()
			to, known := byID[e.Link]
			switch {
			case !linked || e.Link == "":
				f.problem("%s is %s and has the link %q", e.Execution, e.Status, e.Link)
			case !known:
				f.problem("%s is %s, and %s does not exist on %s", e.Execution, e.Status, e.Link, e.Node)
			case to.Call != e.Call:
				f.problem("%s is %s as %s, which is another call: %s instead of %s", e.Execution, e.Status, e.Link, to.Call, e.Call)
			case byID[followed(e.Execution)].Link != "":
				f.problem("%s is %s, and the links from it lead in a ring", e.Execution, e.Status)
			}
		}
	}
}
