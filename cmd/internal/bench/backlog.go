package bench

import (
	"context"
	"fmt"
	"time"
)

// backlog is W6: how much longer W1 and W4 take while many runs are queued that nothing can run. Both are measured before
// and after in the same mesh, so that the ratio says what the queue costs.
func (b *Bench) backlog(ctx context.Context) ([]Figure, error) {
	hello, err := b.hello(ctx)
	if err != nil {
		return nil, err
	}
	burst, err := b.burst(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.enqueue(ctx, b.Queued); err != nil {
		return nil, err
	}
	helloAfter, err := b.hello(ctx)
	if err != nil {
		return nil, err
	}
	burstAfter, err := b.burst(ctx)
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
