package api

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// sessionDoc is an entry of the sessions document. Executing counts what the session holds now, Executions what it was ever given.
type sessionDoc struct {
	Connected   bool                `json:"connected"`
	Executing   int                 `json:"executing"`
	Concurrency int                 `json:"concurrency"`
	PoolName    *string             `json:"poolName"`
	Node        string              `json:"node"`
	Targets     map[string][]string `json:"targets"`
	Provides    map[string][]string `json:"provides"`
	Accepts     map[string][]string `json:"accepts"`
	WorkerState *string             `json:"workerState"`
	Executions  int                 `json:"executions"`
}

func (s *Server) sessions(w http.ResponseWriter, r *http.Request) error {
	workspace := r.PathValue("workspace")
	reading, err := s.readWorkspace(w, r, workspace)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	alive := map[string]bool{}
	for _, n := range s.Backend.Nodes(ctx).Nodes {
		alive[n.ID] = n.State == "alive"
	}
	writeJSON(w, http.StatusOK, newSessionsDoc(reading.View, workspace, alive))
	return nil
}

// newSessionsDoc lists the sessions that are not lost. One is connected as far as its node is
// alive; a worker's is given up ten seconds after it was last heard of.
func newSessionsDoc(v *state.View, workspace string, alive map[string]bool) map[string]sessionDoc {
	doc := map[string]sessionDoc{}
	for s := range v.SessionsByWorkspace(workspace) {
		if s.State == state.SessionLost {
			continue
		}
		entry := sessionDoc{Connected: alive[s.Node] || strings.HasPrefix(s.Node, scheduler.WorkerPrefix), Concurrency: s.Slots,
			Node: s.NodeName, Targets: map[string][]string{}, Provides: tags(s.Provides), Accepts: tags(s.Accepts)}
		for range v.Assigned(s.ID) {
			entry.Executing++
		}
		if tally := v.Tally(s.ID); tally != nil {
			entry.Executions = tally.Executions
		}
		for _, t := range s.Targets {
			entry.Targets[t.Module] = append(entry.Targets[t.Module], t.Name)
		}
		for _, names := range entry.Targets {
			slices.Sort(names)
		}
		if s.State == state.SessionDraining {
			draining := "draining"
			entry.WorkerState = &draining
		}
		doc[s.ID] = entry
	}
	return doc
}
