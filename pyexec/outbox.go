package pyexec

import (
	"net"
	"sync"
	"time"
)

// outbox sends the guard's reports in order without ever holding the guard up: the node may be stopped and its socket
// full. mu guards queue and closed.
type outbox struct {
	conn *net.UnixConn

	mu     sync.Mutex
	queue  []guardMessage
	closed bool
	wake   chan struct{}
	done   chan struct{}
}

func newOutbox(conn *net.UnixConn) *outbox {
	return &outbox{conn: conn, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

func (o *outbox) put(m guardMessage) {
	o.mu.Lock()
	o.queue = append(o.queue, m)
	o.mu.Unlock()
	o.signal()
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
		o.queue = nil
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
