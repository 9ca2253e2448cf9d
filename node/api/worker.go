package api

import (
	"net/http"
	"strings"

	"github.com/coder/websocket"
	"github.com/coflux-mesh/coflux/scheduler"
)

// worker attaches an agent-only process: its frames are passed on to whoever leads. A page of another origin is refused
// by Accept.
func (s *Server) worker(w http.ResponseWriter, r *http.Request) error {
	project, err := s.project(r)
	if err != nil {
		return err
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return &Error{Code: scheduler.CodeBadRequest, Message: "this path is for workers, which speak WebSocket",
			Hint: "start one with: coflux worker MODULE"}
	}
	ctx, done, ok := s.lasting(r)
	if !ok {
		return &Error{Code: CodeUnavailable, Message: "this node is stopping", Hint: "try again, or another node"}
	}
	defer done()
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return nil // Accept has answered
	}
	s.Backend.AttachWorker(ctx, project, conn)
	return nil
}

// workerDied takes a statement of a worker's guard, that nothing of its session is alive (rules A7). Only workers' sessions
// can be given up so: a node's guard speaks to nodes.
func (s *Server) workerDied(w http.ResponseWriter, r *http.Request) error {
	project, err := s.project(r)
	if err != nil {
		return err
	}
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	id := b.required("sessionId", plainText, 200)
	if err := b.err(); err != nil {
		return err
	}
	reading, err := s.Backend.Read(r.Context(), false)
	if err != nil {
		return err
	}
	if row := reading.View.Session(id); row != nil {
		if _, err := workspaceIn(reading.View, project, row.Workspace); err != nil || !strings.HasPrefix(row.Node, scheduler.WorkerPrefix) {
			return notFound("session", id)
		}
		if _, err := s.do(w, r, &scheduler.LoseSession{Session: id, Reason: "worker " + row.NodeName + " died"}); err != nil {
			return err
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
