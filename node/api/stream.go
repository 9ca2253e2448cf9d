package api

import (
	"context"
	"net/http"
	"strings"
	"time"
)

const (
	// eventTime is how long a client may take to accept one event; a slower one is cut and has to come back.
	eventTime = 10 * time.Second
	// aliveEvery is how often a silent stream says that it lives.
	aliveEvery = 15 * time.Second
	// eventPause is the least time between two events of one stream, so that changes gather.
	eventPause = 50 * time.Millisecond
)

func wantsStream(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

// events writes server-sent events. Nothing is buffered: a write waits for the client, at most eventTime.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func newEvents(w http.ResponseWriter) *events {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	return &events{w, http.NewResponseController(w)}
}

// send writes one event; an error means that the client is gone or too slow.
func (e *events) send(doc any) error {
	body, err := encodeJSON(doc) // one line: JSON escapes the others, the last one ends it
	if err != nil {
		return err
	}
	return e.write("data: " + string(body) + "\n")
}

// alive writes a comment.
func (e *events) alive() error { return e.write(": alive\n\n") }

func (e *events) write(text string) error {
	_ = e.control.SetWriteDeadline(time.Now().Add(eventTime)) // not every writer of a test can
	if _, err := e.w.Write([]byte(text)); err != nil {
		return err
	}
	return e.control.Flush()
}

// pause waits after an event that took some time to make: ten times as long, so that streams of large documents cannot
// take more than a tenth of a processor each.
func pause(ctx context.Context, took time.Duration) {
	t := time.NewTimer(min(max(eventPause, 10*took), aliveEvery))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
