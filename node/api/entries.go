package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/journal"
)

// entrySource is where entries of journals come from, and how they are written.
type entrySource struct {
	query  func(context.Context, journal.Query) (journal.Page, error)
	signal func(run string) (<-chan struct{}, func())
	write  func([]journal.Entry) any
	page   func(entries any, cursor *string) any // around what write gave
}

// entries answers with what the executions of a run said or recorded, or streams it.
func (s *Server) entries(w http.ResponseWriter, r *http.Request, q journal.Query, from entrySource) error {
	hidden, err := s.hidden(r, q.RunID)
	if err != nil {
		return err
	}
	if hidden {
		return notFound("run", q.RunID)
	}
	if wantsStream(r) {
		return s.streamEntries(w, r, q, from)
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	page, err := from.query(ctx, q)
	if err != nil {
		return err
	}
	var cursor *string
	if page.Cursor != "" && len(page.Entries) > 0 {
		text := string(page.Cursor)
		cursor = &text
	}
	writeJSON(w, http.StatusOK, from.page(from.write(page.Entries), cursor))
	return nil
}

// listOf splits a list with commas.
func listOf(text string) (out []string) {
	for part := range strings.SplitSeq(text, ",") {
		if part != "" {
			out = append(out, part)
		}
	}
	return out
}

// streamEntries sends what exists and then what arrives, until the client goes or the node stops.
func (s *Server) streamEntries(w http.ResponseWriter, r *http.Request, q journal.Query, from entrySource) error {
	ctx, done, ok := s.lasting(r)
	if !ok {
		return &Error{Code: CodeUnavailable, Message: "this node is stopping", Hint: "ask another node"}
	}
	defer done()
	signal, cancel := from.signal(q.RunID) // before the first look, so that nothing falls in between
	defer cancel()
	q.After = ""
	page, err := from.query(ctx, q)
	if err != nil {
		return err
	}
	out := newEvents(w)
	err = out.send(from.write(page.Entries))
	for last := time.Now(); err == nil; {
		if page.Cursor != "" {
			q.After = page.Cursor
		}
		if !page.More {
			waitSignal(ctx, signal)
		}
		if ctx.Err() != nil {
			return nil
		}
		if page, err = from.query(ctx, q); err != nil {
			break
		}
		switch {
		case len(page.Entries) > 0:
			err, last = out.send(from.write(page.Entries)), time.Now()
		case time.Since(last) >= aliveEvery:
			err, last = out.alive(), time.Now()
		}
	}
	return nil // the client is gone, too slow, or the logs cannot be read now: it comes back
}

// waitSignal waits for a signal, for the time to say that the stream lives, or for the end of ctx.
func waitSignal(ctx context.Context, signal <-chan struct{}) {
	t := time.NewTimer(aliveEvery)
	defer t.Stop()
	select {
	case <-signal:
	case <-t.C:
	case <-ctx.Done():
	}
}

// maxOrigin is the length that the origin of a line may have. It and the number are our own worker's: they tell a line that
// comes twice by different nodes.
const maxOrigin = 64

func notKept(err error) error {
	return &Error{Code: CodeUnavailable, Message: "the entries cannot be kept now: " + err.Error(), Hint: "send them again"}
}

// checkEntries refuses entries of what is no execution of a run of the caller's project.
func (s *Server) checkEntries(r *http.Request, b *body, field string, entries []journal.Entry) error {
	runs := map[string]bool{} // that were looked at
	for i, e := range entries {
		if id, ok := state.ParseExecutionID(e.ExecutionID); !ok || id.Run != e.RunID {
			b.wrong(fmt.Sprintf("%s.%d.executionId", field, i), "invalid")
			break
		}
		if e.Origin == "" {
			entries[i].Seq = 0
		}
		if len(e.Origin) > maxOrigin {
			b.wrong(fmt.Sprintf("%s.%d.origin", field, i), "too_long")
			break
		}
		if runs[e.RunID] {
			continue
		}
		runs[e.RunID] = true
		if hidden, err := s.hidden(r, e.RunID); err != nil {
			return err
		} else if hidden {
			return notFound("run", e.RunID)
		}
	}
	return b.err()
}

// hidden tells whether a run belongs to another project. One that is not known here yet is asked for with a quorum, as
// other nodes may have its lines already.
func (s *Server) hidden(r *http.Request, run string) (bool, error) {
	project, err := s.project(r)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	for _, stale := range []bool{true, false} {
		reading, err := s.Backend.Read(ctx, stale)
		if err != nil {
			return false, err
		}
		if known := reading.View.Run(run); known != nil {
			return reading.View.Project(known.Workspace) != project, nil
		}
		if p := reading.View.Packed(run); p != nil {
			return reading.View.Project(p.Workspace) != project, nil
		}
	}
	return false, nil
}
