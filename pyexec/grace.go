package pyexec

import (
	"time"

	"golang.org/x/sys/unix"
)

// graces are the executors that were asked to end and may still do it by themselves. The guard's mu guards it.
//
// Only the node's kill of one body is so gentle. Everything that the lease rests on (the deadline, the end of the node,
// killall, quit) kills at once and ends all graces (rules A5, A6).
type graces struct{ timers map[uint64]*time.Timer }

func newGraces() graces { return graces{timers: map[uint64]*time.Timer{}} }

func (s graces) lasts(id uint64) bool { return s.timers[id] != nil }

func (s graces) over(id uint64) {
	if t := s.timers[id]; t != nil {
		t.Stop()
		delete(s.timers, id)
	}
}

func (s graces) allOver() {
	for id := range s.timers {
		s.over(id)
	}
}

// end asks an executor's group to end and kills it after the grace. A second call does not prolong it.
func (g *guardServer) end(id uint64, grace time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.grace.lasts(id) || g.fencing.Load() {
		return
	}
	for pid, owner := range g.procs {
		if owner == id {
			g.grace.timers[id] = time.AfterFunc(grace, func() { g.kill(id) })
			unix.Kill(-pid, unix.SIGTERM)
		}
	}
}

// rests tells whether members of a group whose leader has ended may go on for a while. The number of the group cannot be
// used again as long as it has members.
func (g *guardServer) rests(id uint64, pgid int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.grace.lasts(id) {
		return false
	}
	if unix.Kill(-pgid, 0) != unix.ESRCH {
		return true
	}
	g.grace.over(id)
	return false
}
