package api

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// projectName is what a project may be called in a header or as a sub-domain.
var projectName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)

// project is the one that a request means: the sub-domain of localhost, the header, the parameter, or the node's own.
func (s *Server) project(r *http.Request) (string, error) {
	host := hostName(r.Host)
	bySubdomain, found := strings.CutSuffix(host, ".localhost")
	if !found || s.hosts[host] {
		bySubdomain = ""
	}
	byHeader := r.Header.Get("X-Project")
	if byHeader == "" {
		byHeader = r.URL.Query().Get("project")
	}
	if bySubdomain != "" && byHeader != "" && bySubdomain != byHeader {
		return "", &Error{Code: CodeProjectMismatch, Message: "the host names another project than the header",
			Hint: "name the project in one place only"}
	}
	name := byHeader
	if name == "" {
		name = bySubdomain
	}
	if name == "" {
		return s.Backend.Project(), nil
	}
	if !projectName.MatchString(name) {
		return "", invalid("project", "invalid", fmt.Sprintf("a project cannot be called %.100q", name))
	}
	return name, nil
}

// workspaceIn gives a workspace of the project, archived or not, not_found for any other.
func workspaceIn(v *state.View, project, id string) (*state.Workspace, error) {
	w := v.Workspace(id)
	if w == nil || w.Project != project {
		return nil, notFound("workspace", id)
	}
	return w, nil
}

// checkWorkspace is workspaceIn for a request that changes something: the local replica will do if it has the workspace,
// as workspaces do not move between projects.
func (s *Server) checkWorkspace(ctx context.Context, r *http.Request, id string) error {
	project, err := s.project(r)
	if err != nil {
		return err
	}
	for _, stale := range []bool{true, false} {
		reading, err := s.Backend.Read(ctx, stale)
		if err != nil {
			return err
		}
		_, err = workspaceIn(reading.View, project, id)
		if err == nil || !stale {
			return err
		}
	}
	return nil
}
