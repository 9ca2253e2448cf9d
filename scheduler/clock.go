package scheduler

import "time"

// Clock is log time on the leader (rules A9). It never goes back and never stands: it follows the monotonic clock, jumps
// forward to the median wall clock of the voters, and runs at half speed while it is ahead of that.
type Clock struct{ nanos int64 }

// NewClock goes on from the log time, milliseconds, of the latest entry.
func NewClock(last int64) *Clock { return &Clock{nanos: last * int64(time.Millisecond)} }

// Advance moves the clock by the monotonic time since the last call and pulls it towards median, the median of the
// voters' wall clocks (zero when unknown). It gives log time in milliseconds.
func (c *Clock) Advance(elapsed time.Duration, median time.Time) int64 {
	step := max(int64(elapsed), 0)
	if median.IsZero() {
		c.nanos += step
	} else {
		c.nanos = max(c.nanos+step/2, median.UnixNano())
	}
	return c.nanos / int64(time.Millisecond)
}
