package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// sessionsListOptions list the agents of a workspace.
type sessionsListOptions struct{}

func (o *sessionsListOptions) AddFlags(*pflag.FlagSet) {}

func (o *sessionsListOptions) run(ctx context.Context, a *app, _ []string) error {
	c, workspace, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	doc, err := c.Sessions(ctx, workspace)
	if err != nil {
		return fmt.Errorf("failed to get sessions: %w", err)
	}
	if a.json() {
		return a.printJSON(doc.Raw)
	}
	if len(doc.Value) == 0 {
		fmt.Fprintln(a.stdout, "No active sessions.")
		return nil
	}
	rows := [][]string{{"Session", "Pool", "Targets", "Provides", "Load"}}
	for _, id := range slices.Sorted(maps.Keys(doc.Value)) {
		s := doc.Value[id]
		pool := "-"
		if s.PoolName != nil {
			pool = *s.PoolName
		}
		var targets []string
		for _, module := range slices.Sorted(maps.Keys(s.Targets)) {
			for _, name := range s.Targets[module] {
				targets = append(targets, module+"/"+name)
			}
		}
		load := fmt.Sprintf("%d/%d", s.Executing, s.Concurrency)
		if !s.Connected {
			load += " (disconnected)"
		}
		rows = append(rows, []string{id, pool, orDash(strings.Join(targets, ", ")), tagsText(s.Provides), load})
	}
	return a.table(rows)
}
