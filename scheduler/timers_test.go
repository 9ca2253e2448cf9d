package scheduler

import (
	"slices"
	"testing"
	"time"
)

func TestTimersFallDueInOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	var want []string
	for i, delay := range []int64{30, 10, 20} {
		c := call("S1", root, int64(i+1))
		c.Delay = delay
		want = append(want, "S1 "+r.ok(c).ExecutionID)
	}
	r.now += 30
	r.step()
	if got := r.assigned(); !slices.Equal(got, []string{want[1], want[2], want[0]}) {
		t.Errorf("placed %v", got)
	}
	if r.store.View().NextDue() != nil {
		t.Error("something is still waiting")
	}
}

func TestManyTimersAreSpreadOverBatches(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	r.soft = Soft{}
	for n := int64(1); n <= 1_200; n += 100 {
		var batch []Request
		for i := range int64(100) {
			c := call("S1", root, n+i)
			c.Delay = 10
			batch = append(batch, c)
		}
		r.step(batch...)
	}
	r.now += 10
	batches := 0
	for r.last.More = true; r.last.More; batches++ {
		r.step()
	}
	if batches != 3 || r.store.View().NextDue() != nil {
		t.Errorf("%d batches, next due %v", batches, r.store.View().NextDue())
	}
}

func TestACancelledTimerNeverFires(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	root := r.running()
	c := call("S1", root, 1)
	c.Delay = 10
	id := r.ok(c).ExecutionID
	r.ok(r.cancel(id))
	r.now += 10
	r.step()
	if e := r.execution(id); e.Due || e.Session != "" || r.store.View().NextDue() != nil {
		t.Errorf("execution is %+v", e)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	at := func(ms int64) time.Time { return time.UnixMilli(ms) }
	for name, c := range map[string]struct {
		last    int64
		elapsed time.Duration
		median  time.Time
		want    int64
	}{
		"median unknown: monotonic time":     {1_000, 50 * time.Millisecond, time.Time{}, 1_050},
		"with the median":                    {1_000, 50 * time.Millisecond, at(1_050), 1_050},
		"behind: jumps to the median":        {1_000, 50 * time.Millisecond, at(90_000), 90_000},
		"faster than the median: half speed": {1_000, 50 * time.Millisecond, at(1_010), 1_025},
		"ahead, met between two ticks":       {13_000, 10 * time.Second, at(20_000), 20_000},
		"ahead: half speed":                  {100_000, 50 * time.Millisecond, at(2_000), 100_025},
		"ahead by an hour: half speed":       {3_601_000, time.Second, at(1_000), 3_601_500},
		"a clock that says it is going back": {1_000, -time.Second, at(500), 1_000},
		"a day's jump back of the wall":      {86_400_000, time.Second, at(0), 86_400_500},
	} {
		if got := NewClock(c.last).Advance(c.elapsed, c.median); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// Rules A9: one hour ahead, it neither stands nor goes back, and is met by the median in two hours.
func TestClockAheadIsMetAtHalfSpeed(t *testing.T) {
	t.Parallel()
	for _, tick := range []time.Duration{time.Microsecond * 700, time.Millisecond, 7 * time.Millisecond, time.Second} {
		c := NewClock(10_000)
		wall := time.UnixMilli(0)
		last, elapsed := int64(10_000), time.Duration(0)
		for last > wall.UnixMilli() {
			if elapsed > time.Minute {
				t.Fatalf("ticks of %v: never met, at %d", tick, last)
			}
			wall, elapsed = wall.Add(tick), elapsed+tick
			now := c.Advance(tick, wall)
			if now < last {
				t.Fatalf("ticks of %v: went back from %d to %d", tick, last, now)
			}
			last = now
			if passed := elapsed.Milliseconds(); now < 10_000+passed/2-1 {
				t.Fatalf("ticks of %v: after %d ms at %d, slower than half", tick, passed, now)
			}
		}
		if elapsed < 19*time.Second || elapsed > 22*time.Second {
			t.Errorf("ticks of %v: met after %v, want 20s", tick, elapsed)
		}
	}
}
