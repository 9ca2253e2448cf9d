package state

import "iter"

// RequestKind tells the two things that the requests table remembers.
type RequestKind string

const (
	// RequestULID: the id of a request from outside.
	RequestULID RequestKind = "u"
	// RequestIdempotency: an idempotency key, scoped to a workspace.
	RequestIdempotency RequestKind = "k"
)

// Request remembers a request from outside until it expires, so that a repeat is answered and not repeated.
type Request struct {
	rowCommon
	Kind      RequestKind `codec:"k"`
	Workspace string      `codec:"w,omitempty"`
	ID        string      `codec:"i"`
	// Answer is the run (for a submission) or whatever else the first answer named.
	Answer string `codec:"a"`
	// ExpiresAt is log time, milliseconds.
	ExpiresAt int64 `codec:"x"`
}

func (*Request) table() Table { return TableRequests }

func (r *Request) shared(share func(*string)) {
	share((*string)(&r.Kind))
	share(&r.Workspace)
}
func (r *Request) key() string { return join(string(r.Kind), r.Workspace, r.ID) }

// Request reads a remembered request, nil when there is none.
func (v *View) Request(kind RequestKind, workspace, id string) *Request {
	return one[*Request](v, TableRequests, "id", join(string(kind), workspace, id))
}

// ExpiredRequests walks the remembered requests, soonest expiry first.
func (v *View) ExpiredRequests() iter.Seq[*Request] {
	return walk[*Request](v, TableRequests, "expiry", "", "")
}
