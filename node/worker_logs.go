package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
	"github.com/coflux-mesh/coflux/node/journal"
	"github.com/hashicorp/go-hclog"
	"github.com/oklog/ulid/v2"
)

// Bounds of what a worker's log lines may take before they are handed over.
const (
	logBatch   = 200                    // lines of one request
	logBytes   = 512 << 10              // of one request, about: a node takes 1 MiB
	logPending = 8 << 20                // bytes that wait, in all
	logGather  = 100 * time.Millisecond // for which lines wait for company
	logPatient = 10 * time.Second       // for which a body is held back while the node takes nothing
	logAgain   = 500 * time.Millisecond // between tries
)

// remoteLogs hands the lines of a worker's bodies to the node, in order, in batches. While the node takes nothing bodies are
// held back; after logPatient lines are left out and counted, and their place is marked.
type remoteLogs struct {
	client *client.Client
	logger hclog.Logger

	mu      sync.Mutex        // guards the rest
	pending []json.RawMessage // encoded entries
	bytes   int
	gaps    map[string]*gap // by execution
	more    chan struct{}   // something is pending
	room    chan struct{}   // closed when pending has shrunk
}

// gap counts lines of an execution that were left out, and remembers where.
type gap struct {
	entry journal.Entry // of the first one
	count int
}

func newRemoteLogs(c *client.Client, logger hclog.Logger) *remoteLogs {
	return &remoteLogs{client: c, logger: logger, gaps: map[string]*gap{}, more: make(chan struct{}, 1), room: make(chan struct{})}
}

// log takes a line; it holds the body back while too much waits.
func (l *remoteLogs) log(line logLine) {
	entry := journalEntry(line)
	text, err := encodeLog(entry)
	if err != nil {
		l.logger.Warn("log line lost", "execution", line.Execution, "error", err)
		return
	}
	limit := time.NewTimer(logPatient)
	defer limit.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.bytes+len(text) > logPending && l.bytes > 0 {
		room := l.room
		l.mu.Unlock()
		late := false
		select {
		case <-room:
		case <-limit.C:
			late = true
		}
		l.mu.Lock()
		if late {
			if l.gaps[entry.ExecutionID] == nil {
				l.gaps[entry.ExecutionID] = &gap{entry: entry}
			}
			l.gaps[entry.ExecutionID].count++
			return
		}
	}
	if g := l.gaps[entry.ExecutionID]; g != nil {
		delete(l.gaps, entry.ExecutionID)
		l.addLocked(g.mark())
	}
	l.addLocked(text)
}

// encodeLog writes an entry as it is sent. One that fits no request is cut.
func encodeLog(e journal.Entry) (json.RawMessage, error) {
	text, err := json.Marshal(e)
	if err == nil && len(text) > logBytes {
		text, err = json.Marshal(journal.Shorten(e, len(text)))
	}
	return text, err
}

func (l *remoteLogs) addLocked(text json.RawMessage) {
	l.pending = append(l.pending, text)
	l.bytes += len(text)
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// mark is the line that stands where others are missing.
func (g *gap) mark() json.RawMessage {
	e := g.entry
	text := "{count} log lines were dropped here: no node took them for too long"
	e.Level, e.Template = 4, &text
	e.Values = map[string]journal.Value{"count": {Type: "raw", Data: json.RawMessage(fmt.Sprint(g.count)), References: json.RawMessage("[]")}}
	raw, _ := json.Marshal(e) // made of what was marshalled before
	return raw
}

// run hands lines over until ctx ends.
func (l *remoteLogs) run(ctx context.Context) {
	for {
		select {
		case <-l.more:
		case <-ctx.Done():
			return
		}
		if !pause(ctx, logGather) {
			return
		}
		l.deliver(ctx)
	}
}

// flush waits until all lines are handed over, or ctx ends.
func (l *remoteLogs) flush(ctx context.Context) {
	for {
		l.mu.Lock()
		for id, g := range l.gaps {
			delete(l.gaps, id)
			l.addLocked(g.mark())
		}
		empty, room := len(l.pending) == 0, l.room
		l.mu.Unlock()
		if empty {
			return
		}
		select {
		case <-room:
		case <-ctx.Done():
			l.logger.Warn("log lines were lost: no node took them before the end")
			return
		}
	}
}

// deliver hands over what waits.
func (l *remoteLogs) deliver(ctx context.Context) {
	for batch := l.batch(); len(batch) > 0; batch = l.batch() {
		if !l.send(ctx, batch) {
			return
		}
		l.taken(len(batch))
	}
}

// send hands a batch over; false when ctx ended first. It is repeated under its id until it is taken: the node knows it
// again.
func (l *remoteLogs) send(ctx context.Context, batch []json.RawMessage) bool {
	id := ulid.Make().String()
	for try := 1; ; try++ {
		err := l.client.PostLogs(ctx, id, batch)
		var refused *client.Error
		switch {
		case err == nil:
			return true
		case errors.As(err, &refused) && (refused.Status == http.StatusBadRequest || refused.Status == http.StatusRequestEntityTooLarge):
			l.logger.Error("log lines were lost: the node does not take them", "lines", len(batch), "error", err)
			return true
		case try == 1:
			l.logger.Debug("log lines wait for the node", "error", err)
		}
		if !pause(ctx, logAgain) {
			return false
		}
	}
}

// batch is what goes next, as far as one request holds it.
func (l *remoteLogs) batch() []json.RawMessage {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, bytes := 0, 0
	for n < len(l.pending) && n < logBatch {
		size := len(l.pending[n])
		if n > 0 && bytes+size > logBytes {
			break
		}
		n, bytes = n+1, bytes+size
	}
	return l.pending[:n:n]
}

func (l *remoteLogs) taken(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, text := range l.pending[:n] {
		l.bytes -= len(text)
	}
	l.pending = l.pending[n:]
	close(l.room)
	l.room = make(chan struct{})
}
