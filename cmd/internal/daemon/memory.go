package daemon

import (
	"runtime/debug"

	"golang.org/x/sys/unix"
)

const (
	// garbage is how much may be allocated until it is collected, in percent of what is in use. With many runs waiting each collection
	// has much to look at; with Go's own 100 it takes twice as much of the time in which others are served.
	garbage = 200
	// most is the percentage of the machine's memory beyond which garbage is collected sooner.
	most = 70
)

// tuneGC sets how garbage is collected, unless Go's own variables do.
func tuneGC(env func(string) (string, bool)) {
	if _, set := env("GOGC"); !set {
		debug.SetGCPercent(garbage)
	}
	var machine unix.Sysinfo_t
	if _, set := env("GOMEMLIMIT"); !set && unix.Sysinfo(&machine) == nil {
		debug.SetMemoryLimit(int64(machine.Totalram) / 100 * most * int64(machine.Unit))
	}
}
