package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/journal"
)

// logsPage is the document of /logs.
type logsPage struct {
	Logs   []logEntry `json:"logs"`
	Cursor *string    `json:"cursor"`
}

type logEntry struct {
	ExecutionID string              `json:"executionId"`
	WorkspaceID string              `json:"workspaceId"`
	Timestamp   int64               `json:"timestamp"`
	Level       int                 `json:"level"`
	Template    *string             `json:"template"`
	Values      map[string]valueDoc `json:"values"`
}

// logs answers with the log lines of a run, or streams them.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) error {
	q, err := logQuery(r)
	if err != nil {
		return err
	}
	hidden, err := s.hidden(r, q.RunID)
	if err != nil {
		return err
	}
	if hidden {
		return notFound("run", q.RunID)
	}
	if wantsStream(r) {
		return s.streamEntries(w, r, q, entrySource{s.Backend.Logs, s.Backend.LogsSignal, func(entries []journal.Entry) any { return newLogEntries(entries) }})
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	page, err := s.Backend.Logs(ctx, q)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, newLogsPage(page))
	return nil
}

// maxOrigin is the length that the origin of a line may have. It and the number are our own worker's: they tell a line that
// comes twice by different nodes.
const maxOrigin = 64

// postLogs keeps lines that a worker's bodies said. The batch's id, if it has one, makes a repeat harmless.
func (s *Server) postLogs(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.project(r); err != nil {
		return err
	}
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	var entries []journal.Entry
	if !b.has("messages") {
		b.wrong("messages", "required")
	}
	b.into("messages", &entries)
	var batch string
	b.into("batch", &batch)
	if err := s.checkEntries(r, b, "messages", entries); err != nil {
		return err
	}
	if err := s.Backend.AppendLogs(batch, entries); err != nil {
		return notKept(err)
	}
	writeJSON(w, http.StatusOK, map[string]bool{"ok": true})
	return nil
}

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

func logQuery(r *http.Request) (q journal.Query, err error) {
	values := r.URL.Query()
	q.RunID, q.ExecutionID = values.Get("run"), values.Get("execution")
	if q.RunID == "" {
		return q, &Error{Code: CodeRunRequired, Message: "the query does not say of which run", Hint: "give the run's id with ?run="}
	}
	if !plainText.MatchString(q.RunID) {
		return q, notFound("run", q.RunID)
	}
	for w := range strings.SplitSeq(values.Get("workspaces"), ",") {
		if w != "" {
			q.Workspaces = append(q.Workspaces, w)
		}
	}
	q.After = journal.Cursor(values.Get("after"))
	q.Grep = values.Get("grep")
	level, err := number(r, "level", 0, 0, 5)
	if err != nil {
		return q, err
	}
	q.Level = int(level)
	q.From, err = number(r, "from", 0, 0, 1<<53)
	return q, err
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

func newLogsPage(p journal.Page) logsPage {
	out := logsPage{Logs: newLogEntries(p.Entries)}
	if p.Cursor != "" && len(p.Entries) > 0 {
		cursor := string(p.Cursor)
		out.Cursor = &cursor
	}
	return out
}

func newLogEntries(entries []journal.Entry) []logEntry {
	out := []logEntry{}
	for _, e := range entries {
		entry := logEntry{e.ExecutionID, e.WorkspaceID, e.Timestamp, e.Level, e.Template, map[string]valueDoc{}}
		for name, v := range e.Values {
			entry.Values[name] = newLogValue(v)
		}
		out = append(out, entry)
	}
	return out
}

func newLogValue(v journal.Value) valueDoc {
	out := valueDoc{Type: v.Type, Key: v.Key, Size: v.Size, References: []any{}}
	if v.Type == "raw" {
		out.Data = rawJSON(v.Data)
	}
	var references []json.RawMessage
	_ = json.Unmarshal(v.References, &references) // what is no list has no references
	for _, raw := range references {
		out.References = append(out.References, newLogReference(raw))
	}
	return out
}

// newLogReference turns the array in which executors write a reference (adapter-protocol 3.2) into an object; anything
// else stays as it is.
func newLogReference(raw json.RawMessage) any {
	var kind, format, key string
	var size int64
	var metadata json.RawMessage
	fields := []any{&kind, &format, &key, &size, &metadata}
	if json.Unmarshal(raw, &fields) == nil && kind == "fragment" {
		return fragmentReference{kind, format, key, size, rawJSON(metadata)}
	}
	var parts []string
	if json.Unmarshal(raw, &parts) == nil && len(parts) >= 2 && parts[0] == "input" {
		return inputReference{parts[0], parts[1]}
	}
	if json.Unmarshal(raw, &parts) != nil || len(parts) < 2 || parts[0] != "execution" {
		return raw
	}
	parts = append(parts, "", "")
	return executionReference{parts[0], execRef{parts[1], parts[2], parts[3]}}
}

// entrySource is where a stream of entries comes from, and how it is written.
type entrySource struct {
	query  func(context.Context, journal.Query) (journal.Page, error)
	signal func(run string) (<-chan struct{}, func())
	write  func([]journal.Entry) any
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
