package api

import (
	"testing"

	"github.com/hashicorp/go-hclog"
)

// TestProfile: Go's profiles are there only where they were asked for.
func TestProfile(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	closed, _ := m.server(nil)
	checkRefusal(t, ask(closed, "GET", "/debug/pprof/goroutine", ""), 404, "not_found", nil)
	checkRefusal(t, ask(closed, "GET", "/debug/vars", ""), 404, "not_found", nil)

	open := New(Config{Backend: m, Logger: hclog.NewNullLogger(), Profile: true})
	t.Cleanup(open.Stop)
	if w := ask(open, "GET", "/debug/pprof/goroutine", ""); w.Code != 200 || w.Body.Len() == 0 {
		t.Errorf("goroutine profile: %d, %d bytes", w.Code, w.Body.Len())
	}
	checkRefusal(t, ask(open, "POST", "/debug/pprof/goroutine", ""), 405, "method_not_allowed", nil)
}
