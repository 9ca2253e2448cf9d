package api

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Config is what a Server needs.
type Config struct {
	Backend Backend
	Logger  hclog.Logger
	// Version of the program, shown to clients.
	Version string
	// AllowedHosts are names and addresses (without port) that this node may be called, beside loopback, *.localhost and
	// the address that a connection arrived at.
	AllowedHosts []string
	// AllowedOrigins are patterns (ValidOrigin) of origins whose web pages may read and change things here, beside the page
	// that this node serves itself.
	AllowedOrigins []string
	// SuperTokenHash is the SHA-256, in hex, of the token that may do what permSuper says; empty: nobody may.
	SuperTokenHash string
	// Profile opens /debug/pprof.
	Profile bool
	// Page answers what is no route: the web page. May be nil.
	Page http.Handler
}

// Server answers HTTP requests. It is stateless: whatever it knows it asks its Backend.
type Server struct {
	Config
	hosts   map[string]bool
	handler http.Handler

	// stop ends long polls and streams; open counts them.
	stop context.Context
	end  context.CancelFunc
	mu   sync.Mutex // guards adding to open against Stop
	open sync.WaitGroup
}

// New makes a server.
func New(c Config) *Server {
	s := &Server{Config: c, hosts: map[string]bool{}}
	for _, h := range c.AllowedHosts {
		name := hostName(h)
		ip, err := netip.ParseAddr(name)
		if name == "" || err == nil && ip.IsUnspecified() {
			continue // "any address" is no name
		}
		s.hosts[name] = true
	}
	s.stop, s.end = context.WithCancel(context.Background())
	s.handler = s.guarded(s.mux())
	return s
}

// Handler answers requests.
func (s *Server) Handler() http.Handler { return s.handler }

// HTTPServer gives a server with the limits that a port open to others needs. Shut it down after Stop.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          s.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
}

// Stop ends long polls and streams and waits for them. Ordinary requests are still answered.
func (s *Server) Stop() {
	s.mu.Lock()
	s.end()
	s.mu.Unlock()
	s.open.Wait()
}

// lasting gives the context of a request that may take long: it ends with the request or with Stop. ok is false after
// Stop; otherwise done has to be called.
func (s *Server) lasting(r *http.Request) (ctx context.Context, done func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop.Err() != nil {
		return nil, nil, false
	}
	s.open.Add(1)
	ctx, cancel := context.WithCancel(r.Context())
	unhook := context.AfterFunc(s.stop, cancel)
	return ctx, func() { unhook(); cancel(); s.open.Done() }, true
}
