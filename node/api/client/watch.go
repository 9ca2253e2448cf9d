package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// streamSilence is how long a stream may be silent before it counts as broken; nodes send a comment
// every 15 s.
const streamSilence = 45 * time.Second

// ErrStop, returned by a callback, ends a stream without error.
var ErrStop = errors.New("stop the stream")

// RunEvent is a change of a run: the whole document (first, and after a reconnection), or the steps
// that changed.
type RunEvent struct {
	Index    uint64           `json:"index"`
	Document *Run             `json:"document"`
	Steps    map[string]*Step `json:"steps"`
}

// Apply brings the document up to date with an event.
func (r *Run) Apply(e RunEvent) {
	if e.Document != nil {
		*r = *e.Document
	}
	if r.Steps == nil {
		r.Steps = map[string]*Step{}
	}
	for id, s := range e.Steps {
		r.Steps[id] = s
	}
}

// WatchRun calls f with the run document and then with each change. It returns when f does not return
// nil, when the context ends, or when the node refuses; a broken connection is opened again.
func (c *Client) WatchRun(ctx context.Context, workspace, run string, f func(RunEvent) error) error {
	path := topic("workspaces", workspace, "runs", run)
	return c.follow(ctx, path, func(data []byte) error {
		var event RunEvent
		if err := json.Unmarshal(data, &event); err != nil {
			return fmt.Errorf("decode an event of %s: %w", path, err)
		}
		return f(event)
	})
}

// LogQuery selects log entries.
type LogQuery struct {
	Run        string
	Execution  string   // or empty
	Workspaces []string // or empty = all
	After      string   // cursor
	From       int64    // ms, or 0
	Level      int      // lower ones are left out
	Grep       string   // regular expression (RE2) that lines match, or empty
}

func (q LogQuery) path() string {
	v := url.Values{"run": {q.Run}}
	if q.Execution != "" {
		v.Set("execution", q.Execution)
	}
	if len(q.Workspaces) > 0 {
		v.Set("workspaces", strings.Join(q.Workspaces, ","))
	}
	if q.After != "" {
		v.Set("after", q.After)
	}
	if q.From > 0 {
		v.Set("from", strconv.FormatInt(q.From, 10))
	}
	if q.Level > 0 {
		v.Set("level", strconv.Itoa(q.Level))
	}
	if q.Grep != "" {
		v.Set("grep", q.Grep)
	}
	return withQuery("/logs", v)
}

// LogEntry is one line that an execution logged or printed. The order of the fields is the order in
// which the CLI prints them.
type LogEntry struct {
	ExecutionID string           `json:"executionId"`
	WorkspaceID string           `json:"workspaceId"`
	Timestamp   int64            `json:"timestamp"`
	Level       int              `json:"level"`
	Template    *string          `json:"template"`
	Values      map[string]Value `json:"values"`
}

// LogPage is a page of entries; Cursor, when set, asks for what comes behind it.
type LogPage struct {
	Logs   []LogEntry `json:"logs"`
	Cursor *string    `json:"cursor"`
}

// Logs reads at most 1000 entries.
func (c *Client) Logs(ctx context.Context, q LogQuery) (Document[LogPage], error) {
	return read[LogPage](ctx, c, q.path(), nil)
}

// FollowLogs calls f with the entries that exist and then with those that arrive. After a broken
// connection entries already given are not given again.
func (c *Client) FollowLogs(ctx context.Context, q LogQuery, f func([]LogEntry) error) error {
	given := 0
	seen := 0
	return c.followFrom(ctx, q.path(), func() { seen = 0 }, func(data []byte) error {
		var entries []LogEntry
		if err := json.Unmarshal(data, &entries); err != nil {
			return fmt.Errorf("decode log entries: %w", err)
		}
		skip := max(0, min(given-seen, len(entries)))
		seen += len(entries)
		given = max(given, seen)
		return f(entries[skip:])
	})
}

func (c *Client) follow(ctx context.Context, path string, f func([]byte) error) error {
	return c.followFrom(ctx, path, func() {}, f)
}

// followFrom reads an event stream and opens it again when it breaks; opened is called before the
// events of each connection.
func (c *Client) followFrom(ctx context.Context, path string, opened func(), f func([]byte) error) error {
	failures := 0
	for {
		got := false
		opened()
		err := c.stream(ctx, path, func(data []byte) error {
			got = true
			return f(data)
		})
		if errors.Is(err, ErrStop) {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var cb *callbackError
		if errors.As(err, &cb) {
			return cb.err
		}
		if got {
			failures = 0
		}
		failures++
		var refused *Error
		if errors.As(err, &refused) && refused.Status != http.StatusServiceUnavailable {
			return err
		}
		if failures > 2*readAttempts {
			return err
		}
		if !pause(ctx, backoff(failures, err)) {
			return ctx.Err()
		}
	}
}

// callbackError tells an error of the reader's callback from one of the stream.
type callbackError struct{ err error }

func (e *callbackError) Error() string { return e.err.Error() }
func (e *callbackError) Unwrap() error { return e.err }

// stream reads one connection's events until it ends; the end itself is io.ErrUnexpectedEOF.
func (c *Client) stream(ctx context.Context, path string, f func([]byte) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(streamSilence, func() {
		cancel(fmt.Errorf("nothing heard on %s for %s", path, streamSilence))
	})
	defer watchdog.Stop()
	res, err := c.send(ctx, call{method: http.MethodGet, path: path, accept: "text/event-stream"}, nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	return readEvents(res.Body, func() { watchdog.Reset(streamSilence) }, f)
}

// readEvents calls f with the data of each server-sent event, and alive with each line.
func readEvents(r io.Reader, alive func(), f func([]byte) error) error {
	br := bufio.NewReaderSize(r, 64<<10)
	var data []byte
	has := false
	for {
		line, err := br.ReadBytes('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("request failed: event stream ended: %w", err)
		}
		alive()
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case len(line) == 0:
			if has {
				if err := f(data); err != nil {
					return &callbackError{err}
				}
			}
			data, has = nil, false
		case bytes.HasPrefix(line, []byte("data:")):
			part := bytes.TrimPrefix(line[len("data:"):], []byte(" "))
			if has {
				data = append(data, '\n')
			}
			data, has = append(data, part...), true
		}
	}
}
