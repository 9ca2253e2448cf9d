package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/node/journal"
)

const (
	// logCopies is how many journals hold a line, as far as there are nodes.
	logCopies = 3
	// logCandidates bounds the nodes that are tried for a run: the holders, and who stands in for them.
	logCandidates = 6
	// logHedge is how long a holder may take before the next one is asked too.
	logHedge = time.Second
	// logRound bounds a round in which nobody answers.
	logRound = 5 * time.Second
	// logSlow is for how long a node that did not answer in time is not waited for.
	logSlow = 5 * time.Second
)

// copyBatch is what a holder is asked to keep. A repeat is known by its id.
type copyBatch struct {
	ID      string            `json:"id"`
	Entries []json.RawMessage `json:"entries"`
}

// candidates are the nodes for the lines of a run, the best first: this one, because its copy costs no network and outlives
// a cut, then the others in the run's own order; those that were slow just now last.
func (l *logs) candidates(run string) []string {
	var quick, slow []string
	for _, id := range append([]string{l.self}, blob.Rank(run, l.others())...) {
		if l.isSlow(id) {
			slow = append(slow, id)
		} else {
			quick = append(quick, id)
		}
	}
	all := append(quick, slow...)
	return all[:min(len(all), logCandidates)]
}

func (l *logs) isSlow(id string) bool {
	l.slowMu.Lock()
	defer l.slowMu.Unlock()
	return time.Since(l.slow[id]) < logSlow
}

func (l *logs) setSlow(id string, slow bool) {
	l.slowMu.Lock()
	defer l.slowMu.Unlock()
	if l.slow == nil {
		l.slow = map[string]time.Time{}
	}
	delete(l.slow, id)
	if slow {
		l.slow[id] = time.Now()
	}
}

// spread hands a batch to the journals that hold its runs, until each line is in one at least; false when ctx ended first.
func (l *logs) spread(ctx context.Context, id string, batch []queued) bool {
	groups := map[string][]queued{} // by candidates
	var order []string
	for _, q := range batch {
		key := strings.Join(l.candidates(q.run), " ")
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], q)
	}
	var wg sync.WaitGroup
	kept := make([]bool, len(order))
	for i, key := range order {
		wg.Go(func() { kept[i] = l.spreadGroup(ctx, fmt.Sprintf("%s.%d", id, i), groups[key]) })
	}
	wg.Wait()
	for _, ok := range kept {
		if !ok {
			return false
		}
	}
	return true
}

func (l *logs) spreadGroup(ctx context.Context, id string, group []queued) bool {
	b := copyBatch{ID: id}
	for _, q := range group {
		b.Entries = append(b.Entries, q.text)
	}
	body, err := json.Marshal(b)
	if err != nil { // cannot be: it was encoded before
		l.logger.Error("log lines lost", "lines", len(group), "error", err)
		return true
	}
	for try := 1; ; try++ {
		good, err := l.spreadRound(ctx, l.candidates(group[0].run), b, body)
		if good > 0 {
			return true
		}
		if try == 1 && ctx.Err() == nil {
			l.logger.Warn("log lines wait: no node keeps them", "lines", len(group), "error", err)
		}
		if !pause(ctx, logAgain) {
			return false
		}
	}
}

type copyAnswer struct {
	node string
	err  error
}

// spreadRound asks the first nodes at once, and the next one for each that fails or is slow. It returns how many have
// the batch now, and why one has not.
func (l *logs) spreadRound(ctx context.Context, nodes []string, b copyBatch, body []byte) (good int, failed error) {
	ctx, cancel := context.WithTimeout(ctx, logRound)
	defer cancel()
	need := 0
	for _, id := range nodes {
		if !l.isSlow(id) {
			need++
		}
	}
	need = max(1, min(need, logCopies))
	hedge := time.NewTicker(logHedge)
	defer hedge.Stop()
	answers := make(chan copyAnswer, len(nodes))
	busy := map[string]bool{} // true: took too long
	asked, waiting := 0, 0    // waiting: busy and not too long
	for good < need {
		for asked < len(nodes) && good+waiting < need {
			node := nodes[asked]
			busy[node], asked, waiting = false, asked+1, waiting+1
			go func() { answers <- copyAnswer{node, l.copyTo(ctx, node, b, body)} }()
		}
		if waiting == 0 && (good > 0 || len(busy) == 0) {
			break
		}
		select {
		case a := <-answers:
			if !busy[a.node] {
				waiting--
			}
			delete(busy, a.node)
			l.setSlow(a.node, a.err != nil)
			if a.err == nil {
				good++
			} else {
				failed = fmt.Errorf("node %s: %w", a.node, a.err)
			}
		case <-hedge.C:
			for node := range busy {
				busy[node] = true
				l.setSlow(node, true)
			}
			waiting = 0
		}
	}
	return good, failed
}

// copyTo has a node keep a batch.
func (l *logs) copyTo(ctx context.Context, node string, b copyBatch, body []byte) error {
	if node == l.self {
		return l.keep(ctx, b)
	}
	rc, err := l.peers.do(ctx, http.MethodPost, node, l.kind.keep, nil, bytes.NewReader(body))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, rc)
	rc.Close()
	return err
}

// keep writes a batch into this node's journal. One that was kept before is known again by its id; a repeat waits for the
// first try.
func (l *logs) keep(ctx context.Context, b copyBatch) error {
	if l.room != nil {
		if err := l.room(false); err != nil {
			return err
		}
	}
	entries := make([]journal.Entry, len(b.Entries))
	for i, text := range b.Entries {
		if err := json.Unmarshal(text, &entries[i]); err != nil {
			return fmt.Errorf("log line %d of a batch cannot be read: %w", i, err)
		}
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if l.batches.has(b.ID) {
		return nil
	}
	if err := l.journal.Keep(ctx, entries...); err != nil {
		return err
	}
	l.batches.add(b.ID)
	return nil
}
