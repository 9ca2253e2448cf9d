package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// answerWithin is how long a node without a quorum looks for one before it says so.
const answerWithin = 11 * time.Second

// reply is an answer over HTTP.
type reply struct {
	status int
	header http.Header
	body   string
	took   time.Duration
}

// ask sends one request, once.
func (n *node) ask(method, path, body string) reply {
	n.m.t.Helper()
	began := time.Now()
	req, err := http.NewRequestWithContext(n.m.t.Context(), method, n.client.Base+path, strings.NewReader(body))
	if err != nil {
		n.m.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := n.client.HTTPClient.Do(req)
	if err != nil {
		n.m.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		n.m.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(text), time.Since(began)}
}

// readStale reads a run from the node's own copy.
func (n *node) readStale(ctx context.Context, workspace, run string) (doc client.Document[client.Run], err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.client.Base+"/topics/workspaces/"+workspace+"/runs/"+run+"?consistency=stale", nil)
	if err != nil {
		return doc, err
	}
	res, err := n.client.HTTPClient.Do(req)
	if err != nil {
		return doc, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return doc, fmt.Errorf("status %s", res.Status)
	}
	if doc.Index, err = strconv.ParseUint(res.Header.Get("Coflux-Index"), 10, 64); err != nil {
		return doc, err
	}
	return doc, json.NewDecoder(res.Body).Decode(&doc.Value)
}

// TestMinority kills two of three nodes: the last one refuses what needs a majority, and shows what it has.
func TestMinority(t *testing.T) {
	slow(t)
	t.Parallel()
	m := startMesh(t, 3)
	last := m.nodes[2]
	run := m.submit(last, "single", "before", "")
	m.value(last, run)
	m.nodes[0].killed()
	m.nodes[1].killed()

	submit := `{"workspaceId":"` + m.workspace + `","module":"flows","target":"single","arguments":[["json","\"alone\""],["json","\"\""]]}`
	read := "/topics/workspaces/" + m.workspace + "/runs/" + run
	refusals := make(chan reply, 2)
	go func() { refusals <- last.ask(http.MethodPost, "/api/submit_workflow", submit) }()
	go func() { refusals <- last.ask(http.MethodGet, read, "") }()
	for range 2 {
		r := <-refusals
		t.Logf("refused after %s: %s", r.took.Round(time.Millisecond), r.body)
		if r.status != http.StatusServiceUnavailable || !strings.Contains(r.body, `"error":"no_quorum"`) {
			t.Errorf("status %d: %s", r.status, r.body)
		}
		if !strings.Contains(r.body, "?consistency=stale") {
			t.Errorf("no hint in %s", r.body)
		}
		if r.took > answerWithin {
			t.Errorf("refused only after %s", r.took)
		}
	}

	r := last.ask(http.MethodGet, read+"?consistency=stale", "")
	if r.status != http.StatusOK || !strings.Contains(r.body, `\"before\"`) && !strings.Contains(r.body, `"before"`) {
		t.Errorf("stale read: status %d: %s", r.status, r.body)
	}
	index, err := strconv.ParseUint(r.header.Get("Coflux-Index"), 10, 64)
	if err != nil || index == 0 {
		t.Errorf("Coflux-Index %q", r.header.Get("Coflux-Index"))
	}
	age, err := strconv.ParseInt(r.header.Get("Coflux-Stale-For"), 10, 64)
	if err != nil || age < 1 {
		t.Errorf("Coflux-Stale-For %q, though nobody leads", r.header.Get("Coflux-Stale-For"))
	}
	if r.took > 2*time.Second {
		t.Errorf("a stale read took %s", r.took)
	}
	m.minorityCLI(last, run)

	// One of the two comes back: a majority again.
	m.nodes[0].start()
	m.value(last, m.submit(last, "single", "after", ""))
	m.settle(patience)
	m.verify(true)
}

// minorityCLI looks at what a user sees who asks the last node.
func (m *mesh) minorityCLI(last *node, run string) {
	m.t.Helper()
	o := exe(m.t, m.dir, nil, 3*answerWithin, "coflux", "--host", last.host(), "runs", "list")
	if o.status != 0 || !strings.Contains(o.stdout, run) {
		m.t.Errorf("runs list: %s", o)
	}
	if want := `(?m)^no quorum: showing this node's own copy, last in touch with a leader \S+ ago$`; !regexp.MustCompile(want).MatchString(o.stderr) {
		m.t.Errorf("runs list does not say that it is old: %s", o)
	}
	o = exe(m.t, m.dir, nil, answerWithin, "coflux", "--host", last.host(), "nodes")
	if o.status != 0 || !strings.Contains(o.stdout, "gone") && !strings.Contains(o.stdout, "suspect") {
		m.t.Errorf("nodes: %s", o)
	}
}
