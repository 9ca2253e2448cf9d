package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/journal"
)

// metricsPage is the document of /metrics.
type metricsPage struct {
	Metrics []metricEntry `json:"metrics"`
	Cursor  *string       `json:"cursor"`
}

type metricEntry struct {
	ExecutionID string  `json:"executionId"`
	WorkspaceID string  `json:"workspaceId"`
	Key         string  `json:"key"`
	Value       float64 `json:"value"`
	At          float64 `json:"at"`
}

// metrics answers with points that the executions of a run recorded, or streams them.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) error {
	q, err := metricQuery(r)
	if err != nil {
		return err
	}
	return s.entries(w, r, q, entrySource{s.Backend.Metrics, s.Backend.MetricsSignal,
		func(entries []journal.Entry) any { return newMetricEntries(entries) },
		func(entries any, cursor *string) any { return metricsPage{entries.([]metricEntry), cursor} }})
}

// metricQuery reads what is asked for. An execution tells its run.
func metricQuery(r *http.Request) (q journal.Query, err error) {
	values := r.URL.Query()
	q.RunID, q.ExecutionID, q.Kind = values.Get("run"), values.Get("execution"), journal.Points
	if q.RunID == "" && q.ExecutionID == "" {
		return q, &Error{Code: CodeRunOrExecution, Message: "the query says neither of which run nor of which execution", Hint: "give an id with ?run= or ?execution="}
	}
	if q.ExecutionID != "" {
		id, ok := state.ParseExecutionID(q.ExecutionID)
		if !ok {
			return q, notFound("execution", q.ExecutionID)
		}
		q.RunID = id.Run
	}
	if !plainText.MatchString(q.RunID) {
		return q, notFound("run", q.RunID)
	}
	q.Workspaces, q.Keys = listOf(values.Get("workspaces")), listOf(values.Get("keys"))
	q.After = journal.Cursor(values.Get("after"))
	q.From, err = number(r, "from", 0, 0, 1<<53)
	return q, err
}

// newMetricEntries orders the points of an answer by their place on the x axis.
func newMetricEntries(entries []journal.Entry) []metricEntry {
	out := []metricEntry{}
	for _, e := range entries {
		if m := e.Metric; m != nil {
			out = append(out, metricEntry{e.ExecutionID, e.WorkspaceID, m.Key, m.Value, m.At})
		}
	}
	slices.SortStableFunc(out, func(a, b metricEntry) int { return cmp.Compare(a.At, b.At) })
	return out
}

// postedMetric is a point as it is posted. What is not in http-api.md is our own worker's: a definition instead of a point,
// the identity of an entry.
type postedMetric struct {
	journal.Entry
	Key   *string  `json:"key"`
	Value *float64 `json:"value"`
	At    *float64 `json:"at"`
}

// postMetrics keeps points of a worker's bodies. The batch's id, if it has one, makes a repeat harmless.
func (s *Server) postMetrics(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.project(r); err != nil {
		return err
	}
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	var posted []postedMetric
	if !b.has("entries") {
		b.wrong("entries", "required")
	}
	b.into("entries", &posted)
	var batch string
	b.into("batch", &batch)
	var entries []journal.Entry
	for i, p := range posted {
		switch {
		case p.Metric != nil:
		case p.Key == nil || *p.Key == "" || p.Value == nil || p.At == nil:
			b.wrong(fmt.Sprintf("entries.%d", i), "invalid")
			return b.err()
		default:
			p.Metric = &journal.Metric{Key: *p.Key, Value: *p.Value, At: *p.At}
		}
		if p.Timestamp == 0 {
			p.Timestamp = time.Now().UnixMilli()
		}
		p.Template, p.Values = nil, nil
		entries = append(entries, p.Entry)
	}
	if err := s.checkEntries(r, b, "entries", entries); err != nil {
		return err
	}
	if err := s.Backend.AppendMetrics(batch, entries); err != nil {
		return notKept(err)
	}
	writeJSON(w, http.StatusOK, map[string]bool{"ok": true})
	return nil
}

// define puts the definitions of metrics into documents of steps of a run. They come from the journals, not from the tables:
// what cannot be had at once is missing.
func (s *Server) define(ctx context.Context, run string, steps map[string]*stepDoc) {
	if len(steps) == 0 {
		return
	}
	executions := map[string]*executionDoc{}
	for _, step := range steps {
		for _, e := range step.Executions {
			executions[e.ExecutionID] = e
		}
	}
	for _, d := range s.Backend.MetricDefinitions(ctx, run) {
		e := executions[d.ExecutionID]
		if e == nil || d.Metric == nil || !json.Valid(d.Metric.Definition) {
			continue
		}
		if _, known := e.Metrics[d.Metric.Key]; !known { // the first one wins
			e.Metrics[d.Metric.Key] = d.Metric.Definition
		}
	}
}
