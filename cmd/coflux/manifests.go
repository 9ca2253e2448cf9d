package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// manifestsInspectOptions list the registered workflows.
type manifestsInspectOptions struct{ watch bool }

func (o *manifestsInspectOptions) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.watch, "watch", false, "on a terminal, show them live until Ctrl-C")
}

func (o *manifestsInspectOptions) run(ctx context.Context, a *app, _ []string) error {
	c, workspace, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	live := o.watch && a.stdoutTTY && !a.json()
	s := &screen{out: a.stdout, size: a.size}
	for {
		doc, err := c.Manifests(ctx, workspace)
		switch {
		case ctx.Err() != nil && live:
			return nil
		case err != nil:
			return fmt.Errorf("failed to get manifests: %w", err)
		case a.json():
			return a.printJSON(doc.Raw)
		}
		lines := manifestLines(doc.Value)
		if live {
			s.draw(lines)
			if err := sleep(ctx, liveEvery); err != nil {
				return nil
			}
			continue
		}
		for _, l := range lines {
			fmt.Fprintln(a.stdout, l.render(0, a.stdoutTTY))
		}
		return nil
	}
}

// limitsText says what each process of a workflow may use, "" if there are no limits.
func limitsText(l *client.Limits) string {
	if l == nil {
		return ""
	}
	var parts []string
	if l.Memory > 0 {
		parts = append(parts, "memory "+sizeText(float64(l.Memory)))
	}
	if l.CPU > 0 {
		parts = append(parts, fmt.Sprintf("cpu %ds", l.CPU))
	}
	if l.Files > 0 {
		parts = append(parts, fmt.Sprintf("files %d", l.Files))
	}
	return "  limits: " + strings.Join(parts, ", ")
}

// manifestLines shows modules with their workflows.
func manifestLines(modules map[string]map[string]client.Manifest) (lines []line) {
	if len(modules) == 0 {
		return []line{{{plain, "No modules registered."}}}
	}
	for _, module := range slices.Sorted(maps.Keys(modules)) {
		lines = append(lines, line{{bold, module}})
		for _, name := range slices.Sorted(maps.Keys(modules[module])) {
			var params []string
			for _, p := range modules[module][name].Parameters {
				params = append(params, p.Name)
			}
			lines = append(lines, line{{plain, "  " + name + "(" + strings.Join(params, ", ") + ")"}, {dim, limitsText(modules[module][name].Limits)}})
		}
	}
	return lines
}
