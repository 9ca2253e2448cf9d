package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// workspaceDoc is an entry of /topics/workspaces.
type workspaceDoc struct {
	Name   string  `json:"name"`
	BaseID *string `json:"baseId"`
	State  string  `json:"state"`
}

func (s *Server) workspaces(w http.ResponseWriter, r *http.Request) error {
	project, err := s.project(r)
	if err != nil {
		return err
	}
	reading, err := s.read(w, r)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, workspacesDoc(reading.View, project))
	return nil
}

func workspacesDoc(v *state.View, project string) map[string]workspaceDoc {
	doc := map[string]workspaceDoc{}
	for ws := range v.Workspaces(project) {
		doc[ws.ID] = workspaceDoc{Name: ws.Name, State: ws.State}
	}
	return doc
}

func (s *Server) createWorkspace(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	name := b.required("name", plainText, 200)
	if b.has("baseId") {
		return &Error{Code: scheduler.CodeNotSupported, Message: "workspaces with a base are not supported yet",
			Hint: "leave baseId out", Details: map[string]string{"baseId": scheduler.CodeNotSupported}}
	}
	if err := b.err(); err != nil {
		return err
	}
	project, err := s.project(r)
	if err != nil {
		return err
	}
	answer, err := s.do(w, r, &scheduler.CreateWorkspace{Project: project, Name: name})
	if err != nil {
		return err
	}
	if err := s.settled(r.Context(), w); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"id": answer.WorkspaceID})
	return nil
}

// settled waits until the local replica has the decision that was just answered, so that stale lookups find it too.
func (s *Server) settled(ctx context.Context, w http.ResponseWriter) error {
	want, _ := strconv.ParseUint(w.Header().Get("Coflux-Index"), 10, 64)
	reading, err := s.Backend.Read(ctx, true)
	if err != nil || reading.View.Index() >= want {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	_, err = s.Backend.Read(ctx, false)
	return err
}
