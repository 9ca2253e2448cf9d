package api

import (
	"net/http"
	"net/http/pprof"
)

// profile answers what `go tool pprof` asks, where the node was started with --pprof; else the path does not exist.
func (s *Server) profile(w http.ResponseWriter, r *http.Request) error {
	if !s.Profile {
		return notFound("path", r.URL.Path)
	}
	switch r.PathValue("name") {
	case "profile":
		pprof.Profile(w, r)
	case "trace":
		pprof.Trace(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	default: // cmdline is left out: nothing there may be for everyone's eyes
		pprof.Index(w, r)
	}
	return nil
}
