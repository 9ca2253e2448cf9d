package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"
)

// runsRerunOptions run a step once more.
type runsRerunOptions struct{ noWait bool }

func (o *runsRerunOptions) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.noWait, "no-wait", false, "return right after the new attempt was made")
}

func (o *runsRerunOptions) run(ctx context.Context, a *app, args []string) error {
	e, err := parseExecution(args[0])
	if err != nil || e.step == 0 || e.attempt != 0 {
		return fmt.Errorf("%q is not of the form RUN:STEP", args[0])
	}
	c, workspace, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	patient, cancel := context.WithTimeout(ctx, submitPatience)
	defer cancel()
	got, err := c.RerunStep(patient, workspace, args[0])
	if err != nil {
		return fmt.Errorf("failed to rerun step: %w", err)
	}
	c.Stale = false // there is a leader again, if there was none before
	switch {
	case o.noWait && a.json():
		return a.printJSONValue(got)
	case o.noWait:
		fmt.Fprintf(a.stdout, "Step re-run (execution: %s, attempt: %d).\n", got.ExecutionID, got.Attempt)
		return nil
	case !a.json() && !a.stdoutTTY:
		fmt.Fprintln(a.stdout, got.ExecutionID)
	}
	return a.waitRun(ctx, c, workspace, e.run)
}
