package daemon

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestGarbageIsCollectedAsSet(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(math.MaxInt64)
	defer func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}()
	tuneGC(func(string) (string, bool) { return "100", true })
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("the limit became %d though a variable sets it", got)
	}
	if got := debug.SetGCPercent(100); got != 100 {
		t.Errorf("the percentage became %d though a variable sets it", got)
	}
	tuneGC(func(string) (string, bool) { return "", false })
	if got := debug.SetMemoryLimit(-1); got < 1<<28 || got > 1<<50 {
		t.Errorf("the limit is %d bytes", got)
	}
	if got := debug.SetGCPercent(100); got != garbage {
		t.Errorf("the percentage is %d", got)
	}
}
