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

// Bounds of what log lines may take before they are handed over.
const (
	logBatch   = 500                   // lines of one request
	logBytes   = 512 << 10             // of one request, about: a node takes 1 MiB
	logPending = 4 << 20               // bytes that wait, in all
	logGather  = 50 * time.Millisecond // for which lines wait for company
	// metricGather is for which points wait (semantics 24: 0.2 s).
	metricGather = 200 * time.Millisecond
	logPatient   = 10 * time.Second       // for which a body is held back while nobody takes anything
	logAgain     = 500 * time.Millisecond // between tries
)

// queued is a line on its way.
type queued struct {
	run  string
	text json.RawMessage // encoded entry
}

// logQueue hands the lines of bodies over in order, in batches: a node's to the journals that hold them, a worker's to its
// node. While nobody takes anything bodies are held back; after logPatient lines are left out and counted, and their place is
// marked.
type logQueue struct {
	// send returns when the batch is taken, or refused for good; false when ctx ended first. The id is that of the batch.
	send      func(ctx context.Context, id string, batch []queued) bool
	gather    time.Duration // for which the first one waits for company
	logger    hclog.Logger
	numbering *journal.Numbering

	mu      sync.Mutex // guards the rest
	pending []queued
	sent    int // lines that were handed over
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

func newLogQueue(gather time.Duration, send func(context.Context, string, []queued) bool, logger hclog.Logger) *logQueue {
	return &logQueue{gather: gather, send: send, logger: logger, numbering: journal.NewNumbering(), gaps: map[string]*gap{},
		more: make(chan struct{}, 1), room: make(chan struct{})}
}

// log takes a line; it holds the body back while too much waits.
func (l *logQueue) log(line logLine) { l.add(journalEntry(line)) }

func (l *logQueue) add(entry journal.Entry) {
	limit := time.NewTimer(logPatient)
	defer limit.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.bytes+sizeOf(entry) > logPending && l.bytes > 0 {
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
		l.markLocked(g)
	}
	l.addLocked(entry)
}

// sizeOf is about what an entry takes.
func sizeOf(e journal.Entry) int {
	size := 200
	if e.Template != nil {
		size += len(*e.Template)
	}
	for name, v := range e.Values {
		size += len(name) + len(v.Data) + len(v.References) + 150
	}
	return size
}

// encodeLog writes an entry as it is sent. One that fits no request is cut.
func encodeLog(e journal.Entry) (json.RawMessage, error) {
	text, err := json.Marshal(e)
	if err == nil && len(text) > logBytes {
		text, err = json.Marshal(journal.Shorten(e, len(text)))
	}
	return text, err
}

func (l *logQueue) addLocked(e journal.Entry) {
	l.numbering.Stamp(&e)
	text, err := encodeLog(e)
	if err != nil {
		l.logger.Warn("log line lost", "execution", e.ExecutionID, "error", err)
		return
	}
	l.pending = append(l.pending, queued{e.RunID, text})
	l.bytes += len(text)
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// markLocked puts a line where others are missing. Between points there is no place for one.
func (l *logQueue) markLocked(g *gap) {
	if g.entry.Metric != nil {
		l.logger.Warn("points of metrics were dropped: nobody took them for too long", "execution", g.entry.ExecutionID, "count", g.count)
		return
	}
	l.addLocked(g.mark())
}

// mark is the line that stands where others are missing.
func (g *gap) mark() journal.Entry {
	e := g.entry
	text := "{count} log lines were dropped here: no node took them for too long"
	e.Level, e.Template = 4, &text
	e.Values = map[string]journal.Value{"count": {Type: "raw", Data: json.RawMessage(fmt.Sprint(g.count)), References: json.RawMessage("[]")}}
	return e
}

// run hands lines over until ctx ends.
func (l *logQueue) run(ctx context.Context) {
	for {
		select {
		case <-l.more:
		case <-ctx.Done():
			return
		}
		if !pause(ctx, l.gather) {
			return
		}
		l.deliver(ctx)
	}
}

// flush waits until all lines are handed over, or ctx ends.
func (l *logQueue) flush(ctx context.Context) {
	l.mu.Lock()
	l.markGapsLocked()
	l.mu.Unlock()
	if !l.settle(ctx) {
		l.logger.Warn("log lines were lost: nobody took them before the end")
	}
}

// settle waits until all lines that were taken before are handed over; false when ctx ended first.
func (l *logQueue) settle(ctx context.Context) bool {
	l.mu.Lock()
	last := l.sent + len(l.pending)
	for l.sent < last {
		room := l.room
		l.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return false
		}
		l.mu.Lock()
	}
	l.mu.Unlock()
	return true
}

func (l *logQueue) markGapsLocked() {
	for id, g := range l.gaps {
		delete(l.gaps, id)
		l.markLocked(g)
	}
}

// deliver hands over what waits.
func (l *logQueue) deliver(ctx context.Context) {
	for batch := l.batch(); len(batch) > 0; batch = l.batch() {
		if !l.send(ctx, ulid.Make().String(), batch) {
			return
		}
		l.taken(len(batch))
	}
}

// remoteLogs sends the lines of a worker to its node. A batch is repeated under its id until it is taken: the node knows it
// again.
type remoteLogs struct {
	post   func(ctx context.Context, batch string, messages []json.RawMessage) error
	logger hclog.Logger
}

func (l remoteLogs) send(ctx context.Context, id string, batch []queued) bool {
	messages := make([]json.RawMessage, len(batch))
	for i, q := range batch {
		messages[i] = q.text
	}
	for try := 1; ; try++ {
		err := l.post(ctx, id, messages)
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
func (l *logQueue) batch() []queued {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, bytes := 0, 0
	for n < len(l.pending) && n < logBatch {
		size := len(l.pending[n].text)
		if n > 0 && bytes+size > logBytes {
			break
		}
		n, bytes = n+1, bytes+size
	}
	return l.pending[:n:n]
}

func (l *logQueue) taken(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range l.pending[:n] {
		l.bytes -= len(q.text)
	}
	clear(l.pending[:n]) // what was handed over is not held on to
	l.pending, l.sent = l.pending[n:], l.sent+n
	l.markGapsLocked()
	close(l.room)
	l.room = make(chan struct{})
}
