package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/google/go-cmp/cmp"
)

// live is a client of a stream: what it was sent, and whether it still reads.
type live struct {
	header   http.Header
	sent     chan string
	code     int
	stuck    chan struct{} // closed when the client stops reading
	deadline time.Time
}

func newLive() *live {
	return &live{header: http.Header{}, sent: make(chan string, 1000), stuck: make(chan struct{})}
}

func (l *live) Header() http.Header  { return l.header }
func (l *live) WriteHeader(code int) { l.code = code }
func (l *live) Flush()               {}

func (l *live) SetWriteDeadline(t time.Time) error { l.deadline = t; return nil }

func (l *live) Write(p []byte) (int, error) {
	select {
	case <-l.stuck:
		time.Sleep(time.Until(l.deadline)) // virtual time: a socket whose buffer is full
		return 0, os.ErrDeadlineExceeded
	default:
		l.sent <- string(p)
		return len(p), nil
	}
}

// follow opens a stream in a bubble; the returned channel is closed when the handler has ended.
func follow(ctx context.Context, s *Server, path string) (*live, chan struct{}) {
	l, done := newLive(), make(chan struct{})
	r := httptest.NewRequestWithContext(ctx, "GET", "http://localhost"+path, nil)
	r.Header.Set("Accept", "text/event-stream")
	go func() {
		defer close(done)
		s.Handler().ServeHTTP(l, r)
	}()
	return l, done
}

// next gives the next event of a run's stream, or what else was sent.
func (l *live) next(t *testing.T) (event runEventIn, raw string) {
	t.Helper()
	raw = <-l.sent
	if data, ok := strings.CutPrefix(raw, "data: "); ok {
		if strings.Count(raw, "\n") != 2 || !strings.HasSuffix(raw, "\n\n") {
			t.Fatalf("not one event: %q", raw)
		}
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
	}
	return event, raw
}

// runEventIn is an event as a client reads it.
type runEventIn struct {
	Index    uint64
	Document *struct{ Steps map[string]stepIn }
	Steps    map[string]stepIn
}

type stepIn struct {
	Executions map[string]struct {
		Node         *string
		Result       *struct{ Type string }
		Children     []any
		Dependencies map[string]any
	}
}

// shape says of each step how its first execution stands: node, result, children, dependencies.
func shape(steps map[string]stepIn) map[string]string {
	out := map[string]string{}
	for id, s := range steps {
		e := s.Executions["1"]
		text := ""
		if e.Node != nil {
			text += *e.Node
		}
		if e.Result != nil {
			text += " " + e.Result.Type
		}
		text += strings.Repeat(" child", len(e.Children)) + strings.Repeat(" dep", len(e.Dependencies))
		out[id[strings.IndexByte(id, ':')+1:]] = text
	}
	return out
}

func watched(t *testing.T) (m *memory, s *Server, w string) {
	m = newMemory(t)
	s, w = m.server(nil)
	m.openSession("s1", "n1", "alpha", workflowTarget("m", "flow"), taskTarget("m", "task"))
	return m, s, w
}

func TestStreamOfARunSendsWhatChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, s, w := watched(t)
		a := m.submit(w, "m", "flow")
		ctx, cancel := context.WithCancel(t.Context())
		l, done := follow(ctx, s, "/topics/workspaces/"+w+"/runs/"+a.RunID)
		expect := func(want map[string]string) {
			t.Helper()
			e, _ := l.next(t)
			if e.Index != m.store.Index() {
				t.Errorf("index %d, want %d", e.Index, m.store.Index())
			}
			steps := e.Steps
			if e.Document != nil {
				steps = e.Document.Steps
			}
			if diff := cmp.Diff(want, shape(steps)); diff != "" {
				t.Error(diff)
			}
		}
		expect(map[string]string{"1": "alpha"})
		call := func(n int64) string {
			return m.must(&scheduler.SubmitStep{Session: "s1", Parent: a.ExecutionID, Number: n, Module: "m", Target: "task", Type: state.TypeTask}).ExecutionID
		}
		one, two := call(1), call(2)
		expect(map[string]string{"1": "alpha child child", "2": "alpha", "3": "alpha"})
		m.finish("s1", one, state.Result{Type: state.ResultTimeout})
		expect(map[string]string{"2": "alpha timeout"})
		m.must(&scheduler.AddDependency{Session: "s1", Execution: a.ExecutionID, On: []string{two}})
		expect(map[string]string{"1": "alpha child child dep"})
		m.submit(w, "m", "flow") // another run is no event
		time.Sleep(20 * time.Second)
		if _, raw := l.next(t); raw != ": alive\n\n" {
			t.Errorf("instead of a sign of life: %q", raw)
		}
		m.finish("s1", a.ExecutionID, state.Result{Type: state.ResultValue})
		expect(map[string]string{"1": "alpha value child child dep"})
		cancel()
		<-done
		if len(l.sent) != 0 || l.header.Get("Content-Type") != "text/event-stream" || l.code != 200 {
			t.Errorf("%d more events, %d %v", len(l.sent), l.code, l.header)
		}
	})
}

// TestStreamGathersChanges: many changes in a short time are few events.
func TestStreamGathersChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, s, w := watched(t)
		a := m.submit(w, "m", "flow")
		ctx, cancel := context.WithCancel(t.Context())
		l, done := follow(ctx, s, "/topics/workspaces/"+w+"/runs/"+a.RunID)
		for n := range int64(200) {
			m.must(&scheduler.SubmitStep{Session: "s1", Parent: a.ExecutionID, Number: n + 1, Module: "m", Target: "task", Type: state.TypeTask})
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		events, steps := len(l.sent), map[string]bool{}
		for range events {
			e, _ := l.next(t)
			if e.Document != nil {
				e.Steps = e.Document.Steps
			}
			for id := range e.Steps {
				steps[id] = true
			}
		}
		if events > 6 || len(steps) != 201 {
			t.Errorf("%d events with %d steps", events, len(steps))
		}
		cancel()
		<-done
	})
}

func TestSlowClientIsCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, s, w := watched(t)
		a := m.submit(w, "m", "flow")
		l, done := follow(t.Context(), s, "/topics/workspaces/"+w+"/runs/"+a.RunID)
		l.next(t)
		close(l.stuck)
		began := time.Now()
		m.finish("s1", a.ExecutionID, state.Result{Type: state.ResultTimeout})
		<-done
		if d := time.Since(began); d < eventTime || d > 2*eventTime {
			t.Errorf("cut after %s", d)
		}
	})
}

func TestStopEndsStreamsAndPolls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, s, w := watched(t)
		a := m.submit(w, "m", "flow")
		run, done := follow(t.Context(), s, "/topics/workspaces/"+w+"/runs/"+a.RunID)
		run.next(t)
		logs, logsDone := follow(t.Context(), s, "/logs?run="+a.RunID)
		<-logs.sent
		polled := make(chan *httptest.ResponseRecorder)
		go func() { polled <- ask(s, "GET", "/api/await_run?workspaceId="+w+"&runId="+a.RunID, "") }()
		synctest.Wait()
		began := time.Now()
		s.Stop()
		s.Stop()
		<-done
		<-logsDone
		if rep := <-polled; rep.Code != 200 || time.Since(began) > time.Second {
			t.Errorf("%d after %s", rep.Code, time.Since(began))
		}
		for _, path := range []string{"/topics/workspaces/" + w + "/runs/" + a.RunID, "/logs?run=" + a.RunID} {
			checkRefusal(t, ask(s, "GET", path, "", "Accept", "text/event-stream"), 503, "unavailable", nil)
		}
	})
}

func TestAwaitRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, s, w := watched(t)
		a := m.submit(w, "m", "flow")
		path := "/api/await_run?workspaceId=" + w + "&runId=" + a.RunID
		await := func(query string) (doc struct {
			Done   bool
			Index  uint64
			Result *struct{ Type, Reason string }
		}) {
			rep := ask(s, "GET", path+query, "")
			if err := json.Unmarshal(rep.Body.Bytes(), &doc); err != nil || rep.Code != 200 || doc.Index == 0 {
				t.Fatal(err, rep.Code, rep.Body)
			}
			return doc
		}
		began := time.Now()
		if doc := await("&timeoutMs=30000"); doc.Done || doc.Result != nil || time.Since(began) != 30*time.Second {
			t.Errorf("unfinished run: %+v after %s", doc, time.Since(began))
		}
		began = time.Now()
		if doc := await("&timeoutMs=0"); doc.Done || time.Since(began) != 0 {
			t.Errorf("no patience: %+v after %s", doc, time.Since(began))
		}
		time.AfterFunc(1700*time.Millisecond, func() {
			m.must(&scheduler.Cancel{Workspace: w, Execution: a.ExecutionID})
		})
		began = time.Now()
		if doc := await(""); !doc.Done || doc.Result.Type != "cancelled" || time.Since(began) != 1700*time.Millisecond {
			t.Errorf("cancelled run: %+v after %s", doc, time.Since(began))
		}
	})
}

// TestAwaitSurvivesARestore: a snapshot replaces the database, and nobody tells those who watch the old one.
func TestAwaitSurvivesARestore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, s, w := watched(t)
		a := m.submit(w, "m", "flow")
		later := newMemory(t)
		restore(t, later.store, m.store)
		later.finish("s1", a.ExecutionID, state.Result{Type: state.ResultTimeout})
		time.AfterFunc(time.Second, func() { restore(t, m.store, later.store) })
		began := time.Now()
		rep := ask(s, "GET", "/api/await_run?workspaceId="+w+"&runId="+a.RunID, "")
		if !strings.Contains(rep.Body.String(), `"timeout"`) || time.Since(began) > time.Second+relook {
			t.Errorf("%s after %s", rep.Body, time.Since(began))
		}
	})
}

func restore(t *testing.T, into, from *state.Store) {
	var b bytes.Buffer
	if _, err := from.Freeze().WriteTo(&b); err != nil {
		t.Error(err)
	}
	if err := into.Restore(&b); err != nil {
		t.Error(err)
	}
}

func TestStreamOfLogs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, s, _ := watched(t)
		for _, text := range []string{"a", "b", "c"} {
			m.say(text)
		}
		ctx, cancel := context.WithCancel(t.Context())
		l, done := follow(ctx, s, "/logs?run=R&after=1")
		next := func() (said string) {
			raw := <-l.sent
			var entries []logEntry
			if err := json.Unmarshal([]byte(strings.TrimPrefix(raw, "data: ")), &entries); err != nil {
				t.Fatal(err, raw)
			}
			for _, e := range entries {
				said += *e.Template
			}
			return said
		}
		if got := next() + "," + next(); got != "ab,c" {
			t.Errorf("what exists: %s", got)
		}
		m.say("d")
		if got := next(); got != "d" {
			t.Errorf("what arrives: %s", got)
		}
		time.Sleep(16 * time.Second)
		if raw := <-l.sent; raw != ": alive\n\n" {
			t.Errorf("instead of a sign of life: %q", raw)
		}
		cancel()
		<-done
	})
}
