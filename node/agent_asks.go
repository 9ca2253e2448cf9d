package node

import "github.com/coflux-mesh/coflux/scheduler"

// Bounds of the requests that wait for the leader's answer on a stream at once; the others wait here for their turn. A
// body may make calls faster than they can be committed, and all of them at once would overflow the next stream, and each
// one after it.
const (
	maxOpenAsks     = 4 * scheduler.MaxRequests
	maxOpenAskBytes = 4 << 20
)

// askWindow is how far the requests have been sent on the present stream.
type askWindow struct {
	sent  uint64 // the latest one
	open  int    // sent and not answered
	bytes int    // of those
}

// sendAsksLocked sends the requests that there is room for, in their order. mu is held.
func (a *agent) sendAsksLocked() {
	w := &a.window
	for a.stream != nil && w.sent < a.asked && w.open < maxOpenAsks && w.bytes < maxOpenAskBytes {
		w.sent++
		if q := a.asks[w.sent]; q != nil {
			w.open++
			w.bytes += len(q.body)
			a.stream.send(&Frame{Request: &Ask{ID: q.id, Body: q.body}})
		}
	}
}

// askAgainLocked begins with all requests anew, on a new stream. mu is held.
func (a *agent) askAgainLocked() {
	a.window = askWindow{sent: a.asked}
	for id := range a.asks {
		a.window.sent = min(a.window.sent, id-1)
	}
	a.sendAsksLocked()
}

// answered gives an answer to who asked.
func (a *agent) answered(n *Answer) {
	a.mu.Lock()
	q := a.asks[n.ID]
	if q != nil {
		delete(a.asks, n.ID)
		a.window.open--
		a.window.bytes -= len(q.body)
		a.sendAsksLocked()
	}
	a.mu.Unlock()
	if q != nil && q.done != nil {
		q.done(n.Reply)
	}
}
