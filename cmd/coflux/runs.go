package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// runsListOptions list runs.
type runsListOptions struct {
	limit  int
	before string
}

func (o *runsListOptions) AddFlags(f *pflag.FlagSet) {
	f.IntVar(&o.limit, "limit", 50, "at most `N`")
	f.StringVar(&o.before, "before", "", "those behind this `CURSOR` of an earlier list")
}

func (o *runsListOptions) run(ctx context.Context, a *app, _ []string) error {
	if o.limit < 1 {
		return fmt.Errorf("the limit %d is not a positive number: check --limit", o.limit)
	}
	c, workspace, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	doc, err := c.Runs(ctx, workspace, o.limit, o.before)
	if err != nil {
		return fmt.Errorf("failed to list runs: %w", err)
	}
	if a.json() {
		return a.printJSON(doc.Raw)
	}
	if len(doc.Value.Runs) == 0 {
		fmt.Fprintln(a.stdout, "No runs found.")
		return nil
	}
	rows := [][]string{{"Run", "Workflow", "Created", "Took", "Status", "Steps"}}
	for _, r := range doc.Value.Runs {
		took := "-"
		if r.CompletedAt != nil {
			took = shortDuration(time.Duration(*r.CompletedAt-r.CreatedAt) * time.Millisecond)
		}
		rows = append(rows, []string{r.RunID, r.Module + "/" + r.Target, timeText(r.CreatedAt), took, r.Status, strconv.Itoa(r.Steps)})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	if doc.Value.Cursor != nil && *doc.Value.Cursor != "" {
		fmt.Fprintf(a.stderr, "There are more: --before %s\n", *doc.Value.Cursor)
	}
	return nil
}

func timeText(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05") }

const inspectHelp = `
Waits for the run as submit does: with a live tree on a terminal, silently elsewhere; with -o json the run
document is printed at the end. With --no-wait the current document is printed at once, as JSON.
`

// runsInspectOptions show a run.
type runsInspectOptions struct{ noWait bool }

func (o *runsInspectOptions) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.noWait, "no-wait", false, "print the run document as it is now")
}

func (o *runsInspectOptions) run(ctx context.Context, a *app, args []string) error {
	c, workspace, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	if !o.noWait {
		return a.waitRun(ctx, c, workspace, args[0])
	}
	doc, err := c.Run(ctx, workspace, args[0])
	if err != nil {
		return fmt.Errorf("failed to get run: %w", err)
	}
	return a.printJSON(doc.Raw)
}

// execution names a run, a step of it, or an attempt of that; 0 = not given.
type execution struct {
	run           string
	step, attempt int
}

func parseExecution(s string) (execution, error) {
	parts := strings.Split(s, ":")
	e := execution{run: parts[0]}
	bad := fmt.Errorf("%q is not of the form RUN, RUN:STEP or RUN:STEP:ATTEMPT", s)
	if e.run == "" || len(parts) > 3 {
		return e, bad
	}
	for i, p := range parts[1:] {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 {
			return e, bad
		}
		if i == 0 {
			e.step = n
		} else {
			e.attempt = n
		}
	}
	return e, nil
}

// find returns the execution that e names: the latest attempt if it names none, the root step if none.
func (e execution) find(doc *client.Run) (*client.Execution, error) {
	number := max(e.step, 1)
	step := doc.Steps[fmt.Sprintf("%s:%d", e.run, number)]
	if step == nil {
		return nil, fmt.Errorf("step %d not found in run %s", number, e.run)
	}
	if e.attempt > 0 {
		x := step.Executions[strconv.Itoa(e.attempt)]
		if x == nil {
			return nil, fmt.Errorf("execution attempt %d not found for step %d in run %s", e.attempt, number, e.run)
		}
		return x, nil
	}
	_, x := step.Latest()
	if x == nil {
		return nil, fmt.Errorf("no execution found for step %d in run %s", number, e.run)
	}
	return x, nil
}

// runsResultOptions print a result.
type runsResultOptions struct{}

func (o *runsResultOptions) AddFlags(*pflag.FlagSet) {}

func (o *runsResultOptions) run(ctx context.Context, a *app, args []string) error {
	e, err := parseExecution(args[0])
	if err != nil {
		return err
	}
	c, workspace, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	doc, err := c.Run(ctx, workspace, e.run)
	if err != nil {
		return fmt.Errorf("failed to get run: %w", err)
	}
	x, err := e.find(&doc.Value)
	switch {
	case err != nil:
		return err
	case x.Result == nil:
		return &hintError{fmt.Errorf("no result yet"), fmt.Sprintf("'coflux runs inspect %s' waits for it", e.run)}
	case a.json():
		return a.printJSON(x.Result.Raw)
	}
	text, err := a.resultText(ctx, c, x.Result)
	if err != nil {
		return err
	}
	fmt.Fprintln(a.stdout, printable(text))
	return nil
}

// resultText is the human form of a result.
func (a *app) resultText(ctx context.Context, c *client.Client, r *client.Result) (string, error) {
	switch r.Type {
	case client.ResultValue:
		return valueText(ctx, c, r.Value)
	case client.ResultError:
		return tracebackText(r.Error), nil
	case client.ResultCancelled:
		return "Cancelled", nil
	case client.ResultAbandoned:
		return "Abandoned", nil
	}
	return r.Type, nil
}

// runsCancelOptions cancel a run or an execution.
type runsCancelOptions struct{}

func (o *runsCancelOptions) AddFlags(*pflag.FlagSet) {}

func (o *runsCancelOptions) run(ctx context.Context, a *app, args []string) error {
	c, workspace, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	id := args[0]
	if strings.Count(id, ":") < 2 {
		e, err := parseExecution(id)
		if err != nil {
			return err
		}
		doc, err := c.Run(ctx, workspace, e.run)
		if err != nil {
			return fmt.Errorf("failed to cancel execution: %w", err)
		}
		x, err := e.find(&doc.Value)
		if err != nil {
			return err
		}
		id = x.ExecutionID
	}
	if err := c.CancelExecution(ctx, workspace, id); err != nil {
		return fmt.Errorf("failed to cancel execution: %w", err)
	}
	if a.json() {
		return a.printJSONValue(map[string]bool{"cancelled": true})
	}
	fmt.Fprintln(a.stdout, "Execution cancelled.")
	return nil
}
