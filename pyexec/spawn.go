package pyexec

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// spawner starts processes, as the guard's client does.
type spawner interface {
	// spawn starts a process in its own group with files as its descriptors 0, 1, 2, ...; the caller keeps and closes
	// its own copies. ended is called once, from another goroutine, when the group is gone and reaped.
	spawn(spec spawnSpec, ended func(exitStatus)) (process, error)
}

// process is a started process; kill is SIGKILL to its whole group, end is SIGTERM to it and SIGKILL when the grace is over.
type process interface {
	pid() int
	kill()
	end(grace time.Duration)

	// bound bounds the memory of the process and all that it starts, together, in bytes. It returns when that is so.
	bound(memory int64) error
}

type spawnSpec struct {
	Argv  []string // Argv[0] is an absolute path
	Env   []string // put over the guard's own environment, which is the node's
	Dir   string
	Files []*os.File

	// From is the template that forks it; the others say how it is started where there is none, or are empty. 0 = started.
	From uint64
}

// exitStatus says how a process ended; gone means that the guard died and took everything with it.
type exitStatus struct {
	Code   int  `json:"code"`
	Signal int  `json:"signal,omitempty"`
	Gone   bool `json:"gone,omitempty"`

	CPU int64 `json:"cpu,omitempty"` // seconds of processor time that it and the children it waited for have used
	OOM bool  `json:"oom,omitempty"` // the kernel ended some process for want of memory at about that time

	Over bool `json:"over,omitempty"` // the kernel ended it because it was, with all that it had started, over its limit of memory
}

func (s exitStatus) String() string {
	if s.Signal != 0 {
		return fmt.Sprintf("killed by signal %d, %s", s.Signal, syscall.Signal(s.Signal))
	}
	return fmt.Sprintf("exit status %d", s.Code)
}
