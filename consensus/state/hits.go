package state

import "iter"

// Hit is a request that made nothing: a call whose run had an execution with the same memo key, or a question whose run had
// an input with the same key; the caller was given that.
type Hit struct {
	rowCommon
	// Parent is the execution that called, Request the number of the call among its requests; together the cause.
	Parent  string `codec:"p"`
	Request int64  `codec:"q"`
	// Execution is the one that was found, "" when it was an input.
	Execution string `codec:"e"`
	Group     *int   `codec:"g,omitempty"`
	// Input is the one that was found, "" when it was an execution.
	Input string `codec:"i,omitempty"`
}

func (*Hit) table() Table  { return TableHits }
func (h *Hit) key() string { return join(h.Parent) + be8(h.Request) }

// Hit finds the hit that an execution's request number was, nil when it was none.
func (v *View) Hit(parent ExecutionID, request int64) *Hit {
	return one[*Hit](v, TableHits, "id", join(parent.String())+be8(request))
}

// HitsOf walks the hits that gave an execution to their callers.
func (v *View) HitsOf(id ExecutionID) iter.Seq[*Hit] {
	return walk[*Hit](v, TableHits, "execution", join(id.String()), "")
}

// Hits walks the hits of an execution's calls, in the order of its requests.
func (v *View) Hits(parent ExecutionID) iter.Seq[*Hit] {
	return walk[*Hit](v, TableHits, "id", join(parent.String()), "")
}
