package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
)

const (
	awaitPoll    = 30 * time.Second
	redrawPeriod = 100 * time.Millisecond
)

// runView shows a run while it is watched.
type runView interface {
	update(doc *client.Run, changed []string) // after each change; nil = everything
	tick(doc *client.Run, now time.Time)      // every redrawPeriod
	finish(doc *client.Run, now time.Time)
}

// waitRun waits for a run as submit does: with a live tree on a terminal, silently elsewhere. The
// run's failure is told on stderr and returned as errQuiet.
func (a *app) waitRun(ctx context.Context, c *client.Client, workspace, run string) error {
	if a.stdoutTTY && !a.json() {
		return a.waitTree(ctx, c, workspace, run)
	}
	result, err := awaitRoot(ctx, c, workspace, run)
	if err != nil {
		return detached(ctx, run, err)
	}
	if a.json() {
		doc, err := c.Run(ctx, workspace, run)
		if err != nil {
			return fmt.Errorf("failed to get run: %w", err)
		}
		if err := a.printJSON(doc.Raw); err != nil {
			return err
		}
	}
	if result.OK() {
		return nil
	}
	printFailure(a.stderr, result)
	return errQuiet
}

// awaitRoot waits for the final outcome of the run's root.
func awaitRoot(ctx context.Context, c *client.Client, workspace, run string) (*client.Result, error) {
	for {
		got, err := c.AwaitRun(ctx, workspace, run, awaitPoll)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, ctx.Err()
		case client.IsCode(err, client.CodeNoQuorum):
			if err := sleep(ctx, time.Second); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, fmt.Errorf("failed to get run: %w", err)
		case got.Done && got.Result != nil:
			return got.Result, nil
		}
	}
}

// sleep waits for d, or for the context's end.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func detached(ctx context.Context, run string, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("interrupted: run %s goes on; 'coflux runs inspect %s' waits for it again", run, run)
}

// waitTree shows the live tree until every step's latest attempt has a result.
func (a *app) waitTree(ctx context.Context, c *client.Client, workspace, run string) error {
	following, cancel := context.WithCancel(ctx)
	progress, ended := followBars(following, c, workspace, run)
	view := &treeView{run: run, progress: progress, screen: &screen{out: a.stdout, size: a.size}}
	doc, err := a.watch(ctx, c, workspace, run, view)
	cancel()
	ended()
	if err != nil && ctx.Err() != nil {
		fmt.Fprintln(a.stderr, "Detached. Workflow still running.")
		return nil
	}
	if err != nil {
		return fmt.Errorf("failed to get run: %w", err)
	}
	return a.concludeTree(ctx, c, run, doc)
}

// concludeTree prints the root's result, or each failure, under a finished tree.
func (a *app) concludeTree(ctx context.Context, c *client.Client, run string, doc *client.Run) error {
	failed := false
	for _, id := range sortedSteps(doc) {
		_, e := doc.Steps[id].Latest()
		if stateOf(e) != "failed" {
			continue
		}
		failed = true
		if id == run+":1" {
			printFailure(a.stderr, e.Result)
		}
	}
	root := rootResult(doc, run)
	if root != nil && root.OK() {
		if text, err := a.resultText(ctx, c, root); err == nil && text != "None" {
			fmt.Fprintf(a.stdout, "Result: %s\n", printable(text))
		}
	}
	if failed {
		return errQuiet
	}
	return nil
}

// rootResult is the result of the latest attempt of a run's root, or nil.
func rootResult(doc *client.Run, run string) *client.Result {
	s := doc.Steps[run+":1"]
	if s == nil {
		return nil
	}
	_, e := s.Latest()
	if e == nil {
		return nil
	}
	return e.Result
}

func allDone(doc *client.Run) bool {
	for _, s := range doc.Steps {
		if _, e := s.Latest(); e == nil || e.Result == nil || e.Result.Open() {
			return false
		}
	}
	return len(doc.Steps) > 0
}

// watch keeps a view up to date until every step's latest attempt has its outcome, and returns the
// document as it was then.
func (a *app) watch(ctx context.Context, c *client.Client, workspace, run string, view runView) (*client.Run, error) {
	ctx, cancel := context.WithCancel(ctx)
	events := make(chan client.RunEvent, 64)
	ended := make(chan error, 1)
	go func() {
		ended <- c.WatchRun(ctx, workspace, run, func(e client.RunEvent) error {
			select {
			case events <- e:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	running := true
	defer func() {
		cancel()
		if running {
			<-ended
		}
	}()
	doc, dirty := &client.Run{}, false
	ticker := time.NewTicker(redrawPeriod)
	defer ticker.Stop()
	for {
		select {
		case e := <-events:
			doc.Apply(e)
			var changed []string
			for id := range e.Steps {
				changed = append(changed, id)
			}
			view.update(doc, changed)
			dirty = true
		case now := <-ticker.C:
			view.tick(doc, now)
		case err := <-ended:
			running = false
			view.finish(doc, a.now())
			if err == nil {
				err = errors.New("the event stream ended")
			}
			return doc, err
		}
		if dirty && len(events) == 0 {
			dirty = false
			if allDone(doc) {
				view.finish(doc, a.now())
				return doc, nil
			}
		}
	}
}

// treeView redraws the tree in place.
type treeView struct {
	run      string
	progress *bars
	screen   *screen
}

func (v *treeView) update(*client.Run, []string) {}

func (v *treeView) tick(doc *client.Run, now time.Time) {
	v.screen.draw(treeLines(v.run, doc, now, v.progress))
}

func (v *treeView) finish(doc *client.Run, now time.Time) {
	v.screen.finish(treeLines(v.run, doc, now, v.progress))
}

// printFailure tells why a run failed, as Python would.
func printFailure(w io.Writer, r *client.Result) {
	fmt.Fprintln(w, printable(failureText(r)))
}

// failureText is the traceback and message of an error, or the outcome in words.
func failureText(r *client.Result) string {
	switch r.Type {
	case client.ResultError:
		return tracebackText(r.Error)
	case client.ResultTimeout:
		return "Timeout"
	case client.ResultCancelled:
		return "Cancelled"
	case client.ResultAbandoned:
		return "Abandoned: the node that ran it was lost"
	case client.ResultCached, client.ResultDeferred, client.ResultSpawned:
		if r.Result != nil {
			return failureText(r.Result)
		}
	}
	return r.Type
}

func tracebackText(f *client.Failure) string {
	if f == nil {
		return "error"
	}
	var b strings.Builder
	if len(f.Frames) > 0 {
		b.WriteString("Traceback (most recent call last):\n")
	}
	for _, frame := range f.Frames {
		fmt.Fprintf(&b, "  File \"%s\", line %d", frame.File, frame.Line)
		if frame.Name != nil && *frame.Name != "" {
			b.WriteString(", in " + *frame.Name)
		}
		b.WriteString("\n")
		if frame.Code != nil && *frame.Code != "" {
			b.WriteString("    " + *frame.Code + "\n")
		}
	}
	b.WriteString(typeName(f))
	if f.Message != "" {
		b.WriteString(": " + f.Message)
	}
	return b.String()
}

// typeName is an error's type as Python prints it: that of a built-in one without its module.
func typeName(f *client.Failure) string { return strings.TrimPrefix(f.Type, "builtins.") }
