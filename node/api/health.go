package api

import "net/http"

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	return nil
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) error {
	if ready, reason := s.Backend.Ready(); !ready {
		writeJSON(w, http.StatusServiceUnavailable, struct {
			Ready  bool   `json:"ready"`
			Reason string `json:"reason"`
		}{false, reason})
		return nil
	}
	writeJSON(w, http.StatusOK, map[string]bool{"ready": true})
	return nil
}

// discover says what this node is. version is that of the interface, as clients derive api_version from it.
func (s *Server) discover(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.project(r); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct {
		Version    string              `json:"version"`
		APIVersion string              `json:"api_version"`
		Node       string              `json:"node"`
		Access     map[string][]string `json:"access"`
	}{fullVersion, APIVersion, s.Version, map[string][]string{"workspaces": {"*"}}})
	return nil
}
