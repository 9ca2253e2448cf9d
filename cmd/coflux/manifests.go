package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// manifestsInspectOptions list the registered workflows.
type manifestsInspectOptions struct{}

func (o *manifestsInspectOptions) AddFlags(*pflag.FlagSet) {}

func (o *manifestsInspectOptions) run(ctx context.Context, a *app, _ []string) error {
	c, workspace, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	doc, err := c.Manifests(ctx, workspace)
	if err != nil {
		return fmt.Errorf("failed to get manifests: %w", err)
	}
	if a.json() {
		return a.printJSON(doc.Raw)
	}
	if len(doc.Value) == 0 {
		fmt.Fprintln(a.stdout, "No modules registered.")
		return nil
	}
	for _, module := range slices.Sorted(maps.Keys(doc.Value)) {
		fmt.Fprintln(a.stdout, line{{bold, module}}.render(0, a.stdoutTTY))
		targets := doc.Value[module]
		for _, name := range slices.Sorted(maps.Keys(targets)) {
			var params []string
			for _, p := range targets[name].Parameters {
				params = append(params, p.Name)
			}
			fmt.Fprintf(a.stdout, "  %s\n", printable(name+"("+strings.Join(params, ", ")+")"))
		}
	}
	return nil
}
