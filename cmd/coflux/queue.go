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
	live := a.stdoutTTY && !a.json() && !o.noWatch
	s := &screen{out: a.stdout, size: a.size}
	for {
		doc, err := c.Queue(ctx, workspace)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("failed to get queue: %w", err)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case a.json():
			return a.printJSON(doc.Raw)
		case !live && len(doc.Value) == 0:
			fmt.Fprintln(a.stdout, "Queue is empty.")
			return nil
		case !live:
			return a.table(queueRows(doc.Value, a.now()))
		}
		s.draw(queueLines(doc.Value, a.now()))
		if err := sleep(ctx, time.Second); err != nil {
			return nil
		}
	}
}

func queueRows(queue map[string]client.Queued, now time.Time) [][]string {
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
			orDash(strings.Join(q.Dependencies, ", ")), queueStatus(q, now)})
	}
	return rows
}

func queueStatus(q client.Queued, now time.Time) string {
	switch {
	case q.AssignedAt != nil:
		return "assigned"
	case q.ExecuteAfter != nil && time.UnixMilli(*q.ExecuteAfter).After(now):
		return "scheduled"
	}
	if q.Reason != nil {
		return "no session: " + *q.Reason
	}
	return "waiting"
}

func queueLines(queue map[string]client.Queued, now time.Time) []line {
	if len(queue) == 0 {
		return []line{{{dim, "Queue is empty."}}}
	}
	rows := queueRows(queue, now)
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	lines := make([]line, 0, len(rows))
	for n, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			fmt.Fprintf(&b, "%-*s  ", widths[i], cell)
		}
		style := plain
		if n == 0 {
			style = bold
		}
		lines = append(lines, line{{style, strings.TrimRight(b.String(), " ")}})
	}
	return lines
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
