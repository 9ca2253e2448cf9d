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

// backlog is W6: how much longer W1 and W4 take while many runs are queued that nothing can run. Both are measured before
// and after in the same mesh, three times each, so that the ratio of the medians says what the queue costs.
func (b *Bench) backlog(ctx context.Context) ([]Figure, error) {
	hello, burst, err := b.thrice(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.enqueue(ctx, b.Queued); err != nil {
		return nil, err
	}
	select {
	case <-time.After(afterQueueing):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	helloAfter, burstAfter, err := b.thrice(ctx)
	if err != nil {
		return nil, err
	}
	what := func(before, after Figure) string {
		return fmt.Sprintf("%v instead of %v %s while %d runs wait", after.Value, before.Value, before.Unit, b.Queued)
	}
	return []Figure{
		{Name: "W6 backlog W1", What: what(hello, helloAfter), Unit: "x", Count: hello.Count, Value: round(helloAfter.Value / hello.Value)},
		{Name: "W6 backlog W4", What: what(burst, burstAfter), Unit: "x", Count: burst.Count, Value: round(burst.Value / burstAfter.Value)},
	}, nil
}

// thrice measures W1 and W4 three times and gives those in the middle.
func (b *Bench) thrice(ctx context.Context) (hello, burst Figure, err error) {
	var hellos, bursts []Figure
	for range 3 {
		if hello, err = b.hello(ctx); err != nil {
			return hello, burst, err
		}
		if burst, err = b.burst(ctx); err != nil {
			return hello, burst, err
		}
		hellos, bursts = append(hellos, hello), append(bursts, burst)
	}
	middle := func(of []Figure) Figure {
		slices.SortFunc(of, func(x, y Figure) int { return cmp.Compare(x.Value, y.Value) })
		return of[1]
	}
	return middle(hellos), middle(bursts), nil
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
