package pyexec

import (
	"encoding/json"
	"net"
	"sync"
	"time"
)

// outbox sends the guard's reports in order without ever holding the guard up: the node may be stopped and its socket
// full. mu guards queue, sending and closed.
type outbox struct {
	conn *net.UnixConn

	mu      sync.Mutex
	queue   []guardMessage
	sending bool // what was the queue is on its way
	closed  bool
	wake    chan struct{}
	done    chan struct{}
}

func newOutbox(conn *net.UnixConn) *outbox {
	return &outbox{conn: conn, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// put sends at once what can be sent so; the rest is for run.
func (o *outbox) put(m guardMessage) {
	o.mu.Lock()
	if len(o.queue) == 0 && !o.sending && o.now(m) {
		o.mu.Unlock()
		return
	}
	o.queue = append(o.queue, m)
	o.mu.Unlock()
	o.signal()
}

func (o *outbox) now(m guardMessage) bool {
	b, err := json.Marshal(m)
	return err == nil && len(b) <= maxPacket && sendNow(o.conn, b, nil) == nil
}

// close sends what is queued, for at most the limit.
func (o *outbox) close(limit time.Duration) {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.signal()
	select {
	case <-o.done:
	case <-time.After(limit):
	}
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) run() {
	defer close(o.done)
	for {
		o.mu.Lock()
		batch, closed := o.queue, o.closed
		o.queue, o.sending = nil, len(batch) > 0
		o.mu.Unlock()
		for _, m := range batch {
			if sendMessage(o.conn, m, nil, time.Hour) != nil {
				return // the node is gone; the main loop sees it too
			}
		}
		if len(batch) == 0 {
			if closed {
				return
			}
			<-o.wake
		}
	}
}
