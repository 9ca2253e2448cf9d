package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	helloWarm, helloRuns  = 20, 100
	chainLength           = 100
	chainRuns             = 3
	burstRuns, submitters = 500, 32
)

// hello is W1: one run is a workflow that calls a task and uses its result, from the submission until the
// client has the result, one after the other.
func (b *Bench) hello(ctx context.Context) (Figure, error) {
	b.say("W1: %d runs to warm up, %d measured", helloWarm, helloRuns)
	var took []time.Duration
	for i := range helloWarm + helloRuns {
		_, d, err := b.time(ctx, b.Clients[0], "hello", "Joe")
		if err != nil {
			return Figure{}, err
		}
		if i >= helloWarm {
			took = append(took, d)
		}
	}
	slices.Sort(took)
	return Figure{Name: "W1 hello", What: "a run of two executions, submission to result", Unit: "ms", Count: len(took),
		Value: ms(percentile(took, 0.5)), P50: ms(percentile(took, 0.5)), P90: ms(percentile(took, 0.9)), P99: ms(percentile(took, 0.99))}, nil
}

// chain is W2: a workflow calls a task many times, each call awaited.
func (b *Bench) chain(ctx context.Context) (Figure, error) {
	b.say("W2: %d times %d calls in a row", chainRuns, chainLength)
	if _, _, err := b.time(ctx, b.Clients[0], "chain", 10); err != nil {
		return Figure{}, err
	}
	var took []time.Duration
	for range chainRuns {
		_, d, err := b.time(ctx, b.Clients[0], "chain", chainLength)
		if err != nil {
			return Figure{}, err
		}
		took = append(took, d/chainLength)
	}
	slices.Sort(took)
	return Figure{Name: "W2 chain", What: "a call from one body to another, awaited", Unit: "ms/task",
		Count: chainRuns * chainLength, Value: ms(percentile(took, 0.5))}, nil
}

// fanOut is W3: a workflow submits many tasks and gathers their results.
func (b *Bench) fanOut(ctx context.Context, name string, n int) (Figure, error) {
	b.say("W3: %d tasks from one workflow", n)
	if _, _, err := b.time(ctx, b.Clients[0], "fan_out", 100); err != nil {
		return Figure{}, err
	}
	_, d, err := b.time(ctx, b.Clients[0], "fan_out", n)
	if err != nil {
		return Figure{}, err
	}
	title := "W3 fan-out"
	if name != "w3" {
		title += fmt.Sprintf(" %d", n)
	}
	return Figure{Name: title, What: fmt.Sprintf("%d tasks submitted by one workflow and gathered", n), Unit: "tasks/s",
		Count: n, Value: round(float64(n) / d.Seconds()), Higher: true}, nil
}

// burst is W4: many runs at once, submitted through all nodes, until all are done.
func (b *Bench) burst(ctx context.Context) (Figure, error) {
	b.say("W4: %d runs at once", burstRuns)
	runs := make([]string, burstRuns)
	start := time.Now()
	err := each(ctx, burstRuns, func(ctx context.Context, i int) (err error) {
		runs[i], err = b.submit(ctx, b.client(i), "hello", "Joe")
		return err
	})
	submitted := time.Since(start)
	if err == nil {
		err = each(ctx, burstRuns, func(ctx context.Context, i int) error { return b.await(ctx, b.client(i), runs[i]) })
	}
	if err != nil {
		return Figure{}, err
	}
	d := time.Since(start)
	b.say("W4: submitted after %s, done after %s", submitted.Round(time.Millisecond), d.Round(time.Millisecond))
	return Figure{Name: "W4 burst", What: fmt.Sprintf("%d runs of two executions at once, until all are done", burstRuns), Unit: "runs/s",
		Count: burstRuns, Value: round(burstRuns / d.Seconds()), Higher: true}, nil
}

// each calls f for 0 to n-1, several at once, and gives the first error.
func each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	next := make(chan int)
	for range submitters {
		wg.Go(func() {
			for i := range next {
				if ctx.Err() != nil {
					continue
				}
				if err := f(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}
