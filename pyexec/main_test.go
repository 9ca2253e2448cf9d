package pyexec

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if GuardMain() {
		return
	}
	if os.Getenv(openGroupsEnv) != "" {
		openGroupsMain()
		return
	}
	if args := os.Getenv(helperEnv); args != "" {
		helperMain(args)
	}
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if !asked { // the tests wait for other processes most of the time
		if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)+2)); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if b, err := base(); err == nil {
			os.RemoveAll(filepath.Dir(b.sdk))
		}
		os.Exit(code)
	}))
}

// prepared is what every engine needs and what takes longer than most tests: the interpreter itself, where python3 is a script
// that looks for one, and the embedded package, unpacked and compiled.
type prepared struct{ python, sdk string }

// base prepares them once. TestPackage and others that are about the search and the package do without.
var base = sync.OnceValues(func() (prepared, error) {
	found, _, err := chooseInterpreter(os.Getenv("COFLUX_TEST_PYTHON"), nil)
	if err != nil {
		return prepared{}, err
	}
	dir, err := os.MkdirTemp("", "coflux-pyexec-test-")
	if err != nil {
		return prepared{}, err
	}
	sdk, err := unpackSDK(dir)
	if err != nil {
		return prepared{}, err
	}
	return prepared{found.Executable, sdk}, compileSDK(sdk, found)
})

// scratch is a scratch directory that has the embedded package already, and the interpreter.
func scratch(t testing.TB) (dir, python string) {
	t.Helper()
	b, err := base()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := os.Symlink(b.sdk, filepath.Join(dir, filepath.Base(b.sdk))); err != nil {
		t.Fatal(err)
	}
	return dir, b.python
}

// executorTestEnv chooses Config.Executor for the tests that do not try both.
const executorTestEnv = "COFLUX_TEST_EXECUTOR"

// ahead as Config.Executor of a newEngine is fork, with the modules discovered and imported by templates.
const ahead = "ahead"

// bothWays runs a test with executors that are forked, with and without the module imported, and with spawned ones.
func bothWays(t *testing.T, test func(*testing.T, func(*Config))) {
	t.Parallel()
	for _, way := range []string{ahead, "fork", "spawn"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			test(t, func(c *Config) { c.Executor = way })
		})
	}
}

// engine is the smallest thing that answers bodies: it runs what they submit in the same pool.
type engine struct {
	t    testing.TB
	pool *Pool

	mu    sync.Mutex
	last  int
	execs map[string]*testHost
}

// testHost collects what one execution says. ended is closed by its last call.
type testHost struct {
	e     *engine
	id    string
	kids  int
	mu    sync.Mutex
	logs  []string
	group []string
	res   *Result
	value json.RawMessage // the result's, file or not
	refs  []string        // the result's references, fragments with their content in place of the file
	over  string          // terminated | lost
	got   chan struct{}   // closed with the result, or at the end
	ended chan struct{}
	onLog func(string)
}

func newEngine(t testing.TB, change func(*Config), more ...func(*Pool)) *engine {
	t.Helper()
	dir, python := scratch(t)
	cfg := Config{
		Path: []string{"testdata/mods"}, Modules: []string{"basic"}, Warm: 2, Scratch: dir,
		Python: python, Executor: os.Getenv(executorTestEnv), Boot: fmt.Sprintf("test-%s-%d", t.Name(), os.Getpid()), Logger: hclog.NewNullLogger(),
	}
	if testing.Verbose() {
		cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: testWriter{t}, Level: hclog.Debug})
	}
	if change != nil {
		change(&cfg)
	}
	way := cfg.Executor
	if way == ahead {
		cfg.Executor = "fork"
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range more {
		set(p)
	}
	if err := p.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := p.Stop(ctx); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(filepath.Join(cfg.Scratch, "x*")); len(left) > 0 {
			t.Errorf("directories left behind: %v", left)
		}
	})
	e := &engine{t: t, pool: p, execs: map[string]*testHost{}}
	if way == ahead {
		if _, err := p.Discover(context.Background()); err != nil {
			t.Fatal(err)
		}
		e.imported()
	}
	return e
}

// imported waits until every module that serves is imported by a template.
func (e *engine) imported() {
	e.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if e.allImported() {
			return
		}
	}
	e.t.Fatal("the modules are not imported by templates")
}

func (e *engine) allImported() bool {
	e.pool.mu.Lock()
	defer e.pool.mu.Unlock()
	n := 0
	for _, l := range e.pool.recent {
		if l.state == laneUp {
			n++
		}
	}
	return n > 0 && n == len(e.pool.recent)
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) { w.t.Logf("%s", b); return len(b), nil }

func (e *engine) start(job Job) *testHost {
	e.mu.Lock()
	e.last++
	if job.ExecutionID == "" {
		job.ExecutionID = fmt.Sprintf("R1:%d:1", e.last)
	}
	if job.Module == "" {
		job.Module = "basic"
	}
	h := &testHost{e: e, id: job.ExecutionID, got: make(chan struct{}), ended: make(chan struct{})}
	e.execs[h.id] = h
	e.mu.Unlock()
	if err := e.pool.Run(job, h); err != nil {
		h.res = &Result{Error: internal(err.Error())}
		h.over = "refused"
		close(h.got)
		close(h.ended)
	}
	return h
}

func (e *engine) run(target string, args ...any) *testHost {
	return e.start(Job{Target: target, Arguments: values(e.t, args...)}).wait(e.t)
}

func values(t testing.TB, args ...any) []Value {
	var vs []Value
	for _, a := range args {
		b, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		vs = append(vs, Inline(b))
	}
	return vs
}

func (h *testHost) wait(t testing.TB) *testHost {
	t.Helper()
	select {
	case <-h.ended:
	case <-time.After(30 * time.Second):
		t.Fatalf("execution %s did not end; logs %q", h.id, h.logs)
	}
	return h
}

func (h *testHost) Submit(req SubmitRequest, reply func(SubmitReply, error)) {
	if req.Target == "refused" {
		reply(SubmitReply{}, &RequestError{Code: "submit_error", Message: "not today"})
		return
	}
	h.kids++
	child := h.e.start(Job{Module: req.Module, Target: req.Target, Arguments: req.Arguments, Timeout: req.Timeout.Duration()})
	reply(SubmitReply{ExecutionID: child.id, Module: req.Module, Target: req.Target}, nil)
}

func (h *testHost) Select(req SelectRequest, reply func(*Outcome, error)) {
	h.e.mu.Lock()
	child := h.e.execs[req.Handles[0].ID]
	h.e.mu.Unlock()
	if child == nil {
		reply(nil, &RequestError{Code: "not_found", Message: "no such execution"})
		return
	}
	go func() {
		if req.Timeout != nil {
			select {
			case <-child.got:
			case <-time.After(req.Timeout.Duration()):
				reply(nil, nil)
				return
			}
		}
		<-child.got
		o := &Outcome{Status: StatusOK}
		switch r := child.res; {
		case r == nil:
			o.Status = StatusCancelled
		case r.Timeout:
			o.Status = StatusTimeout
		case r.Error != nil:
			o.Status, o.Error = StatusError, r.Error
		default:
			v := Inline(child.value)
			if r.Value != nil {
				v.References = r.Value.References
			}
			o.Value = &v
		}
		reply(o, nil)
	}()
}

func (h *testHost) Cancel(req CancelRequest, reply func(error)) {
	for _, x := range req.Handles {
		h.e.pool.Kill(x.ID)
	}
	reply(nil)
}

func (h *testHost) Input(_ InputRequest, reply func(InputReply, error)) {
	reply(InputReply{}, &RequestError{Code: "input_error", Message: "nobody answers here"})
}

// Suspend ends the body, as a Host has to.
func (h *testHost) Suspend(_ SuspendRequest, reply func(error)) {
	reply(nil)
	h.e.pool.Kill(h.id)
}

func (h *testHost) DefineMetric(string, MetricDefinition) {}

func (h *testHost) Metric(key string, value float64, _ *float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.logs = append(h.logs, fmt.Sprintf("metric %s %v", key, value))
}

func (h *testHost) Group(id int, name string) {
	h.group = append(h.group, fmt.Sprintf("%d:%s", id, name))
}

func (h *testHost) Log(level int, template *string, vs map[string]Value) {
	s := fmt.Sprintf("%d", level)
	if template != nil {
		s += " " + *template
	}
	for k, v := range vs {
		s += fmt.Sprintf(" %s=%s", k, v.Value)
	}
	h.mu.Lock()
	h.logs = append(h.logs, s)
	told := h.onLog
	h.mu.Unlock()
	if told != nil {
		told(s)
	}
}

func (h *testHost) Result(r Result) {
	if r.Release != nil {
		defer r.Release()
	}
	if h.res != nil {
		h.e.t.Errorf("%s: second result", h.id)
	}
	if v := r.Value; v != nil {
		h.value = v.Value
		if v.Type == "file" {
			b, err := os.ReadFile(v.Path)
			if err != nil {
				h.e.t.Error(err)
			}
			h.value = b
		}
		for _, ref := range v.References {
			h.refs = append(h.refs, withContent(h.e.t, ref))
		}
	}
	h.res = &r
	close(h.got)
}

func withContent(t testing.TB, ref json.RawMessage) string {
	var parts []any
	if err := json.Unmarshal(ref, &parts); err != nil {
		t.Error(err)
		return ""
	}
	if parts[0] == "fragment" {
		content, err := os.ReadFile(parts[2].(string))
		if err != nil {
			t.Error(err)
		}
		parts[2] = hex.EncodeToString(content)
	}
	text, err := json.Marshal(parts)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

func (h *testHost) Terminated() { h.finish("terminated") }
func (h *testHost) Lost()       { h.finish("lost") }

func (h *testHost) finish(how string) {
	if h.over != "" {
		h.e.t.Errorf("%s: %s after %s", h.id, how, h.over)
	}
	h.over = how
	if h.res == nil {
		close(h.got)
	}
	close(h.ended)
}
