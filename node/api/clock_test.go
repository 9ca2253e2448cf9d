package api

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// Log time may be hours from this machine's clock, after the clock of an earlier leader was set right: a request whose id
// is made here must not be refused for that, one whose id the client chose is, with the mesh's time.
func TestRequestsWhileLogTimeIsFarAhead(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	ahead := time.Now().Add(3 * time.Hour).UnixMilli()
	m.now = func() int64 { return ahead }
	s, w := m.server(nil)
	submit := func(more string) string {
		return `{"workspaceId":"` + w + `","module":"m","target":"t","arguments":[]` + more + `}`
	}
	if r := ask(s, "POST", "/api/submit_workflow", submit("")); r.Code != 200 {
		t.Errorf("%d %s", r.Code, r.Body)
	}
	old := ask(s, "POST", "/api/submit_workflow", submit(`,"requestId":"01ARZ3NDEKTSV4RRFFQ69G5FAV"`))
	checkRefusal(t, old, 409, "expired", fields{"logTime": strconv.FormatInt(ahead, 10)})
	runs := 0
	for range m.store.View().RunsByWorkspace(w, 0, "") {
		runs++
	}
	if runs != 1 || !strings.Contains(old.Body.String(), "clock") {
		t.Errorf("%d runs; %s", runs, old.Body)
	}
}
