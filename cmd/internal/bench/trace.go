package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// stages of a child call, in their order.
var stages = []string{"submit_received", "request_queued", "batch_started", "proposed", "committed", "assign_sent",
	"assign_received", "execute_written", "body_result", "result_queued", "result_proposed", "result_committed",
	"outcome_sent", "outcome_delivered"}

// Stage is one row of the budget of a child call: the median time from the stage before it, and from the
// beginning.
type Stage struct {
	Name     string  `json:"stage"`
	SinceMS  float64 `json:"sinceMs"`
	AtMS     float64 `json:"atMs"`
	Measured int     `json:"measured"`
}

// Trace runs a chain and returns where the time of its calls went, by what the nodes remember.
func (b *Bench) Trace(ctx context.Context) ([]Stage, error) {
	b.say("trace: %d calls in a row", chainLength)
	run, _, err := b.time(ctx, b.Clients[0], "chain", chainLength)
	if err != nil {
		return nil, err
	}
	since, at := map[string][]time.Duration{}, map[string][]time.Duration{}
	var turns []time.Duration
	var ended int64
	for step := 2; step <= chainLength+1; step++ {
		events, err := b.events(ctx, fmt.Sprintf("%s:%d:1", run, step))
		if err != nil {
			return nil, err
		}
		begin, end := budget(events, since, at)
		if ended != 0 && begin != 0 {
			turns = append(turns, time.Duration(begin-ended))
		}
		ended = end
	}
	var out []Stage
	for _, name := range stages {
		if n := len(at[name]); n > 0 {
			slices.Sort(since[name])
			slices.Sort(at[name])
			out = append(out, Stage{name, ms(percentile(since[name], 0.5)), ms(percentile(at[name], 0.5)), n})
		}
	}
	if len(turns) > 0 && len(out) > 0 {
		slices.Sort(turns)
		turn := ms(percentile(turns, 0.5))
		out = append(out, Stage{nextCall, turn, round(out[len(out)-1].AtMS + turn), len(turns)})
	}
	return out, nil
}

// nextCall is the time that the calling body takes from a result to its next call.
const nextCall = "next_call"

// events gathers what all nodes know of an execution.
func (b *Bench) events(ctx context.Context, execution string) ([]client.TraceEvent, error) {
	var events []client.TraceEvent
	for _, c := range b.Clients {
		doc, err := c.Trace(ctx, execution)
		if err != nil {
			return nil, fmt.Errorf("read the trace of %s: %w", execution, err)
		}
		events = append(events, doc.Value.Events...)
	}
	return events, nil
}

// budget adds one execution's times and returns its first and last. A stage that several nodes noted counts
// once, at its first time.
func budget(events []client.TraceEvent, since, at map[string][]time.Duration) (begin, last int64) {
	first := map[string]int64{}
	for _, e := range events {
		if t, ok := first[e.Stage]; !ok || e.At < t {
			first[e.Stage] = e.At
		}
	}
	for _, name := range stages {
		t, ok := first[name]
		if !ok {
			continue
		}
		if begin == 0 {
			begin, last = t, t
		}
		since[name] = append(since[name], time.Duration(t-last))
		at[name] = append(at[name], time.Duration(t-begin))
		last = t
	}
	return begin, last
}
