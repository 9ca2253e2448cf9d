package api

import (
	"net/http"
	"net/url"
	"strings"
)

// The headers by which browsers are told what pages of other origins may ask (https://fetch.spec.whatwg.org/#http-cors-protocol).
const (
	corsMethods = "OPTIONS, GET, POST, PUT, PATCH, DELETE"
	corsHeaders = "content-type,authorization,x-api-version,x-project"
	corsExposed = "coflux-index,coflux-stale-for,coflux-left-off,retry-after"
	corsMaxAge  = "86400" // seconds
)

// ValidOrigin says whether a pattern names web pages' origins: scheme://host or scheme://host:port, where one * may stand
// for any text of the host or the port. The pattern that is nothing but * is none: it would let any page in the user's
// browser start runs.
func ValidOrigin(pattern string) bool {
	scheme, host, ok := strings.Cut(pattern, "://")
	if !ok || scheme != "http" && scheme != "https" || strings.Count(host, "*") > 1 || strings.Trim(host, "*.:0123456789") == "" && strings.Contains(host, "*") {
		return false
	}
	u, err := url.Parse(scheme + "://" + strings.NewReplacer(":*", ":1", "*", "x").Replace(host))
	return err == nil && u.Hostname() != "" && u.Scheme+"://"+u.Host == u.String()
}

// originAllowed says whether pages of an origin are let in. A browser's "null" never is.
func (s *Server) originAllowed(origin string) bool {
	for _, pattern := range s.AllowedOrigins {
		before, after, wild := strings.Cut(strings.ToLower(pattern), "*")
		switch {
		case !wild && origin == before:
			return true
		case wild && len(origin) > len(before)+len(after) && strings.HasPrefix(origin, before) && strings.HasSuffix(origin, after):
			if middle := origin[len(before) : len(origin)-len(after)]; !strings.ContainsAny(middle, "/@?#") {
				return true
			}
		}
	}
	return false
}

// shareHeaders tells a browser what pages of other origins may do here; allowed says whether that of this request may.
func (s *Server) shareHeaders(h http.Header, r *http.Request) (allowed bool) {
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Allow-Headers", corsHeaders)
	h.Set("Access-Control-Max-Age", corsMaxAge)
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" || !s.originAllowed(origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", corsExposed)
	return true
}
