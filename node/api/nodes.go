package api

import (
	"context"
	"net/http"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// nodes answers from what this node knows, without a quorum.
func (s *Server) nodes(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	doc := s.Backend.Nodes(ctx)
	doc.Nodes = orEmpty(doc.Nodes)
	for i := range doc.Nodes {
		doc.Nodes[i].Modules = orEmpty(doc.Nodes[i].Modules)
	}
	writeJSON(w, http.StatusOK, doc)
	return nil
}

func (s *Server) trace(w http.ResponseWriter, r *http.Request) error {
	execution, err := query(r, "execution")
	if err != nil {
		return err
	}
	if id, ok := state.ParseExecutionID(execution); ok {
		hidden, err := s.hidden(r, id.Run)
		if err != nil {
			return err
		}
		if hidden {
			return notFound("execution", execution)
		}
	}
	writeJSON(w, http.StatusOK, map[string][]TraceEvent{"events": orEmpty(s.Backend.Trace(execution))})
	return nil
}
