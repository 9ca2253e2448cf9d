package node

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
	"github.com/coflux-mesh/coflux/node/journal"
	"github.com/coflux-mesh/coflux/pyexec"
)

const (
	// maxSeries bounds the metrics of one execution.
	maxSeries = 1000
	// bareThrottle is for a metric that was never defined, in points a second.
	bareThrottle = 10
)

// series are the metrics of one execution: what is kept of the points that it records (adapter-protocol 5.4).
type series struct {
	began time.Time
	keep  func(journal.Metric) // may block as back-pressure
	warn  func(text, key string)

	mu    sync.Mutex // guards the rest
	byKey map[string]*oneSeries
	full  bool // and it was told
	over  bool
}

// oneSeries is one metric.
type oneSeries struct {
	defined bool
	window  time.Duration // at least between two points; 0 = none
	open    time.Time     // when the next point may go out
	pending *journal.Metric
	timer   *time.Timer // runs while pending is set

	recorded  bool
	automatic bool    // x is the time since the start
	last      float64 // x that was given last
	warned    bool
}

func newSeries(keep func(journal.Metric), warn func(text, key string)) *series {
	return &series{began: time.Now(), keep: keep, warn: warn, byKey: map[string]*oneSeries{}}
}

// getLocked finds or makes a series; nil when there are too many.
func (s *series) getLocked(key string) *oneSeries {
	one := s.byKey[key]
	if one == nil && len(s.byKey) < maxSeries {
		one = &oneSeries{window: time.Second / bareThrottle}
		s.byKey[key] = one
	}
	if one == nil && !s.full {
		s.full = true
		s.warn(fmt.Sprintf("an execution records more than %d metrics: the others are dropped", maxSeries), key)
	}
	return one
}

// define says how a metric is drawn; the first definition wins.
func (s *series) define(key string, d pyexec.MetricDefinition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.getLocked(key)
	if one == nil || one.defined || s.over {
		return
	}
	one.defined, one.window = true, 0
	if d.Throttle != nil && *d.Throttle > 0 {
		one.window = time.Duration(float64(time.Second) / *d.Throttle)
	}
	text, err := json.Marshal(client.MetricDefinition{Group: d.Group, GroupUnits: d.GroupUnits, GroupLower: d.GroupLower, GroupUpper: d.GroupUpper,
		Scale: d.Scale, Units: d.Units, Progress: d.Progress, Lower: d.Lower, Upper: d.Upper}) // as the run document has it (cli.md 3.1)
	if err == nil { // always: strings and numbers
		s.keep(journal.Metric{Key: key, Definition: text})
	}
}

// record takes a point. Within a window only the latest is kept, and goes out when the window closes.
func (s *series) record(key string, value float64, at *float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.getLocked(key)
	if one == nil || s.over {
		return
	}
	now := time.Now()
	x, ok := one.place(now.Sub(s.began).Seconds(), at)
	if !ok && !one.warned || at != nil && one.automatic && !one.warned {
		one.warned = true
		s.warn("points of a metric do not go on where the ones before ended: what is not in order is dropped or placed by time", key)
	}
	if !ok {
		return
	}
	p := journal.Metric{Key: key, Value: value, At: x}
	switch {
	case one.pending != nil:
		*one.pending = p
	case now.Before(one.open):
		one.pending = &p
		one.timer = time.AfterFunc(one.open.Sub(now), func() { s.close(one) })
	default:
		one.open = now.Add(one.window)
		s.keep(p)
	}
}

// place gives the x of a point. The first point says how: by time or by its own numbers, which must rise; false for a point
// that does not.
func (o *oneSeries) place(elapsed float64, at *float64) (x float64, ok bool) {
	first := !o.recorded
	o.recorded = true
	if at == nil || o.automatic {
		o.automatic = true
		return elapsed, true
	}
	if !first && *at <= o.last {
		return 0, false
	}
	o.last = *at
	return *at, true
}

// close sends what has waited for the end of its window.
func (s *series) close(one *oneSeries) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLocked(one)
}

func (s *series) closeLocked(one *oneSeries) {
	if one.pending == nil {
		return
	}
	p := *one.pending
	one.pending = nil
	one.open = time.Now().Add(one.window)
	s.keep(p)
}

// end sends what waits; the execution is over.
func (s *series) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for _, one := range s.byKey {
		if one.timer != nil {
			one.timer.Stop()
		}
		s.closeLocked(one)
	}
}
