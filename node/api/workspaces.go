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
	for ws := range v.AllWorkspaces(project) {
		doc[ws.ID] = workspaceDoc{Name: ws.Name, BaseID: textOrNil(ws.Base), State: ws.State}
	}
	return doc
}

func (s *Server) createWorkspace(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	q := &scheduler.CreateWorkspace{RequestID: b.requestID(), Name: b.required("name", plainText, 200), Base: b.text("baseId", plainText, maxName)}
	if err := b.err(); err != nil {
		return err
	}
	if q.Project, err = s.project(r); err != nil {
		return err
	}
	answer, err := s.doOnce(w, r, q, &q.RequestID)
	if err != nil {
		return err
	}
	if err := s.settled(r.Context(), w); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"id": answer.WorkspaceID})
	return nil
}

func (s *Server) updateWorkspace(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	_, rebase := b.fields["baseId"] // null takes the base away
	q := &scheduler.UpdateWorkspace{RequestID: b.requestID(), Workspace: b.required("workspaceId", plainText, maxName),
		Name: b.text("name", plainText, 200), Rebase: rebase, Base: b.text("baseId", plainText, maxName)}
	return s.changeWorkspace(w, r, b, q.Workspace, q, &q.RequestID)
}

func (s *Server) pauseWorkspace(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	q := &scheduler.PauseWorkspace{RequestID: b.requestID(), Workspace: b.required("workspaceId", plainText, maxName)}
	return s.changeWorkspace(w, r, b, q.Workspace, q, &q.RequestID)
}

func (s *Server) resumeWorkspace(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	q := &scheduler.ResumeWorkspace{RequestID: b.requestID(), Workspace: b.required("workspaceId", plainText, maxName)}
	return s.changeWorkspace(w, r, b, q.Workspace, q, &q.RequestID)
}

func (s *Server) archiveWorkspace(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	q := &scheduler.ArchiveWorkspace{RequestID: b.requestID(), Workspace: b.required("workspaceId", plainText, maxName)}
	return s.changeWorkspace(w, r, b, q.Workspace, q, &q.RequestID)
}

// changeWorkspace has a change of a workspace of the project decided and answers without a body.
func (s *Server) changeWorkspace(w http.ResponseWriter, r *http.Request, b *body, workspace string, q scheduler.Request, id *string) error {
	if err := b.err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	if err := s.checkWorkspace(ctx, r, workspace); err != nil {
		return err
	}
	if _, err := s.doOnce(w, r, q, id); err != nil {
		return err
	}
	if err := s.settled(r.Context(), w); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
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
