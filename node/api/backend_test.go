package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/node/journal"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a node without a network: decisions of the real scheduler, committed at once to a real store.
type memory struct {
	t     testing.TB
	store *state.Store
	now   func() int64

	mu       sync.Mutex // guards the rest
	random   *rand.Rand
	soft     scheduler.Soft
	blobs    map[string][]byte
	entries  []journal.Entry
	points   []journal.Entry // of metrics
	signals  []chan struct{}
	nodes    Nodes
	noQuorum bool
	busy     bool
	unready  string
	packed   []PackedRun
	rows     []state.Effect // of packed runs
}

var _ Backend = (*memory)(nil)

func newMemory(t testing.TB) *memory {
	m := &memory{t: t, store: state.New(), now: func() int64 { return time.Now().UnixMilli() },
		random: rand.New(rand.NewPCG(1, 2)), blobs: map[string][]byte{}, soft: scheduler.Soft{Sessions: map[string]scheduler.SoftSession{}}}
	return m
}

// server gives the API of a node with the workspace "default", and that workspace's id.
func (m *memory) server(page http.Handler) (*Server, string) {
	a := m.must(&scheduler.CreateWorkspace{Project: "default", Name: "default", Ensure: true})
	s := New(Config{Backend: m, Logger: hclog.NewNullLogger(), Version: "test", AllowedHosts: []string{"node1", "10.1.2.3", "", "0.0.0.0", "::"}, Page: page})
	m.t.Cleanup(s.Stop)
	return s, a.WorkspaceID
}

// Beside shows all packed runs that it was given.
func (m *memory) Beside(_ context.Context, v *state.View, run string) (*state.View, error) {
	if len(m.rows) == 0 {
		return v, nil
	}
	other, err := state.NewView(m.rows)
	if err != nil {
		return nil, err
	}
	return v.Beside(other), nil
}

func (m *memory) PackedRuns(_ context.Context, _ *state.View, q PackedQuery) (out []PackedRun, err error) {
	for _, p := range m.packed {
		if q.Before == 0 || p.CreatedAt < q.Before || p.CreatedAt == q.Before && p.Run < q.BeforeID {
			out = append(out, p)
		}
	}
	return out[:min(len(out), q.Limit)], nil
}

// Metrics gives all points in one page.
func (m *memory) Metrics(_ context.Context, q journal.Query) (page journal.Page, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q.After != "" {
		return page, nil
	}
	for _, e := range m.points {
		if len(e.Metric.Definition) == 0 && (q.ExecutionID == "" || q.ExecutionID == e.ExecutionID) && e.RunID == q.RunID {
			page.Entries, page.Cursor = append(page.Entries, e), "end"
		}
	}
	return page, nil
}

func (m *memory) MetricsSignal(run string) (<-chan struct{}, func()) { return m.LogsSignal(run) }

func (m *memory) AppendMetrics(_ string, entries []journal.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.points = append(m.points, entries...)
	return nil
}

func (m *memory) MetricDefinitions(context.Context, string) (out []journal.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.points {
		if len(e.Metric.Definition) > 0 {
			out = append(out, e)
		}
	}
	return out
}

func (m *memory) AppendLogs(_ string, entries []journal.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries = append(m.entries, entries...)
	return nil
}

// AttachWorker sends back what comes.
func (m *memory) AttachWorker(ctx context.Context, project string, conn *websocket.Conn) {
	defer conn.CloseNow()
	_ = conn.Write(ctx, websocket.MessageText, []byte(project))
	_, _, _ = conn.Read(ctx)
}

func (m *memory) must(r scheduler.Request) scheduler.Answer {
	m.t.Helper()
	reply, err := m.Do(m.t.Context(), r)
	if err != nil || reply.Err != nil {
		m.t.Fatalf("%s: %v %v", scheduler.Name(r), err, reply.Err)
	}
	return reply.Answer
}

func (m *memory) Do(_ context.Context, r scheduler.Request) (scheduler.Reply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.noQuorum:
		return scheduler.Reply{}, NoQuorum()
	case m.busy:
		return scheduler.Reply{}, fmt.Errorf("ask the leader: %w", Overloaded())
	}
	scratch := m.store.Scratch()
	now := m.now()
	out := scheduler.Step(scratch, scheduler.Input{Now: now, Random: m.random, Soft: m.soft, Requests: []scheduler.Request{r}})
	if !scratch.Empty() {
		data, err := scratch.Entry(now).Encode()
		if err != nil {
			return scheduler.Reply{}, err
		}
		if err := m.store.Apply(data); err != nil {
			return scheduler.Reply{}, err
		}
	}
	reply := out.Replies[0]
	reply.Index = m.store.Index()
	return reply, nil
}

func (m *memory) Read(ctx context.Context, stale bool) (Reading, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.noQuorum && !stale {
		return Reading{}, NoQuorum()
	}
	r := Reading{View: m.store.View()}
	if m.noQuorum {
		r.StaleFor = 1500 * time.Millisecond
	}
	return r, ctx.Err()
}

func (m *memory) Nodes(context.Context) Nodes {
	n := m.nodes
	n.Nodes = slices.Clone(n.Nodes)
	return n
}

// register makes workflows of a module known.
func (m *memory) register(workspace, module string, flows map[string]Workflow) {
	m.t.Helper()
	manifest := scheduler.ModuleManifest{Module: module}
	for name, f := range flows {
		text, err := f.Definition()
		if err != nil {
			m.t.Fatal(err)
		}
		manifest.Workflows = append(manifest.Workflows, scheduler.WorkflowDefinition{Name: name, Definition: text})
	}
	m.must(&scheduler.RegisterManifests{Workspace: workspace, Modules: []scheduler.ModuleManifest{manifest}})
}

func (m *memory) Trace(id string) []TraceEvent {
	return []TraceEvent{{id, "submit_received", "alpha", 1}}
}
func (m *memory) Ready() (bool, string) { return m.unready == "", m.unready }
func (m *memory) Project() string       { return "default" }

func (m *memory) StoreValue(ctx context.Context, json []byte) (state.Value, error) {
	if len(json) <= 4<<10 {
		return state.Value{Data: json}, nil
	}
	key := blob.KeyOf(json)
	return state.Value{BlobKey: key, Size: int64(len(json))}, m.BlobPut(ctx, key, bytes.NewReader(json))
}

func (m *memory) BlobOpen(_ context.Context, key string) (io.ReadCloser, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.blobs[key]
	if !ok {
		return nil, 0, fmt.Errorf("%w: %s", blob.ErrNotFound, key)
	}
	return io.NopCloser(bytes.NewReader(data)), int64(len(data)), nil
}

func (m *memory) BlobHas(_ context.Context, key string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.blobs[key] != nil, nil
}

func (m *memory) Backup(_ context.Context, w io.Writer, q BackupQuery) error {
	if q.Base == "none" {
		return fmt.Errorf("%w: %s", blob.ErrNotFound, q.Without)
	}
	_, err := fmt.Fprintf(w, "backup but for %s of %s", q.Without, q.BaseName)
	if q.Base == "broken" {
		err = errors.New("broken")
	}
	return err
}

func (m *memory) BlobHold(ctx context.Context, keys []string) error {
	for _, key := range keys {
		if has, _ := m.BlobHas(ctx, key); !has {
			return fmt.Errorf("%w: %s", blob.ErrNotFound, key)
		}
	}
	return nil
}

func (m *memory) BlobPut(_ context.Context, key string, r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if blob.KeyOf(data) != key {
		return fmt.Errorf("%w: %s", blob.ErrHashMismatch, key)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs[key] = data
	return nil
}

// Logs gives pages of two entries; the cursor is the number of entries read.
func (m *memory) Logs(_ context.Context, q journal.Query) (journal.Page, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from := 0
	if q.After != "" {
		if _, err := fmt.Sscan(string(q.After), &from); err != nil {
			return journal.Page{}, journal.ErrBadCursor
		}
	}
	page := journal.Page{}
	for i := from; i < len(m.entries); i++ {
		if len(page.Entries) == 2 {
			page.More = true
			break
		}
		page.Entries = append(page.Entries, m.entries[i])
		page.Cursor = journal.Cursor(fmt.Sprint(i + 1))
	}
	return page, nil
}

func (m *memory) LogsSignal(string) (<-chan struct{}, func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ch := make(chan struct{}, 1)
	m.signals = append(m.signals, ch)
	return ch, func() {}
}

func (m *memory) say(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries = append(m.entries, journal.Entry{RunID: "R", ExecutionID: "R:1:1", Timestamp: int64(len(m.entries)), Level: 1, Template: &text})
	for _, ch := range m.signals {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// openSession lets the node take what it declares.
func (m *memory) openSession(id, node, name string, targets ...state.DeclaredTarget) {
	r := &scheduler.OpenSession{Session: id, Project: "default", Workspace: "default", Node: node, NodeName: name, Boot: "1", Slots: 4, Targets: targets}
	w := m.must(r).WorkspaceID
	m.must(&scheduler.SeeMember{ID: node, Name: name})
	serves := map[state.Class]bool{}
	for _, t := range targets {
		serves[state.Class{Workspace: w, Module: t.Module, Target: t.Name, Type: t.Type}] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.soft.Sessions[id] = scheduler.SoftSession{Serves: serves}
}

// ask sends a request to the handler and gives the reply.
func ask(s *Server, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://localhost:7777"+path, strings.NewReader(body))
	if method == "POST" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}
