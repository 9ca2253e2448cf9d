package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
)

const (
	// Output may reach the log a little later than the result that follows it: this long must nothing
	// arrive, and so long is waited at most.
	logsQuiet   = 150 * time.Millisecond
	logsLongest = 1500 * time.Millisecond
	// liveOutput is how many lines of output stand below the live tree.
	liveOutput = 8
)

// logCollector follows a run's log in the background.
type logCollector struct {
	cancel context.CancelFunc
	done   chan struct{}
	client *client.Client

	mu    sync.Mutex // guards the next two fields
	lines []outputLine
	last  time.Time // when the last one arrived
}

// outputLine is one line that a body logged or printed.
type outputLine struct {
	execution string
	level     int
	text      string
}

func collectLogs(ctx context.Context, c *client.Client, workspace, run string) *logCollector {
	ctx, cancel := context.WithCancel(ctx)
	l := &logCollector{cancel: cancel, done: make(chan struct{}), client: c, last: time.Now()}
	go func() {
		defer close(l.done)
		// A log that can not be followed leaves the run's outcome unharmed.
		_ = c.FollowLogs(ctx, client.LogQuery{Run: run, Workspaces: []string{workspace}}, func(entries []client.LogEntry) error {
			return l.add(ctx, entries)
		})
	}()
	return l
}

func (l *logCollector) add(ctx context.Context, entries []client.LogEntry) error {
	for _, e := range entries {
		text, err := logText(ctx, l.client, e)
		if err != nil {
			return err
		}
		l.mu.Lock()
		l.lines, l.last = append(l.lines, outputLine{e.ExecutionID, e.Level, text}), time.Now()
		l.mu.Unlock()
	}
	return nil
}

// from returns the lines from the n-th on.
func (l *logCollector) from(n int) []outputLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]outputLine{}, l.lines[min(n, len(l.lines)):]...)
}

// settle waits until nothing more arrives.
func (l *logCollector) settle() {
	start := time.Now()
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for time.Since(start) < logsLongest {
		l.mu.Lock()
		quiet := time.Since(l.last)
		l.mu.Unlock()
		if min(quiet, time.Since(start)) >= logsQuiet {
			return
		}
		select {
		case <-l.done:
			return
		case <-t.C:
		}
	}
}

func (l *logCollector) stop() {
	l.cancel()
	<-l.done
}

// newDevView shows the steps as a live tree on a terminal, as lines elsewhere; both with the output.
func newDevView(a *app, talk io.Writer, run string, logs *logCollector) runView {
	if a.stdoutTTY && !a.json() {
		return &devTree{run: run, logs: logs, screen: &screen{out: a.stdout, size: a.size}}
	}
	return &devLines{run: run, out: talk, logs: logs, start: a.now(), told: map[string]string{}}
}

// devTree is the live tree with the last lines of output below it.
type devTree struct {
	run    string
	logs   *logCollector
	screen *screen
}

func (v *devTree) update(*client.Run, []string) {}

func (v *devTree) tick(doc *client.Run, now time.Time) {
	lines := treeLines(v.run, doc, now)
	all := v.logs.from(0)
	for _, l := range all[max(len(all)-liveOutput, 0):] {
		lines = append(lines, l.line(doc))
	}
	v.screen.draw(lines)
}

func (v *devTree) finish(doc *client.Run, now time.Time) {
	v.logs.settle()
	lines := treeLines(v.run, doc, now)
	for _, l := range v.logs.from(0) {
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
	told  map[string]string // step id -> what was said of it
	shown int               // lines of output
}

func (v *devLines) update(doc *client.Run, _ []string) {
	v.output(doc)
	for _, id := range sortedSteps(doc) {
		s := doc.Steps[id]
		attempt, e := s.Latest()
		state := stateOf(e)
		word := map[string]string{"running": "started", "done": "done", "failed": "failed"}[state]
		said := fmt.Sprintf("%d %s", attempt, state)
		if word == "" || v.told[id] == said {
			continue
		}
		v.told[id] = said
		l := line{{plain, fmt.Sprintf("%8s  %d:%d %s/%s  %s", shortDuration(time.Since(v.start)), s.StepNumber, attempt, s.Module, s.Target, word)}}
		if e.Node != nil {
			l = append(l, span{plain, " on " + *e.Node})
		}
		if d, ok := elapsed(e, time.Now()); ok && state != "running" {
			l = append(l, span{plain, " in " + shortDuration(d)})
		}
		if note := annotation(e); note != "" && state == "failed" {
			l = append(l, span{plain, "  " + note})
		}
		fmt.Fprintln(v.out, l.render(0, false))
	}
}

func (v *devLines) tick(doc *client.Run, _ time.Time) { v.output(doc) }

func (v *devLines) finish(doc *client.Run, _ time.Time) {
	v.logs.settle()
	v.output(doc)
}

func (v *devLines) output(doc *client.Run) {
	for _, l := range v.logs.from(v.shown) {
		fmt.Fprintln(v.out, l.line(doc).render(0, false))
		v.shown++
	}
}
