package pyexec

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// scriptHost writes down what it is asked. The answer to target "late" waits for a cancel, a select on "never" is never
// answered.
type scriptHost struct {
	mu    sync.Mutex
	lines []string
	late  []func()
	ended chan struct{}
}

func (h *scriptHost) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (h *scriptHost) Submit(r SubmitRequest, reply func(SubmitReply, error)) {
	s := fmt.Sprintf("submit %d %s/%s %s", r.Number, r.Module, r.Target, r.Type)
	if r.GroupID != nil {
		s += fmt.Sprintf(" group=%d", *r.GroupID)
	}
	if r.Cache != nil {
		s += fmt.Sprintf(" cache=%s", r.Cache.Params)
	}
	if r.Delay != 0 {
		s += fmt.Sprintf(" delay=%s", r.Delay.Duration())
	}
	var args []string
	for _, a := range r.Arguments {
		if a.Type != "inline" {
			args = append(args, a.Type)
			continue
		}
		args = append(args, string(a.Value))
	}
	h.note("%s %v", s, args)
	answer := func() { reply(SubmitReply{ExecutionID: "C:1", Module: r.Module, Target: r.Target}, nil) }
	switch r.Target {
	case "refused":
		reply(SubmitReply{}, fmt.Errorf("not today"))
	case "late":
		h.late = append(h.late, answer)
	default:
		answer()
	}
}

func (h *scriptHost) Select(r SelectRequest, reply func(*Outcome, error)) {
	s := fmt.Sprintf("select %d%s", r.Number, handles(r.Handles))
	if r.Timeout != nil {
		s += fmt.Sprintf(" timeout=%s", r.Timeout.Duration())
	}
	if r.Suspend {
		s += " suspend"
	}
	h.note("%s", s)
	if r.Handles[0].ID != "never" {
		v := Inline([]byte("42"))
		reply(&Outcome{Status: StatusOK, Value: &v}, nil)
		reply(nil, fmt.Errorf("a second answer is dropped"))
	}
}

func (h *scriptHost) Cancel(r CancelRequest, reply func(error)) {
	h.note("cancel %d%s", r.Number, handles(r.Handles))
	for _, f := range h.late {
		f()
	}
	reply(nil)
}

func (h *scriptHost) Input(r InputRequest, reply func(InputReply, error)) {
	h.note("input %d key=%s title=%s actions=%q schema=%s initial=%s requires=%v who=%s: %s", r.Number, r.Key, r.Title, r.Actions, r.Schema,
		r.Initial, r.Requires, r.Placeholders["who"].Value, r.Template)
	if r.Template == "refused" {
		reply(InputReply{}, &RequestError{Code: "input_error", Message: "server error: invalid_schema: so"})
		return
	}
	reply(InputReply{InputID: "R/i1"}, nil)
}

func (h *scriptHost) Suspend(r SuspendRequest, reply func(error)) {
	h.note("suspend after=%d delay=%d", r.ExecuteAfter, r.Delay)
	reply(fmt.Errorf("not just now"))
}

func (h *scriptHost) PersistAsset(r AssetRequest, reply func(AssetReply, error)) {
	name := "-"
	if r.Name != nil {
		name = *r.Name
	}
	entries, _ := json.Marshal(r.Entries)
	h.note("persist %s %v %s", name, r.Paths, entries)
	if name == "refused" {
		reply(AssetReply{}, fmt.Errorf("no such thing"))
		return
	}
	reply(AssetReply{AssetID: "A1", Reference: json.RawMessage(`["asset","A1",null,1,2]`)}, nil)
}

func (h *scriptHost) GetAsset(id string, reply func(AssetEntries, error)) {
	h.note("asset %s", id)
	reply(AssetEntries{Entries: json.RawMessage(`{"a/b":["k",2,{}]}`)}, nil)
}

func (h *scriptHost) UploadBlob(path string, reply func(string, error)) {
	h.note("upload %s", path)
	reply("key of "+path, nil)
}

func (h *scriptHost) DownloadBlob(key, path string, reply func(error)) {
	h.note("download %s %s", key, path)
	reply(fmt.Errorf("blob not found: %s", key))
}

func handles(hs []Handle) string {
	s := ""
	for _, x := range hs {
		s += " " + x.Type + ":" + x.ID
	}
	return s
}

func (h *scriptHost) DefineMetric(key string, d MetricDefinition) {
	text, _ := json.Marshal(d)
	h.note("define %s %s", key, text)
}

func (h *scriptHost) Metric(key string, value float64, at *float64) {
	if at == nil {
		h.note("metric %s %v", key, value)
		return
	}
	h.note("metric %s %v at %v", key, value, *at)
}

func (h *scriptHost) Group(id int, name string) { h.note("group %d %s", id, name) }

func (h *scriptHost) Log(level int, template *string, vs map[string]Value) {
	s := ""
	for k, v := range vs {
		s += fmt.Sprintf(" %s=%s", k, v.Value)
	}
	h.note("log %d %s%s", level, *template, s)
}

func (h *scriptHost) Result(r Result) {
	if r.Release != nil {
		defer r.Release()
	}
	if r.Error == nil {
		h.note("result %s", r.Value.Value)
		return
	}
	s := fmt.Sprintf("error %s: %s", r.Error.Type, r.Error.Message)
	for _, f := range r.Error.Frames {
		s += fmt.Sprintf(" %s:%d:%s:%s", f.File, f.Line, f.Name, f.Code)
	}
	if r.Error.Retryable != nil {
		s += fmt.Sprintf(" retryable=%t", *r.Error.Retryable)
	}
	h.note("%s", s)
}

func (h *scriptHost) Terminated() { h.note("terminated"); close(h.ended) }
func (h *scriptHost) Lost()       { h.note("lost"); close(h.ended) }

// Each testdata/exchange/NAME.txt is played by a foreign adapter; NAME.want is what the host was asked, with captured
// output sorted behind the other lines because it has a pipe of its own.
func TestExchange(t *testing.T) {
	t.Parallel()
	scripts, _ := filepath.Glob("testdata/exchange/*.txt")
	if len(scripts) == 0 {
		t.Fatal("no scripts")
	}
	python := os.Getenv("COFLUX_TEST_PYTHON")
	if python == "" {
		python = "python3"
	}
	for _, script := range scripts {
		t.Run(filepath.Base(script), func(t *testing.T) {
			t.Parallel()
			abs, err := filepath.Abs(script)
			if err != nil {
				t.Fatal(err)
			}
			play, _ := filepath.Abs("testdata/play.py")
			e := newEngine(t, func(c *Config) {
				c.Adapter, c.Warm, c.Modules = []string{python, play, abs}, 0, []string{"m"}
			})
			h := &scriptHost{ended: make(chan struct{})}
			if err := e.pool.Run(Job{ExecutionID: "E:1:1", Module: "m", Target: "wf"}, h); err != nil {
				t.Fatal(err)
			}
			<-h.ended
			want, err := os.ReadFile(strings.TrimSuffix(script, ".txt") + ".want")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(strings.TrimSpace(string(want)), "\n"), ordered(h.lines)); diff != "" {
				t.Error(diff)
			}
			d, err := e.pool.Discover(context.Background())
			if err != nil || len(d.Modules) != 1 || len(d.Modules[0].Targets) != 1 {
				t.Errorf("discover: %+v %v", d, err)
			}
		})
	}
}

// ordered moves lines of stderr to where .want has them: before the result.
func ordered(lines []string) []string {
	rank := func(s string) int {
		switch {
		case strings.HasPrefix(s, "log 3"):
			return 1
		case strings.HasPrefix(s, "result"), strings.HasPrefix(s, "error"):
			return 2
		case s == "terminated":
			return 3
		}
		return 0
	}
	sort.SliceStable(lines, func(i, j int) bool { return rank(lines[i]) < rank(lines[j]) })
	return lines
}
