package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
)

const (
	barWidth = 20
	// definedEvery is how often the run is read again for the definitions of new metrics.
	definedEvery = time.Second
)

// bar is how far something has come.
type bar struct {
	key           string
	value, lo, hi float64
}

// bars follow what the executions of a run tell of their progress. A nil *bars knows nothing.
type bars struct {
	mu      sync.Mutex // guards the rest
	latest  map[string]map[string]client.MetricPoint
	defined map[string]map[string]client.MetricDefinition
	unknown bool // a point came whose metric is not defined here
}

// followBars follows until ctx ends; wait returns when it has ended. Without a connection there are no bars, nothing worse.
func followBars(ctx context.Context, c *client.Client, workspace, run string) (b *bars, wait func()) {
	b = &bars{latest: map[string]map[string]client.MetricPoint{}, defined: map[string]map[string]client.MetricDefinition{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = c.FollowMetrics(ctx, client.MetricQuery{Run: run}, func(points []client.MetricPoint) error {
			b.add(points)
			return nil
		})
	})
	wg.Go(func() {
		for sleep(ctx, definedEvery/4) == nil {
			if !b.asks() {
				continue
			}
			if doc, err := c.Run(ctx, workspace, run); err == nil {
				b.define(&doc.Value)
			}
			if sleep(ctx, definedEvery) != nil {
				return
			}
		}
	})
	return b, wg.Wait
}

func (b *bars) asks() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	asks := b.unknown
	b.unknown = false
	return asks
}

func (b *bars) add(points []client.MetricPoint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range points {
		of := b.latest[p.ExecutionID]
		if of == nil {
			of = map[string]client.MetricPoint{}
			b.latest[p.ExecutionID] = of
		}
		if old, ok := of[p.Key]; !ok || p.At >= old.At {
			of[p.Key] = p
		}
		if _, ok := b.defined[p.ExecutionID][p.Key]; !ok {
			b.unknown = true
		}
	}
}

func (b *bars) define(doc *client.Run) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range doc.Steps {
		for _, e := range s.Executions {
			b.defined[e.ExecutionID] = e.Metrics
		}
	}
}

// of lists the bars of an execution by key: its metrics that are progress and have an end.
func (b *bars) of(execution string) (out []bar) {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, d := range b.defined[execution] {
		p, ok := b.latest[execution][key]
		if !ok || !d.Progress || d.Upper == nil {
			continue
		}
		shown := bar{key: key, value: p.Value, hi: *d.Upper}
		if d.Lower != nil {
			shown.lo = *d.Lower
		}
		if shown.hi > shown.lo {
			out = append(out, shown)
		}
	}
	slices.SortFunc(out, func(a, b bar) int { return strings.Compare(a.key, b.key) })
	return out
}

// text is "key ████░░░░ 4/8"; the key is left out where it is the usual one.
func (b bar) text() string {
	done := int(max(0, min(1, (b.value-b.lo)/(b.hi-b.lo))) * barWidth)
	name := ""
	if b.key != "progress" {
		name = b.key + " "
	}
	return fmt.Sprintf("%s%s%s %s/%s", name, strings.Repeat("█", done), strings.Repeat("░", barWidth-done), shortNumber(b.value), shortNumber(b.hi))
}

func shortNumber(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }
