package bench

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// afterQueueing is how long W6 waits once all is queued: the snapshots and the garbage of that are not what the queue costs.
const afterQueueing = 15 * time.Second

// rounds is how often W6 measures each of W1 and W4 on each side.
const rounds = 16

// backlog is W6: how much longer W1 and W4 take while many runs are queued that nothing can run. It takes turns with a mesh that has
// no queue, so that a machine that changes its pace changes it for both; without one it measures before and after.
func (b *Bench) backlog(ctx context.Context) ([]Figure, error) {
	var before, after []pair
	if b.Beside == nil {
		for range rounds {
			p, err := b.pair(ctx)
			if err != nil {
				return nil, err
			}
			before = append(before, p)
		}
	}
	if err := b.enqueue(ctx, b.Queued); err != nil {
		return nil, err
	}
	select {
	case <-time.After(afterQueueing):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for i := range 2 * rounds {
		at, into := b, &after
		if b.Beside != nil && (i+i/2)%2 == 0 { // 0 1 1 0: neither side is always the first
			at, into = b.Beside, &before
		} else if b.Beside == nil && i >= rounds {
			break
		}
		p, err := at.pair(ctx)
		if err != nil {
			return nil, err
		}
		*into = append(*into, p)
	}
	hello, helloAfter := middle(before, func(p pair) Figure { return p.hello }), middle(after, func(p pair) Figure { return p.hello })
	burst, burstAfter := middle(before, func(p pair) Figure { return p.burst }), middle(after, func(p pair) Figure { return p.burst })
	what := func(before, after Figure) string {
		return fmt.Sprintf("%v instead of %v %s while %d runs wait", after.Value, before.Value, before.Unit, b.Queued)
	}
	return []Figure{
		{Name: "W6 backlog W1", What: what(hello, helloAfter), Unit: "x", Count: hello.Count, Value: round(helloAfter.Value / hello.Value)},
		{Name: "W6 backlog W4", What: what(burst, burstAfter), Unit: "x", Count: burst.Count, Value: round(burst.Value / burstAfter.Value)},
	}, nil
}

// pair is W1 and W4 once.
type pair struct{ hello, burst Figure }

func (b *Bench) pair(ctx context.Context) (p pair, err error) {
	if p.hello, err = b.hello(ctx); err == nil {
		p.burst, err = b.burst(ctx)
	}
	return p, err
}

// middle gives the median of some figures.
func middle(of []pair, which func(pair) Figure) Figure {
	var figures []Figure
	for _, p := range of {
		figures = append(figures, which(p))
	}
	slices.SortFunc(figures, func(x, y Figure) int { return cmp.Compare(x.Value, y.Value) })
	return figures[len(figures)/2]
}

// enqueue starts runs of a workflow that nobody serves.
func (b *Bench) enqueue(ctx context.Context, n int) error {
	b.say("W6: %d runs that nobody serves", n)
	start := time.Now()
	err := each(ctx, n, func(ctx context.Context, i int) error {
		_, err := b.submit(ctx, b.client(i), "served_by_nobody", i)
		return err
	})
	b.say("W6: queued after %s", time.Since(start).Round(time.Millisecond))
	return err
}
