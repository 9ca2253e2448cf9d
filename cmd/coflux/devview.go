package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// liveOutput is how many lines of output stand below the live tree.
const liveOutput = 8

// logCollector follows a run's log in the background.
type logCollector struct {
	cancel context.CancelFunc
	done   chan struct{}
	client *client.Client

	query client.LogQuery
	// progress is followed along; ended returns when that is over.
	progress *bars
	ended    func()

	mu    sync.Mutex // guards the next field
	lines []outputLine
}

// outputLine is one line that a body logged or printed.
type outputLine struct {
	execution string
	level     int
	text      string
}

func collectLogs(ctx context.Context, c *client.Client, workspace, run string) *logCollector {
	ctx, cancel := context.WithCancel(ctx)
	l := &logCollector{cancel: cancel, done: make(chan struct{}), client: c,
		query: client.LogQuery{Run: run, Workspaces: []string{workspace}}}
	l.progress, l.ended = followBars(ctx, c, workspace, run)
	go func() {
		defer close(l.done)
		// A log that can not be followed leaves the run's outcome unharmed.
		_ = c.FollowLogs(ctx, l.query, func(entries []client.LogEntry) error {
			lines, err := l.render(ctx, entries)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.lines = append(l.lines, lines...)
			return err
		})
	}()
	return l
}

func (l *logCollector) render(ctx context.Context, entries []client.LogEntry) ([]outputLine, error) {
	lines := make([]outputLine, 0, len(entries))
	for _, e := range entries {
		text, err := logText(ctx, l.client, e)
		if err != nil {
			return lines, err
		}
		lines = append(lines, outputLine{e.ExecutionID, e.Level, text})
	}
	return lines, nil
}

// all returns the lines that have arrived.
func (l *logCollector) all() []outputLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]outputLine{}, l.lines...)
}

// complete reads the whole log of a run that is over: what a body said is stored before its result, but
// the stream may be behind.
func (l *logCollector) complete(ctx context.Context) {
	l.stop()
	q := l.query
	var lines []outputLine
	for {
		page, err := l.client.Logs(ctx, q)
		if err != nil || len(page.Value.Logs) == 0 {
			break
		}
		more, err := l.render(ctx, page.Value.Logs)
		lines = append(lines, more...)
		if err != nil || page.Value.Cursor == nil {
			break
		}
		q.After = *page.Value.Cursor
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(lines) >= len(l.lines) {
		l.lines = lines
	}
}

func (l *logCollector) stop() {
	l.cancel()
	<-l.done
	l.ended()
}

// newDevView shows the steps as a live tree on a terminal, as lines elsewhere; both with the output.
func newDevView(a *app, talk io.Writer, run string, logs *logCollector) runView {
	if a.stdoutTTY && !a.json() {
		return &devTree{run: run, logs: logs, screen: &screen{out: a.stdout, size: a.size}}
	}
	return &devLines{run: run, out: talk, logs: logs, start: a.now(), told: map[string]string{}, shown: map[string]int{}}
}

// devTree is the live tree with the last lines of output below it.
type devTree struct {
	run    string
	logs   *logCollector
	screen *screen
}

func (v *devTree) update(*client.Run, []string) {}

func (v *devTree) tick(doc *client.Run, now time.Time) {
	lines := treeLines(v.run, doc, now, v.logs.progress)
	all := v.logs.all()
	for _, l := range all[max(len(all)-liveOutput, 0):] {
		lines = append(lines, l.line(doc))
	}
	v.screen.draw(lines)
}

func (v *devTree) finish(doc *client.Run, now time.Time) {
	v.logs.complete(context.Background())
	lines := treeLines(v.run, doc, now, v.logs.progress)
	for _, l := range v.logs.all() {
		lines = append(lines, l.line(doc))
	}
	v.screen.finish(lines)
}

// line shows one line of output and whose it is.
func (l outputLine) line(doc *client.Run) line {
	style := plain
	if l.level >= 0 && l.level < len(levels) {
		style = levels[l.level].style
	}
	return line{{dim, "  " + l.whose(doc) + " │ "}, {style, l.text}}
}

// whose is "step:attempt target".
func (l outputLine) whose(doc *client.Run) string {
	e, err := parseExecution(l.execution)
	if err != nil {
		return l.execution
	}
	name := fmt.Sprintf("%d:%d", e.step, e.attempt)
	if s := doc.Steps[fmt.Sprintf("%s:%d", e.run, e.step)]; s != nil {
		name += " " + s.Target
	}
	return name
}

// devLines prints a line when a step starts and when it ends, and each line of output.
type devLines struct {
	run   string
	out   io.Writer
	logs  *logCollector
	start time.Time
	told  map[string]string // execution id -> what was said of it
	shown map[string]int    // execution id -> lines of its output
}

func (v *devLines) update(doc *client.Run, _ []string) {
	v.output(doc)
	ids := sortedSteps(doc)
	slices.SortStableFunc(ids, func(x, y string) int { return cmp.Compare(lastChange(doc.Steps[x]), lastChange(doc.Steps[y])) })
	for _, id := range ids {
		s := doc.Steps[id]
		latest, _ := s.Latest()
		for attempt := 1; attempt <= latest; attempt++ { // a retry comes together with the failure before it
			if e := s.Executions[strconv.Itoa(attempt)]; e != nil {
				v.attempt(s, attempt, e)
			}
		}
	}
}

// attempt tells how an attempt stands, once.
func (v *devLines) attempt(s *client.Step, attempt int, e *client.Execution) {
	state := stateOf(e)
	word := map[string]string{"running": "started", "done": "done", "failed": "failed"}[state]
	if state == "followed" {
		word = e.Result.Type
	}
	if word == "" || v.told[e.ExecutionID] == state {
		return
	}
	v.told[e.ExecutionID] = state
	l := line{{plain, fmt.Sprintf("%8s  %d:%d %s/%s  %s", shortDuration(time.Since(v.start)), s.StepNumber, attempt, s.Module, s.Target, word)}}
	if e.Node != nil {
		l = append(l, span{plain, " on " + *e.Node})
	}
	if d, ok := elapsed(e, time.Now()); ok && state != "running" {
		l = append(l, span{plain, " in " + shortDuration(d)})
	}
	if state == "failed" {
		if note := resultNote(e.Result); note != "" {
			l = append(l, span{plain, "  " + note})
		}
		if e.Result.Retry != nil {
			l = append(l, span{plain, ", to be tried again"})
		}
	}
	fmt.Fprintln(v.out, l.render(0, false))
}

// lastChange is when the latest attempt ended, or else when it began.
func lastChange(s *client.Step) int64 {
	switch _, e := s.Latest(); {
	case e == nil:
	case e.CompletedAt != nil:
		return *e.CompletedAt
	case e.AssignedAt != nil:
		return *e.AssignedAt
	}
	return 0
}

func (v *devLines) tick(doc *client.Run, _ time.Time) { v.output(doc) }

func (v *devLines) finish(doc *client.Run, _ time.Time) {
	v.logs.complete(context.Background())
	v.output(doc)
}

// output prints what was not printed yet. The order between executions may change while lines arrive, the
// order of one execution's lines does not.
func (v *devLines) output(doc *client.Run) {
	seen := map[string]int{}
	for _, l := range v.logs.all() {
		seen[l.execution]++
		if seen[l.execution] > v.shown[l.execution] {
			v.shown[l.execution]++
			fmt.Fprintln(v.out, l.line(doc).render(0, false))
		}
	}
}
