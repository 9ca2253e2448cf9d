package bench

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coflux-mesh/coflux/node/api/client"
)

func TestWorkloads(t *testing.T) {
	t.Parallel()
	got, err := Workloads([]string{"w5", "w6", "w3-5000", "w1"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"w1", "w3-5000", "w6", "w5"}, got); diff != "" {
		t.Error(diff)
	}
	if got, err := Workloads(nil); err != nil || len(got) != 5 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Workloads([]string{"w9"}); err == nil {
		t.Error("an unknown workload was taken")
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	var d []time.Duration
	for i := range 100 {
		d = append(d, time.Duration(i+1))
	}
	for p, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.9: 90, 0.99: 99, 1: 100} {
		if got := percentile(d, p); got != want {
			t.Errorf("p%v is %d, want %d", p, got, want)
		}
	}
	if got := percentile(nil, 0.5); got != 0 {
		t.Errorf("of nothing: %d", got)
	}
}

func TestRound(t *testing.T) {
	t.Parallel()
	for in, want := range map[float64]float64{0: 0, 1.23456: 1.23, 0.0123456: 0.0123, 123456: 123000, 999.9: 1000} {
		if got := round(in); got != want {
			t.Errorf("%v: %v, want %v", in, got, want)
		}
	}
}

// TestBudget merges the stages of two nodes: the first time of each counts, missing ones are stepped over.
func TestBudget(t *testing.T) {
	t.Parallel()
	since, at := map[string][]time.Duration{}, map[string][]time.Duration{}
	begin, end := budget([]client.TraceEvent{
		{Stage: "committed", Node: "n2", At: 130}, {Stage: "submit_received", Node: "n1", At: 100},
		{Stage: "committed", Node: "n1", At: 150}, {Stage: "assign_received", Node: "n3", At: 190}, {Stage: "unknown", At: 1},
	}, since, at)
	if begin != 100 || end != 190 {
		t.Errorf("from %d to %d", begin, end)
	}
	type times = map[string][]time.Duration
	if diff := cmp.Diff(times{"submit_received": {0}, "committed": {30}, "assign_received": {60}}, since); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(times{"submit_received": {0}, "committed": {30}, "assign_received": {90}}, at); diff != "" {
		t.Error(diff)
	}
}

func TestBaselineAndMemory(t *testing.T) {
	t.Parallel()
	base, err := MeasureBaseline(t.Context(), "", t.TempDir(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if base.ForkMS <= 0 || base.ForkRate <= 0 || base.StartMS <= base.ForkMS || base.FdatasyncMS <= 0 || base.Python == "" {
		t.Errorf("%+v", base)
	}
	if _, err := MeasureBaseline(t.Context(), "no-such-python", t.TempDir(), 2); err == nil {
		t.Error("a missing interpreter is no error")
	}
}
