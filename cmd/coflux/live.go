package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// liveEvery is how often a live view looks again.
const liveEvery = time.Second

// showTable prints what read gives: the JSON document, or its rows as a table, whose first row is the head; empty is said
// when there are no others. With watch a terminal shows the table live until Ctrl-C.
func (a *app) showTable(ctx context.Context, watch bool, empty string, read func() (rows [][]string, raw []byte, err error)) error {
	live := watch && a.stdoutTTY && !a.json()
	s := &screen{out: a.stdout, size: a.size}
	for {
		rows, raw, err := read()
		switch {
		case ctx.Err() != nil && live:
			return nil
		case err != nil:
			return err
		case a.json():
			return a.printJSON(raw)
		case !live && len(rows) < 2:
			fmt.Fprintln(a.stdout, empty)
			return nil
		case !live:
			return a.table(rows)
		}
		s.draw(tableLines(rows, empty))
		if err := sleep(ctx, liveEvery); err != nil {
			return nil
		}
	}
}

// tableLines is a table with a bold head.
func tableLines(rows [][]string, empty string) []line {
	if len(rows) < 2 {
		return []line{{{dim, empty}}}
	}
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
