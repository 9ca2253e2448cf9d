package api

import (
	"encoding/json"
	"net/http"

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
	return s.entries(w, r, q, entrySource{s.Backend.Logs, s.Backend.LogsSignal,
		func(entries []journal.Entry) any { return newLogEntries(entries) },
		func(entries any, cursor *string) any { return logsPage{entries.([]logEntry), cursor} }})
}

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

func logQuery(r *http.Request) (q journal.Query, err error) {
	values := r.URL.Query()
	q.RunID, q.ExecutionID = values.Get("run"), values.Get("execution")
	if q.RunID == "" {
		return q, &Error{Code: CodeRunRequired, Message: "the query does not say of which run", Hint: "give the run's id with ?run="}
	}
	if !plainText.MatchString(q.RunID) {
		return q, notFound("run", q.RunID)
	}
	q.Workspaces = listOf(values.Get("workspaces"))
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
	a := logAsset{}
	fields = []any{&a.Type, &a.AssetID, &a.Name, &a.TotalCount, &a.TotalSize}
	if json.Unmarshal(raw, &fields) == nil && a.Type == state.KindAsset {
		return a
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
