package api

import (
	"context"
	"net/http"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// rerunStep makes a new attempt of a step.
func (s *Server) rerunStep(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	q := &scheduler.RerunStep{}
	q.Workspace = b.required("workspaceId", plainText, maxName)
	q.Step = b.required("stepId", plainText, 200)
	q.RequestID = b.requestID()
	if err := b.err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	if err := s.checkWorkspace(ctx, r, q.Workspace); err != nil {
		return err
	}
	answer, err := s.doOnce(w, r, q, &q.RequestID)
	if err != nil {
		return err
	}
	id, _ := state.ParseExecutionID(answer.ExecutionID)
	writeJSON(w, http.StatusOK, struct {
		ExecutionID string `json:"executionId"`
		Attempt     int    `json:"attempt"`
	}{answer.ExecutionID, id.Attempt})
	return nil
}
