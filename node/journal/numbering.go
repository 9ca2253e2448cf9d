package journal

import (
	"crypto/rand"
	"sync"
)

// numberedRuns bounds the runs that a Numbering counts for.
const numberedRuns = 100_000

// Numbering gives entries their identity: a random origin, and a number that grows by one with each entry of a run. By it
// the copies of an entry in several journals are known to be one. A process begins a new origin each time it starts, so
// that no number is ever given twice.
type Numbering struct {
	mu     sync.Mutex // guards the rest
	origin string
	last   map[string]uint64 // by run
}

// NewNumbering begins a new origin.
func NewNumbering() *Numbering {
	return &Numbering{origin: newOrigin(), last: map[string]uint64{}}
}

func newOrigin() string { return rand.Text()[:13] } // 65 bits

// Stamp numbers an entry that has no identity yet.
func (n *Numbering) Stamp(e *Entry) {
	if e.Origin != "" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.last[e.RunID]; !known && len(n.last) >= numberedRuns {
		n.origin, n.last = newOrigin(), map[string]uint64{}
	}
	n.last[e.RunID]++
	e.Origin, e.Seq = n.origin, n.last[e.RunID]
}
