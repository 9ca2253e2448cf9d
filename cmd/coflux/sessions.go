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

// sessionsListOptions list the agents of a workspace.
type sessionsListOptions struct{ watch bool }

func (o *sessionsListOptions) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.watch, "watch", false, "on a terminal, show them live until Ctrl-C")
}

func (o *sessionsListOptions) run(ctx context.Context, a *app, _ []string) error {
	c, workspace, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	return a.showTable(ctx, o.watch, "No active sessions.", func() ([][]string, []byte, error) {
		doc, err := c.Sessions(ctx, workspace)
		if err != nil {
			return nil, nil, fmt.Errorf("failed to get sessions: %w", err)
		}
		return sessionRows(doc.Value), doc.Raw, nil
	})
}

func sessionRows(sessions map[string]client.Session) [][]string {
	rows := [][]string{{"Session", "Pool", "Targets", "Provides", "Load"}}
	for _, id := range slices.Sorted(maps.Keys(sessions)) {
		s := sessions[id]
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
	return rows
}
