package node

import "github.com/cespare/xxhash/v2"

// rememberedIDs is how many finished executions an agent remembers.
const rememberedIDs = 1 << 17

// remembered holds the ids of the latest finished executions, as 64-bit hashes, so that an assignment that comes late or
// twice is never started again (rules A4). It is bounded: an execution is added only once its result is committed, and
// a leader of the same or a later term, which has applied that, cannot assign it again; streams of earlier terms are
// refused. So this is the second lock on the door, not the only one.
type remembered struct {
	known map[uint64]bool
	order []uint64
	next  int
}

func newRemembered() *remembered { return &remembered{known: map[uint64]bool{}} }

func (r *remembered) add(id string) {
	h := xxhash.Sum64String(id)
	if r.known[h] {
		return
	}
	r.known[h] = true
	if len(r.order) < rememberedIDs {
		r.order = append(r.order, h)
		return
	}
	delete(r.known, r.order[r.next])
	r.order[r.next] = h
	r.next = (r.next + 1) % rememberedIDs
}

func (r *remembered) has(id string) bool { return r.known[xxhash.Sum64String(id)] }
