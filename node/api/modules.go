package api

import (
	"net/http"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// moduleDoc is what the document of modules says of one: its registered workflows by name.
type moduleDoc struct {
	Workflows map[string]moduleWorkflowDoc `json:"workflows"`
}

// moduleWorkflowDoc lists the runs of a workflow whose root has no outcome yet, in the order of their ids.
type moduleWorkflowDoc struct {
	ActiveRuns []string `json:"activeRuns"`
}

func (s *Server) modules(w http.ResponseWriter, r *http.Request) error {
	workspace := r.PathValue("workspace")
	reading, err := s.readWorkspace(w, r, workspace)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, newModulesDoc(reading.View, workspace))
	return nil
}

func newModulesDoc(v *state.View, workspace string) map[string]moduleDoc {
	doc := map[string]moduleDoc{}
	for f := range v.Workflows(workspace) {
		if _, known := doc[f.Module]; !known {
			doc[f.Module] = moduleDoc{Workflows: map[string]moduleWorkflowDoc{}}
		}
		doc[f.Module].Workflows[f.Name] = moduleWorkflowDoc{ActiveRuns: []string{}}
	}
	for e := range v.Unfinished(workspace) {
		flow, known := doc[e.Module].Workflows[e.Target]
		if known && e.Step == 1 && e.Type == state.TypeWorkflow {
			flow.ActiveRuns = append(flow.ActiveRuns, e.Run)
			doc[e.Module].Workflows[e.Target] = flow
		}
	}
	return doc
}
