package api

import (
	"encoding/json"
	"net/http"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// maxWorkflowRuns is how many runs the workflow document shows.
const maxWorkflowRuns = 50

// workflowDoc is the document of one workflow.
type workflowDoc struct {
	Parameters    []Parameter         `json:"parameters"`
	Instruction   *string             `json:"instruction"`
	Configuration *configDoc          `json:"configuration"`
	Runs          map[string]runBrief `json:"runs"`
}

type runBrief struct {
	ID        string `json:"id"`
	CreatedAt int64  `json:"createdAt"`
	CreatedBy *actor `json:"createdBy"`
}

// configDoc is how a workflow is submitted.
type configDoc struct {
	WaitFor   []int               `json:"waitFor"`
	Cache     *Cache              `json:"cache"`
	Defer     *Defer              `json:"defer"`
	Delay     int64               `json:"delay"`
	Retries   *Retries            `json:"retries"`
	Recurrent bool                `json:"recurrent"`
	Timeout   int64               `json:"timeout"`
	Requires  map[string][]string `json:"requires"`
	Memo      bool                `json:"memo"`
	Durable   bool                `json:"durable,omitempty"`
	Limits    *Limits             `json:"limits,omitempty"`
}

// manifests lists what is registered. Definitions are kept in the form in which they are shown.
func (s *Server) manifests(w http.ResponseWriter, r *http.Request) error {
	workspace := r.PathValue("workspace")
	reading, err := s.readWorkspace(w, r, workspace)
	if err != nil {
		return err
	}
	doc := map[string]map[string]json.RawMessage{}
	for f := range reading.View.Workflows(workspace) {
		if doc[f.Module] == nil {
			doc[f.Module] = map[string]json.RawMessage{}
		}
		doc[f.Module][f.Name] = f.Definition
	}
	writeJSON(w, http.StatusOK, doc)
	return nil
}

func (s *Server) workflow(w http.ResponseWriter, r *http.Request) error {
	workspace, module, target := r.PathValue("workspace"), r.PathValue("module"), r.PathValue("target")
	reading, err := s.readWorkspace(w, r, workspace)
	if err != nil {
		return err
	}
	packed, err := s.Backend.PackedRuns(r.Context(), reading.View, PackedQuery{Workspace: workspace, Module: module, Target: target, Limit: maxWorkflowRuns})
	if err != nil {
		return err
	}
	doc := newWorkflowDoc(reading.View, workspace, module, target, packed)
	if doc.Configuration == nil && len(doc.Runs) == 0 {
		return notFound("workflow", module+"/"+target)
	}
	writeJSON(w, http.StatusOK, doc)
	return nil
}

func newWorkflowDoc(v *state.View, workspace, module, target string, packed []PackedRun) workflowDoc {
	doc := workflowDoc{Runs: map[string]runBrief{}}
	for run := range v.RunsByTarget(workspace, module, target) {
		if len(doc.Runs) == maxWorkflowRuns {
			break
		}
		doc.Runs[run.ID] = runBrief{ID: run.ID, CreatedAt: run.CreatedAt}
	}
	for _, p := range packed {
		if len(doc.Runs) == maxWorkflowRuns {
			break // what is packed is older, but for a few
		}
		doc.Runs[p.Run] = runBrief{ID: p.Run, CreatedAt: p.CreatedAt}
	}
	var f definition
	if row := v.Workflow(workspace, module, target); row != nil && json.Unmarshal(row.Definition, &f) == nil {
		doc.Parameters, doc.Instruction = orEmpty(f.Parameters), f.Instruction
		doc.Configuration = &configDoc{
			WaitFor: orEmpty(f.WaitFor), Cache: f.Cache, Defer: f.Defer, Delay: f.Delay, Retries: f.Retries,
			Recurrent: f.Recurrent, Timeout: f.Timeout, Requires: tags(f.Requires), Memo: f.Memo, Durable: f.Durable, Limits: f.Limits,
		}
	}
	return doc
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// tags are shown as an object whose values are lists.
func tags(t map[string][]string) map[string][]string {
	doc := map[string][]string{}
	for name, values := range t {
		doc[name] = orEmpty(values)
	}
	return doc
}

func textOrNil(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
