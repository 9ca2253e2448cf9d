package api

import (
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/coflux-mesh/coflux/scheduler"
)

const (
	// APIVersion is the generation of the interface, fullVersion the same as clients of it expect to read it.
	APIVersion  = "0.11"
	fullVersion = "0.11.0"
)

// maxBody bounds JSON bodies, bodyTime how long one may take to arrive, replyTime how long an ordinary reply may take
// to be written.
const (
	maxBody   = 1 << 20
	bodyTime  = 10 * time.Second
	replyTime = 30 * time.Second
)

// pagePolicy is the content security policy of the web page, plainPolicy that of everything else.
const (
	pagePolicy = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; " +
		"frame-ancestors 'none'"
	plainPolicy = "default-src 'none'; frame-ancestors 'none'; sandbox"
)

// guarded is what every request passes: limits, the Host and Origin checks, the version check.
func (s *Server) guarded(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.recovered(w, r)
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", plainPolicy)
		if s.Page != nil && !isRoute(r.URL.Path) {
			h.Set("Content-Security-Policy", pagePolicy)
		}
		control := http.NewResponseController(w)
		_ = control.SetWriteDeadline(time.Now().Add(replyTime)) // not every writer of a test can
		if r.ContentLength != 0 {
			// Taken back when the body is there: a read deadline that passes later ends the request's context.
			_ = control.SetReadDeadline(time.Now().Add(bodyTime))
		}
		if err := s.admit(r, origins, s.shareHeaders(h, r)); err != nil {
			s.refuse(w, r, err)
			return
		}
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if r.Method == http.MethodPost {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		}
		next.ServeHTTP(w, r)
	})
}

// isRoute tells the API's paths from those of the page.
func isRoute(path string) bool {
	for _, p := range []string{"/api/", "/topics/", "/blobs/", "/logs", "/metrics", "/debug/", "/healthz", "/readyz"} {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return false
}

// admit says why a request is not even looked at. trusted says that pages of its origin may change things.
func (s *Server) admit(r *http.Request, origins *http.CrossOriginProtection, trusted bool) error {
	if !s.hostAllowed(r) {
		return &Error{Code: CodeMisdirected, Message: fmt.Sprintf("this node is not called %.200q", r.Host),
			Hint: "use an address it listens on, or its name; other names have to be allowed on the node"}
	}
	if err := origins.Check(r); err != nil && !trusted {
		return &Error{Code: CodeForbiddenOrigin, Message: "a web page of another origin must not change anything here",
			Hint: "start the node with --allow-origin if that page is yours"}
	}
	asked := r.Header.Get("X-API-Version")
	if asked != "" && asked != APIVersion && strings.HasPrefix(r.URL.Path, "/api/") {
		return &Error{Code: CodeVersionMismatch,
			Message: fmt.Sprintf("the client speaks version %.40q of the interface, this node speaks %s", asked, APIVersion),
			Hint:    "use a client of the node's version",
			Details: map[string]string{"server": fullVersion, "expected": asked}}
	}
	if r.Method == http.MethodPost && r.ContentLength != 0 {
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			return &Error{Code: scheduler.CodeBadRequest, Message: "the body has to be JSON and to say so",
				Hint: "send the header Content-Type: application/json", Details: map[string]string{"contentType": "invalid"}}
		}
	}
	return nil
}

// hostAllowed is the defence against DNS rebinding: a name that an attacker can point at this node is not answered.
func (s *Server) hostAllowed(r *http.Request) bool {
	host := hostName(r.Host)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || s.hosts[host] {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	if ip.Unmap().IsLoopback() {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && local.AddrPort().Addr().Unmap().WithZone("") == ip.Unmap().WithZone("")
}

// hostName is the host without port, brackets and final dot, in lower case.
func hostName(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// recovered answers a request whose handler panicked.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	s.Logger.Error("request panicked", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	writeJSON(w, http.StatusInternalServerError, asError(fmt.Errorf("panic: %v", p)))
}
