package node

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/node/journal"
	"github.com/hashicorp/go-hclog"
)

// logLine is one line or message of a body.
type logLine struct {
	Run, Execution, Workspace string
	At                        int64 // ms
	Level                     int
	Template                  *string
	Values                    map[string]journal.Value
}

// logSink keeps log lines; it may block as back-pressure.
type logSink interface{ log(logLine) }

// logs writes what bodies say into this node's journal, and reads the journals of all nodes.
type logs struct {
	journal *journal.Journal
	peers   *peers
	// others are the nodes to ask beside this one.
	others func() []string
	logger hclog.Logger

	mu      sync.Mutex // guards batches, and one append at a time
	batches *remembered
}

func (l *logs) log(line logLine) {
	if err := l.journal.Append(journalEntry(line)); err != nil {
		l.logger.Warn("log line lost", "execution", line.Execution, "error", err)
	}
}

// journalEntry is a line as the journal keeps it.
func journalEntry(line logLine) journal.Entry {
	return journal.Entry{RunID: line.Run, ExecutionID: line.Execution, WorkspaceID: line.Workspace,
		Timestamp: line.At, Level: line.Level, Template: line.Template, Values: line.Values}
}

// append keeps the lines of a worker; a batch that was taken before is known again by its id. The journal may hold the
// caller back.
func (l *logs) append(batch string, entries []journal.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock() // a repeat waits for the first try
	if l.batches == nil {
		l.batches = newRemembered()
	}
	if batch != "" && l.batches.has(batch) {
		return nil
	}
	if err := l.journal.Append(entries...); err != nil {
		return err
	}
	if batch != "" {
		l.batches.add(batch)
	}
	return nil
}

// local reads this node's journal, including what was said just now.
func (l *logs) local(q journal.Query) (journal.Page, error) {
	if err := l.journal.Flush(); err != nil {
		l.logger.Warn("journal is behind", "error", err)
	}
	return l.journal.Query(q)
}

// query asks all nodes and merges what they say. A node that does not answer is left out: its lines come when it is back.
func (l *logs) query(ctx context.Context, q journal.Query) (journal.Page, error) {
	mine, err := l.local(q)
	if err != nil {
		return journal.Page{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var mu sync.Mutex // guards pages
	pages := []journal.Page{mine}
	var wg sync.WaitGroup
	for _, id := range l.others() {
		wg.Go(func() {
			page, err := l.remote(ctx, id, q)
			if err != nil {
				l.logger.Debug("a node does not answer for its logs", "node", id, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			pages = append(pages, page)
		})
	}
	wg.Wait()
	limit := q.Limit
	if limit <= 0 {
		limit = journal.MaxPage
	}
	return journal.Merge(limit, q.After, pages...)
}

func (l *logs) remote(ctx context.Context, id string, q journal.Query) (page journal.Page, err error) {
	body, err := json.Marshal(q)
	if err != nil {
		return page, err
	}
	rc, err := l.peers.do(ctx, http.MethodPost, id, rpcLogs, nil, bytes.NewReader(body))
	if err != nil {
		return page, err
	}
	defer rc.Close()
	data, err := io.ReadAll(io.LimitReader(rc, maxMessage))
	if err != nil {
		return page, err
	}
	return page, json.Unmarshal(data, &page)
}

// tailEvery is how often a live tail asks the other nodes.
const tailEvery = 300 * time.Millisecond

// signal fires when there may be new lines of a run: at once for this node's, within tailEvery for the others'.
func (l *logs) signal(run string) (<-chan struct{}, func()) {
	mine, cancel := l.journal.Subscribe(run)
	out, stop := make(chan struct{}, 1), make(chan struct{})
	go func() {
		ticker := time.NewTicker(tailEvery)
		defer ticker.Stop()
		for {
			select {
			case <-mine:
			case <-ticker.C:
				if len(l.others()) == 0 {
					continue
				}
			case <-stop:
				return
			}
			select {
			case out <- struct{}{}:
			default:
			}
		}
	}()
	return out, func() { cancel(); close(stop) }
}
