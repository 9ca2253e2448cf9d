package scheduler

import (
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// BenchmarkCall measures a child call and its result, decided and applied on one replica, in batches of 20.
func BenchmarkCall(b *testing.B) {
	r := newRig(&testing.T{})
	root := r.running()
	r.occupy("S1", -1_000_000, 1)
	const batch = 20
	b.ReportAllocs()
	b.ResetTimer()
	bytes := 0
	for n := int64(1); n <= int64(b.N); n += batch {
		var calls, results []Request
		for i := range int64(batch) {
			c := call("S1", root, n+i)
			c.Arguments = []state.Value{{Data: []byte(`"Joe"`)}}
			calls = append(calls, c)
		}
		for _, reply := range r.step(calls...) {
			results = append(results, valueOf("S1", reply.Answer.ExecutionID, `"Hello, Joe!"`))
		}
		bytes += r.entry
		r.step(results...)
		bytes += r.entry
	}
	b.ReportMetric(float64(bytes)/float64(b.N), "entry-B/op")
}

// BenchmarkPlaceBehindBacklog measures a batch that places one of 10,000.
func BenchmarkPlaceBehindBacklog(b *testing.B) {
	r := newRig(&testing.T{})
	root := r.running()
	ready := r.soft
	r.soft = Soft{}
	r.tree(root, 10_000, false)
	r.soft = ready
	r.occupy("S1", 7, 1)
	b.ResetTimer()
	for range b.N {
		Step(r.store.Scratch(), Input{Now: r.now, Random: r.ids, Soft: r.soft})
	}
}
