package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// queueOptions show the executions without result.
type queueOptions struct{ noWatch bool }

func (o *queueOptions) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.noWatch, "no-watch", false, "print once; without it a terminal shows the queue live until Ctrl-C")
}

func (o *queueOptions) run(ctx context.Context, a *app, _ []string) error {
	c, workspace, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	read := func() ([][]string, []byte, error) {
		workspaces, err := c.Workspaces(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("failed to get workspaces: %w", err)
		}
		doc, err := c.Queue(ctx, workspace)
		if err != nil {
			return nil, nil, fmt.Errorf("failed to get queue: %w", err)
		}
		return queueRows(doc.Value, workspaces.Value[workspace].State == "paused", a.now()), doc.Raw, nil
	}
	return a.showTable(ctx, !o.noWatch, "Queue is empty.", read)
}

func queueRows(queue map[string]client.Queued, paused bool, now time.Time) [][]string {
	ids := slices.Collect(maps.Keys(queue))
	slices.SortFunc(ids, func(x, y string) int {
		if d := queue[x].CreatedAt - queue[y].CreatedAt; d != 0 {
			return int(min(max(d, -1), 1))
		}
		return strings.Compare(x, y)
	})
	rows := [][]string{{"Execution", "Target", "Requires", "Dependencies", "Status"}}
	for _, id := range ids {
		q := queue[id]
		rows = append(rows, []string{id, q.Module + "/" + q.Target, tagsText(q.Requires),
			orDash(strings.Join(q.Dependencies, ", ")), queueStatus(q, paused, now)})
	}
	return rows
}

func queueStatus(q client.Queued, paused bool, now time.Time) string {
	switch {
	case q.AssignedAt != nil:
		return "assigned"
	case q.ExecuteAfter != nil && time.UnixMilli(*q.ExecuteAfter).After(now):
		return "scheduled"
	case paused:
		return "paused"
	case q.Reason != nil:
		return "no session: " + *q.Reason
	}
	return "waiting"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
