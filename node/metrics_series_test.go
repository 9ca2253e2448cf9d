package node

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coflux-mesh/coflux/node/journal"
	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/google/go-cmp/cmp"
)

// kept writes down what series keep and warn of.
type kept struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (k *kept) add(format string, args ...any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lines = append(k.lines, fmt.Sprintf(format, args...))
}

func (k *kept) series() *series {
	return newSeries(func(m journal.Metric) {
		if m.Definition != nil {
			k.add("%s is %s", m.Key, m.Definition)
			return
		}
		k.add("%s %v at %v", m.Key, m.Value, m.At)
	}, func(_, key string) { k.add("warning %s", key) })
}

func (k *kept) check(t *testing.T, want ...string) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if diff := cmp.Diff(want, k.lines); diff != "" {
		t.Error(diff)
	}
	k.lines = nil
}

func number(x float64) *float64 { return &x }

// TestPointsAreThrottled: the first point goes out at once, within a window only the latest is kept and goes out at its end;
// what waits goes out when the execution ends.
func TestPointsAreThrottled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &kept{}
		s := k.series()
		s.define("slow", pyexec.MetricDefinition{Throttle: number(2)})
		s.define("slow", pyexec.MetricDefinition{Progress: true}) // the first one wins
		s.define("free", pyexec.MetricDefinition{Progress: true, Upper: number(3)})
		k.check(t, `slow is {"group":null,"groupUnits":null,"groupLower":null,"groupUpper":null,"scale":null,"units":null,"progress":false,"lower":null,"upper":null}`,
			`free is {"group":null,"groupUnits":null,"groupLower":null,"groupUpper":null,"scale":null,"units":null,"progress":true,"lower":null,"upper":3}`)
		for i := range 3 {
			s.record("slow", float64(i), nil)
			s.record("free", float64(i), nil)
			s.record("bare", float64(i), nil)
		}
		k.check(t, "slow 0 at 0", "free 0 at 0", "bare 0 at 0", "free 1 at 0", "free 2 at 0")
		time.Sleep(101 * time.Millisecond)
		k.check(t, "bare 2 at 0")
		time.Sleep(400 * time.Millisecond)
		k.check(t, "slow 2 at 0")
		s.record("slow", 7, nil)
		s.end()
		s.record("slow", 8, nil)
		k.check(t, "slow 7 at 0.501")
		time.Sleep(time.Second)
		k.check(t)
	})
}

// TestPlacesOfPoints: the first point says whether x is the time or given; what was given must rise.
func TestPlacesOfPoints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &kept{}
		s := k.series()
		for _, key := range []string{"given", "timed"} {
			s.define(key, pyexec.MetricDefinition{})
		}
		k.lines = nil
		for _, at := range []float64{5, 5, 4, 6} {
			s.record("given", 1, number(at))
		}
		time.Sleep(2 * time.Second)
		s.record("given", 2, nil)
		s.record("given", 3, number(99))
		k.check(t, "given 1 at 5", "warning given", "given 1 at 6", "given 2 at 2", "given 3 at 2")
		s.record("timed", 1, nil)
		s.record("timed", 2, number(50))
		s.record("timed", 3, number(60))
		k.check(t, "timed 1 at 2", "warning timed", "timed 2 at 2", "timed 3 at 2")
		s.end()
	})
}

func TestTooManyMetricsAreDropped(t *testing.T) {
	t.Parallel()
	k := &kept{}
	s := k.series()
	for i := range maxSeries + 3 {
		s.record(fmt.Sprint(i), 1, nil)
	}
	if len(k.lines) != maxSeries+1 || k.lines[maxSeries] != fmt.Sprint("warning ", maxSeries) {
		t.Errorf("%d lines, the last %q", len(k.lines), k.lines[len(k.lines)-1])
	}
	s.end()
}
