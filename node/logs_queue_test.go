package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
	"github.com/coflux-mesh/coflux/node/journal"
	"github.com/hashicorp/go-hclog"
)

// logNode is a node that takes logs, or not.
type logNode struct {
	mu      sync.Mutex // guards all
	away    bool       // nothing arrives
	mute    int        // answers that get lost
	status  int        // of refusals; 0 = none
	batches map[string]int
	entries []journal.Entry
}

func (n *logNode) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil || n.away {
		return nil, errors.New("connection refused")
	}
	if n.status != 0 {
		return &http.Response{StatusCode: n.status, Body: io.NopCloser(strings.NewReader(`{"error":"x"}`)), Header: http.Header{}}, nil
	}
	var doc struct {
		Batch    string
		Messages []journal.Entry
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, err
	}
	if n.batches[doc.Batch]++; n.batches[doc.Batch] == 1 {
		n.entries = append(n.entries, doc.Messages...)
	}
	if n.mute > 0 {
		n.mute--
		return nil, errors.New("connection reset")
	}
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(`{"ok":true}`)), Header: http.Header{}}, nil
}

func (n *logNode) set(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

func (n *logNode) said() (texts []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.entries {
		texts = append(texts, *e.Template)
	}
	return texts
}

func startLogs(t *testing.T) (*logNode, *logQueue, func()) {
	n := &logNode{batches: map[string]int{}}
	c := &client.Client{Base: "http://node", HTTPClient: &http.Client{Transport: n}}
	r := remoteLogs{c.PostLogs, hclog.NewNullLogger()}
	l := newLogQueue(logGather, r.send, r.logger)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { l.run(ctx); close(done) }()
	return n, l, func() { cancel(); <-done }
}

func textLine(text string) logLine {
	return logLine{Run: "R1", Execution: "R1:1:1", Workspace: "W1", Template: &text}
}

// TestRemoteLogs: lines arrive in order and once, though the node is away for a while and answers get lost.
func TestRemoteLogs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, l, stop := startLogs(t)
		n.away, n.mute = true, 2
		var want []string
		for i := range 1000 {
			want = append(want, fmt.Sprint("line ", i))
			l.log(textLine(want[i]))
			if i == 500 {
				time.Sleep(3 * time.Second)
				n.set(func() { n.away = false })
			}
		}
		l.flush(t.Context())
		stop()
		if got := strings.Join(n.said(), "|"); got != strings.Join(want, "|") {
			t.Errorf("arrived: %.300s", got)
		}
		repeated := false
		for _, times := range n.batches {
			repeated = repeated || times > 1
		}
		if !repeated {
			t.Error("no batch was sent twice: the test tests nothing")
		}
	})
}

// TestRemoteLogsHoldBack: while no node takes lines the body is held back, at most logPatient a line, in bounded memory;
// what is left out is counted at its place.
func TestRemoteLogsHoldBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, l, stop := startLogs(t)
		n.set(func() { n.away = true })
		big := strings.Repeat("x", 100<<10)
		began, lines := time.Now(), 0
		for time.Since(began) < logPatient/2 { // the first one that waits ends this
			l.log(textLine(big))
			lines++
		}
		l.log(textLine(big))
		if l.bytes > logPending+len(big) {
			t.Errorf("%d bytes wait", l.bytes)
		}
		if took := time.Since(began); took < logPatient || took > 3*logPatient {
			t.Errorf("the body was held back for %s", took)
		}
		n.set(func() { n.away = false })
		time.Sleep(5 * time.Second)
		l.log(textLine("after"))
		l.flush(t.Context())
		stop()
		said := n.said()
		if len(said) != lines+1 || said[len(said)-1] != "after" || !strings.Contains(said[len(said)-2], "dropped") {
			t.Fatalf("%d lines of %d arrived, the last ones %.80q %.80q", len(said), lines, said[len(said)-2], said[len(said)-1])
		}
		if count := string(n.entries[len(said)-2].Values["count"].Data); count != "2" {
			t.Errorf("%s lines are said to be missing", count)
		}
	})
}

// TestRemoteLogsGoOn: a batch that the node refuses for good holds nothing up, and a line that is too large for a request is
// cut.
func TestRemoteLogsGoOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, l, stop := startLogs(t)
		n.set(func() { n.status = 400 })
		l.log(textLine("refused"))
		l.flush(t.Context())
		n.set(func() { n.status = 0 })
		l.log(textLine(strings.Repeat("\x01", 1<<20)))
		l.flush(t.Context())
		stop()
		if said := n.said(); len(said) != 1 || len(said[0]) > 200<<10 || !strings.Contains(said[0], "[cut: ") {
			t.Errorf("arrived: %d lines", len(said))
		}
	})
}
