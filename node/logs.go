package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/node/journal"
	"github.com/hashicorp/go-hclog"
	"github.com/oklog/ulid/v2"
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

// metricSink keeps entries of metrics; it may block as back-pressure.
type metricSink interface{ add(journal.Entry) }

// logs copies what bodies say into the journals of a few nodes, and reads the journals of all. Metrics are kept the same way,
// in journals of their own.
type logs struct {
	*logQueue
	self    string
	kind    logKind
	journal *journal.Journal
	peers   *peers
	// others are the nodes to ask beside this one.
	others func() []string
	// room refuses to keep more; nil = there is always room.
	room func(own bool) error

	turn    chan struct{} // held by who keeps a batch; guards batches
	batches *remembered

	end   context.CancelFunc // of run
	ended chan struct{}

	slowMu sync.Mutex           // guards slow
	slow   map[string]time.Time // nodes that did not answer in time, and when
}

// logKind is where other nodes keep and read a kind of entries, and how long they wait for company.
type logKind struct {
	read, keep string // paths
	gather     time.Duration
}

var (
	logLines     = logKind{rpcLogs, rpcKeep, logGather}
	metricPoints = logKind{rpcMetrics, rpcKeepMetrics, metricGather}
)

func newLogs(kind logKind, self string, j *journal.Journal, p *peers, others func() []string, logger hclog.Logger) *logs {
	l := &logs{kind: kind, self: self, journal: j, peers: p, others: others, turn: make(chan struct{}, 1), batches: newRemembered()}
	l.logQueue = newLogQueue(kind.gather, l.spread, logger)
	return l
}

// metricsBytes is what points of metrics may take on a node's disk.
const metricsBytes = 256 << 20

// openJournals opens the journals of lines and of points.
func (n *Node) openJournals() (err error) {
	if n.journal, err = journal.Open(filepath.Join(n.dir.Path(), "journal"), n.log, journal.Options{}); err != nil {
		return err
	}
	if n.points, err = journal.Open(filepath.Join(n.dir.Path(), "metrics"), n.log, journal.Options{MaxBytes: metricsBytes}); err != nil {
		return err
	}
	self := n.dir.Identity().NodeID
	n.logs = newLogs(logLines, self, n.journal, n.peers, n.others, n.log)
	n.metrics = newLogs(metricPoints, self, n.points, n.peers, n.others, n.log)
	n.logs.room, n.metrics.room = n.disk.room, n.disk.room
	return nil
}

// start begins to copy.
func (l *logs) start() {
	ctx, cancel := context.WithCancel(context.Background())
	l.ended, l.end = make(chan struct{}), cancel
	go func() { defer close(l.ended); l.run(ctx) }()
}

// stop copies what was said, as far as that is possible now, and ends.
func (l *logs) stop() {
	if l.end == nil {
		return // was not started
	}
	ctx, cancel := context.WithTimeout(context.Background(), fullAnswer)
	defer cancel()
	l.flush(ctx)
	l.end()
	<-l.ended
}

// journalEntry is a line as the journal keeps it.
func journalEntry(line logLine) journal.Entry {
	return journal.Entry{RunID: line.Run, ExecutionID: line.Execution, WorkspaceID: line.Workspace,
		Timestamp: line.At, Level: line.Level, Template: line.Template, Values: line.Values}
}

// appendPatience is how long the lines of a worker may take to be kept.
const appendPatience = 10 * time.Second

var errNotKept = errors.New("no node keeps log lines now: look at the disks of their data directories")

// append keeps the lines of a worker, in as many journals as those of this node's bodies. The batch's id makes a repeat
// harmless, also one that comes by another node if the lines are numbered.
func (l *logs) append(batch string, entries []journal.Entry) error {
	if batch == "" {
		batch = ulid.Make().String()
	}
	var lines []queued
	for i, e := range entries {
		if e.Origin == "" { // the same when it is sent again
			e.Origin, e.Seq = fmt.Sprintf("b%016x", xxhash.Sum64String(batch)), uint64(i+1)
		}
		text, err := encodeLog(e)
		if err != nil {
			return err
		}
		lines = append(lines, queued{e.RunID, text})
	}
	ctx, cancel := context.WithTimeout(context.Background(), appendPatience)
	defer cancel()
	if !l.spread(ctx, batch, lines) {
		return errNotKept
	}
	return nil
}

// localPatience is how long a query waits for what was said just now to be written.
const localPatience = 300 * time.Millisecond

// local reads this node's journal, including what was said just now.
func (l *logs) local(ctx context.Context, q journal.Query) (journal.Page, error) {
	short, cancel := context.WithTimeout(ctx, localPatience)
	defer cancel()
	l.settle(short)
	return l.journal.Query(q)
}

// How long another node is waited for by a query; slowAnswer when it did not answer just now.
const (
	fullAnswer = 2 * time.Second
	slowAnswer = 200 * time.Millisecond
)

// query asks all nodes and merges what they say. A node that does not answer is left out: lines that only it has come when
// it is back.
func (l *logs) query(ctx context.Context, q journal.Query) (journal.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*fullAnswer)
	defer cancel()
	limit := q.Limit
	if limit <= 0 || limit > journal.MaxPage {
		limit = journal.MaxPage
	}
	for {
		page, err := l.ask(ctx, q, limit, l.others())
		if err != nil || len(page.Entries) > 0 || !page.More || ctx.Err() != nil {
			return page, err
		}
		q.After = page.Cursor // copies of what was shown before
	}
}

// definitionPatience is how long a document waits for the definitions of its metrics.
const definitionPatience = 300 * time.Millisecond

// definitions reads how the metrics of a run are drawn from this node and the first two of the run's rank: each entry is in
// one of their journals, unless a holder was away. A document is read often, so not everybody is asked.
func (l *logs) definitions(ctx context.Context, run string) []journal.Entry {
	ctx, cancel := context.WithTimeout(ctx, definitionPatience)
	defer cancel()
	nodes := blob.Rank(run, l.others())
	page, err := l.ask(ctx, journal.Query{RunID: run, Kind: journal.Definitions}, journal.MaxPage, nodes[:min(len(nodes), logCopies-1)])
	if err != nil {
		l.logger.Warn("the definitions of metrics cannot be read", "run", run, "error", err)
	}
	return page.Entries
}

// ask reads this node's journal and those of others, and merges.
func (l *logs) ask(ctx context.Context, q journal.Query, limit int, nodes []string) (journal.Page, error) {
	var mu sync.Mutex // guards pages
	var pages []journal.Page
	var wg sync.WaitGroup
	for _, id := range nodes {
		wg.Go(func() {
			patience := fullAnswer
			if l.isSlow(id) {
				patience = slowAnswer
			}
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			page, err := l.remote(ctx, id, q)
			if err != nil {
				l.setSlow(id, ctx.Err() != nil)
				l.logger.Debug("a node does not answer for its logs", "node", id, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			pages = append(pages, page)
		})
	}
	mine, err := l.local(ctx, q)
	wg.Wait()
	var pattern *journal.BadPatternError
	switch {
	case err == nil:
		pages = append(pages, mine)
	case len(pages) == 0 || errors.Is(err, journal.ErrBadCursor) || errors.As(err, &pattern):
		return journal.Page{}, err
	default: // the others have copies
		l.logger.Error("the own journal cannot be read", "error", err)
	}
	return journal.Merge(limit, q.After, pages...)
}

func (l *logs) remote(ctx context.Context, id string, q journal.Query) (page journal.Page, err error) {
	body, err := json.Marshal(q)
	if err != nil {
		return page, err
	}
	rc, err := l.peers.do(ctx, http.MethodPost, id, l.kind.read, nil, bytes.NewReader(body))
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
const tailEvery = 200 * time.Millisecond

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
