package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// logsOptions show what a run logged.
type logsOptions struct {
	follow bool
	from   int64
	level  string
	grep   string
}

func (o *logsOptions) AddFlags(f *pflag.FlagSet) {
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with what arrives, until Ctrl-C")
	f.Int64Var(&o.from, "from", 0, "skip what was stored before this time (unix `MS`)")
	f.StringVar(&o.level, "level", "", "only lines of this `LEVEL` or above: "+strings.Join(levelNames, ", "))
	f.StringVar(&o.grep, "grep", "", "only lines that match this regular expression (`RE2`; (?i) ignores case); values are matched as JSON")
}

// levelNames are the levels 0 to 5, as --level takes them.
var levelNames = []string{"debug", "stdout", "info", "stderr", "warning", "error"}

// parseLevel reads the name of a level, whatever its case; none is the lowest.
func parseLevel(name string) (int, error) {
	if name == "" {
		return 0, nil
	}
	for i, known := range levelNames {
		if strings.EqualFold(name, known) {
			return i, nil
		}
	}
	if strings.EqualFold(name, "warn") {
		return 4, nil
	}
	return 0, fmt.Errorf("invalid --level '%s': give one of %s", name, strings.Join(levelNames, ", "))
}

// logDocument is the JSON form; its fields are in the order in which they are printed.
type logDocument struct {
	Logs   []logLine `json:"logs"`
	Cursor string    `json:"cursor"`
}

type logLine struct {
	ExecutionID string                     `json:"executionId"`
	WorkspaceID string                     `json:"workspaceId"`
	Timestamp   int64                      `json:"timestamp"`
	Level       int                        `json:"level"`
	Template    string                     `json:"template"`
	Values      map[string]json.RawMessage `json:"values"`
}

func (o *logsOptions) run(ctx context.Context, a *app, args []string) error {
	level, err := parseLevel(o.level)
	if err != nil {
		return err
	}
	c, workspace, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	doc, err := c.Run(ctx, workspace, args[0])
	if err != nil {
		return fmt.Errorf("failed to get run: %w", err)
	}
	q := client.LogQuery{Run: args[0], Workspaces: []string{workspace}, From: o.from, Level: level, Grep: o.grep}
	if len(args) == 2 {
		if q.Execution, err = checkLogFilter(args[0], args[1], &doc.Value); err != nil {
			return err
		}
	}
	p := &logPrinter{out: a.stdout, colour: a.stdoutTTY, client: c, doc: &doc.Value,
		reload: func(ctx context.Context) (*client.Run, error) {
			d, err := c.Run(ctx, workspace, args[0])
			return &d.Value, err
		}}
	switch {
	case o.follow && a.json():
		err = c.FollowLogs(ctx, q, func(entries []client.LogEntry) error { return printCompact(a.stdout, entries) })
	case o.follow:
		err = c.FollowLogs(ctx, q, func(entries []client.LogEntry) error { return p.print(ctx, entries) })
	default:
		return o.once(ctx, a, c, q, p)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (o *logsOptions) once(ctx context.Context, a *app, c *client.Client, q client.LogQuery, p *logPrinter) error {
	page, err := c.Logs(ctx, q)
	if err != nil {
		return fmt.Errorf("failed to get logs: %w", err)
	}
	if !a.json() {
		return o.all(ctx, c, q, p, page.Value)
	}
	out := logDocument{Logs: []logLine{}}
	if page.Value.Cursor != nil {
		out.Cursor = *page.Value.Cursor
	}
	for _, e := range page.Value.Logs {
		l, err := jsonLine(e)
		if err != nil {
			return err
		}
		out.Logs = append(out.Logs, l)
	}
	return a.printJSONValue(out)
}

// all prints every line there is, page by page. Long lines make short pages: only an empty one is the last.
func (o *logsOptions) all(ctx context.Context, c *client.Client, q client.LogQuery, p *logPrinter, page client.LogPage) error {
	for {
		if err := p.print(ctx, page.Logs); err != nil || page.Cursor == nil || len(page.Logs) == 0 {
			return err
		}
		q.After = *page.Cursor
		next, err := c.Logs(ctx, q)
		if err != nil {
			return fmt.Errorf("failed to get logs: %w", err)
		}
		page = next.Value
	}
}

func jsonLine(e client.LogEntry) (logLine, error) {
	l := logLine{ExecutionID: e.ExecutionID, WorkspaceID: e.WorkspaceID, Timestamp: e.Timestamp, Level: e.Level,
		Values: map[string]json.RawMessage{}}
	if e.Template != nil {
		l.Template = *e.Template
	}
	for k, v := range e.Values {
		if v.References == nil {
			v.References = []client.Reference{}
		}
		b, err := json.Marshal(v)
		if err != nil {
			return l, err
		}
		l.Values[k] = b
	}
	return l, nil
}

func printCompact(w io.Writer, entries []client.LogEntry) error {
	for _, e := range entries {
		l, err := jsonLine(e)
		if err != nil {
			return err
		}
		b, err := json.Marshal(l)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s\n", b); err != nil {
			return err
		}
	}
	return nil
}

func checkLogFilter(run, filter string, doc *client.Run) (string, error) {
	e, err := parseExecution(filter)
	if err != nil || e.attempt == 0 || e.run != run {
		return "", fmt.Errorf("invalid step:attempt format: expected '%s:STEP:ATTEMPT', got '%s'", run, filter)
	}
	id := fmt.Sprintf("%s:%d", e.run, e.step)
	step := doc.Steps[id]
	if step == nil {
		return "", fmt.Errorf("step %q not found in run", id)
	}
	if step.Executions[fmt.Sprint(e.attempt)] == nil {
		return "", fmt.Errorf("attempt %d not found for step %q", e.attempt, id)
	}
	return filter, nil
}

// logPrinter prints entries as text, with a head where the date or the execution changes.
type logPrinter struct {
	out       io.Writer
	colour    bool
	client    *client.Client
	doc       *client.Run
	reload    func(context.Context) (*client.Run, error)
	date, exe string
}

// levels are the names and, for a terminal, the bullet's styles.
var levels = []struct{ name, style string }{
	{"DEBUG", dim}, {"STDOUT", plain}, {"INFO", cyan}, {"STDERR", yellow}, {"WARN", yellow}, {"ERROR", red},
}

func (p *logPrinter) print(ctx context.Context, entries []client.LogEntry) error {
	for _, e := range entries {
		at := time.UnixMilli(e.Timestamp).UTC()
		if d := at.Format("2006-01-02"); d != p.date {
			p.date = d
			fmt.Fprintln(p.out, line{{dim, "-- " + d + " UTC --"}}.render(0, p.colour))
		}
		if e.ExecutionID != p.exe {
			p.exe = e.ExecutionID
			fmt.Fprintln(p.out, line{{bold, p.title(ctx, e.ExecutionID)}}.render(0, p.colour))
		}
		text, err := logText(ctx, p.client, e)
		if err != nil {
			return err
		}
		level := struct{ name, style string }{fmt.Sprint(e.Level), plain}
		if e.Level >= 0 && e.Level < len(levels) {
			level = levels[e.Level]
		}
		mark := span{plain, fmt.Sprintf("%-6s ", level.name)}
		if p.colour {
			mark = span{level.style, "● "}
		}
		head := line{{dim, at.Format("15:04:05.000") + " "}, mark}.render(0, p.colour)
		if _, err := fmt.Fprintln(p.out, head+printable(text)); err != nil {
			return err
		}
	}
	return nil
}

// title is "module/target step:attempt"; a step that is newer than the document makes it read again.
func (p *logPrinter) title(ctx context.Context, id string) string {
	e, err := parseExecution(id)
	if err != nil {
		return id
	}
	stepID := fmt.Sprintf("%s:%d", e.run, e.step)
	if p.doc.Steps[stepID] == nil && p.reload != nil {
		if doc, err := p.reload(ctx); err == nil {
			p.doc = doc
		}
	}
	if s := p.doc.Steps[stepID]; s != nil {
		return fmt.Sprintf("%s/%s %d:%d", s.Module, s.Target, e.step, e.attempt)
	}
	return id
}

var placeholder = regexp.MustCompile(`\{[A-Za-z_][A-Za-z0-9_]*\}`)

// logText is an entry's message: the template with its placeholders filled, other values behind it.
func logText(ctx context.Context, c *client.Client, e client.LogEntry) (string, error) {
	text := ""
	if e.Template != nil {
		text = *e.Template
	}
	values, used := map[string]string{}, map[string]bool{}
	for k, v := range e.Values {
		s, err := valueText(ctx, c, &v)
		if err != nil {
			return "", err
		}
		values[k] = s
	}
	text = placeholder.ReplaceAllStringFunc(text, func(m string) string {
		name := m[1 : len(m)-1]
		if s, ok := values[name]; ok {
			used[name] = true
			return s
		}
		return m
	})
	var rest []string
	for k, s := range values {
		if !used[k] {
			rest = append(rest, k+"="+s)
		}
	}
	sort.Strings(rest)
	if len(rest) > 0 {
		text = strings.TrimSpace(text + " " + strings.Join(rest, " "))
	}
	return text, nil
}
