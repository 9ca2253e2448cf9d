package api

import (
	"net/http"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// maxQueue is how many executions the queue document shows; the header Coflux-Left-Off says how many more there are.
const maxQueue = 10_000

// queuedDoc is an entry of the queue: an execution that waits or runs. Dependencies are the
// executions without outcome that it waits for, before its start or now.
type queuedDoc struct {
	Module       string              `json:"module"`
	Target       string              `json:"target"`
	RunID        string              `json:"runId"`
	StepID       string              `json:"stepId"`
	StepNumber   int                 `json:"stepNumber"`
	Attempt      int                 `json:"attempt"`
	ExecuteAfter *int64              `json:"executeAfter"`
	CreatedAt    int64               `json:"createdAt"`
	AssignedAt   *int64              `json:"assignedAt"`
	Node         *string             `json:"node"`
	Dependencies []string            `json:"dependencies"`
	Requires     map[string][]string `json:"requires"`
	// Reason says why no session could take it, however many slots were free.
	Reason *string `json:"reason"`
}

func (s *Server) queue(w http.ResponseWriter, r *http.Request) error {
	workspace := r.PathValue("workspace")
	limit, err := number(r, "limit", maxQueue, 1, maxQueue)
	if err != nil {
		return err
	}
	reading, err := s.readWorkspace(w, r, workspace)
	if err != nil {
		return err
	}
	doc, left := newQueueDoc(reading.View, workspace, int(limit))
	if left > 0 {
		w.Header().Set("Coflux-Left-Off", decimal(left))
	}
	writeJSON(w, http.StatusOK, doc)
	return nil
}

func newQueueDoc(v *state.View, workspace string, limit int) (doc map[string]queuedDoc, left int) {
	doc = map[string]queuedDoc{}
	reasons := map[state.Class]*string{}
	for e := range v.Unfinished(workspace) {
		if len(doc) == limit {
			left++
			continue
		}
		id := e.ID()
		entry := queuedDoc{Module: e.Module, Target: e.Target, RunID: e.Run, StepID: id.StepID().String(), StepNumber: e.Step,
			Attempt: e.Attempt, ExecuteAfter: timeOrNil(e.ExecuteAfter), CreatedAt: e.CreatedAt,
			AssignedAt: timeOrNil(e.AssignedAt), Node: nodeName(v, e), Dependencies: []string{}, Requires: map[string][]string{}}
		for _, r := range state.ParseRequires(e.Requires) {
			entry.Requires[r.Name] = r.Values
		}
		if e.Queued() {
			if _, known := reasons[e.Class()]; !known {
				reasons[e.Class()] = textOrNil(scheduler.NoSession(v, e.Class()))
			}
			entry.Reason = reasons[e.Class()]
		}
		for _, on := range scheduler.WaitsFor(v, e) {
			if on.Kind == state.KindExecution {
				entry.Dependencies = append(entry.Dependencies, on.ID)
			}
		}
		for d := range v.Dependencies(id) {
			if on, ok := state.ParseExecutionID(d.On); ok && scheduler.Outcome(v, on) == nil {
				entry.Dependencies = append(entry.Dependencies, d.On)
			}
		}
		doc[id.String()] = entry
	}
	return doc, left
}
