package pyexec

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// graceful starts a body that notes when it is asked to end, with the grace given, and returns it with its processes.
func graceful(t *testing.T, way func(*Config), grace time.Duration, how string, timeout time.Duration) (*engine, *testHost, string, []int) {
	t.Helper()
	e := newEngine(t, func(c *Config) { way(c); c.Modules, c.KillGrace = []string{"flood"}, grace })
	dir := t.TempDir()
	h := e.start(Job{Module: "flood", Target: "asked_to_end", Arguments: values(t, dir, how), Timeout: timeout})
	return e, h, dir, waitPids(t, filepath.Join(dir, "pids"))
}

func noted(dir string) (body, child bool) {
	_, b := os.Stat(filepath.Join(dir, "body"))
	_, c := os.Stat(filepath.Join(dir, "child"))
	return b == nil, c == nil
}

// Without a grace a body is not asked.
func TestNoGrace(t *testing.T) { bothWays(t, noGrace) }

func noGrace(t *testing.T, way func(*Config)) {
	e, h, dir, pids := graceful(t, way, 0, "polite", 0)
	e.pool.Kill(h.id)
	if h.wait(t).ends() != "terminated" {
		t.Error(h.ends())
	}
	if body, child := noted(dir); body || child {
		t.Errorf("asked: body %t, child %t", body, child)
	}
	for _, pid := range pids {
		if running(pid) {
			t.Errorf("process %d is alive after Terminated", pid)
		}
	}
}

// With one the body and what is in its group are asked, by a cancellation and by a timeout, and may take their time.
func TestGraceIsGiven(t *testing.T) { bothWays(t, graceIsGiven) }

func graceIsGiven(t *testing.T, way func(*Config)) {
	for name, timeout := range map[string]time.Duration{"kill": 0, "timeout": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, h, dir, pids := graceful(t, way, time.Hour, "polite", timeout)
			want := "terminated"
			if timeout == 0 {
				e.pool.Kill(h.id)
				e.pool.Kill(h.id) // asked again, it has no more time and no less
			} else {
				want = "terminated timeout"
			}
			if h.wait(t).ends() != want {
				t.Error(h.ends())
			}
			if body, child := noted(dir); !body || !child {
				t.Errorf("asked: body %t, child %t", body, child)
			}
			for _, pid := range pids {
				if running(pid) {
					t.Errorf("process %d is alive after Terminated", pid)
				}
			}
		})
	}
}

// Who does not end when asked is killed when the grace is over, with everything of his.
func TestGraceEnds(t *testing.T) { bothWays(t, graceEnds) }

func graceEnds(t *testing.T, way func(*Config)) {
	const grace = 2 * time.Second // enough for the child to be heard on a busy machine
	e, h, dir, pids := graceful(t, way, grace, "stubborn", 0)
	began := time.Now()
	e.pool.Kill(h.id)
	if h.wait(t).ends() != "terminated" {
		t.Error(h.ends())
	}
	if took := time.Since(began); took < grace {
		t.Errorf("ended after %s, the grace is %s", took, grace)
	}
	if body, child := noted(dir); !body || !child {
		t.Errorf("asked: body %t, child %t", body, child)
	}
	for _, pid := range pids {
		if running(pid) {
			t.Errorf("process %d is alive after Terminated", pid)
		}
	}
}

// The fence kills at once, also those that were promised time (rules A5, A6).
func TestFenceWaitsForNoGrace(t *testing.T) { bothWays(t, fenceWaitsForNoGrace) }

func fenceWaitsForNoGrace(t *testing.T, way func(*Config)) {
	for name, fence := range map[string]func(*Pool){
		"KillAll":      func(p *Pool) { p.KillAll() },
		"deadline":     func(p *Pool) { p.AliveUntil(boottime() + int64(50*time.Millisecond)) },
		"guard killed": func(p *Pool) { p.guard.cmd.Process.Kill() },
		"Stop":         func(p *Pool) { p.Stop(t.Context()) },
	} {
		for _, asked := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				e, h, dir, pids := graceful(t, way, time.Hour, "stubborn", 0)
				if asked {
					e.pool.Kill(h.id)
					for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
						if body, child := noted(dir); body && child {
							break
						}
						if time.Now().After(end) {
							t.Fatal("they were not asked")
						}
					}
				}
				fence(e.pool)
				if h.wait(t); h.over != "lost" {
					t.Errorf("ended as %q", h.ends())
				}
				if _, ok := allGone(pids, 5*time.Second); !ok {
					t.Error("somebody outlives the fence")
				}
				if body, _ := noted(dir); body != asked {
					t.Errorf("asked: %t", body)
				}
			})
		}
	}
}

// Bodies do not inherit that the guard minds no signals: what they start ends when they ask for it.
func TestSubProcessesCanBeTerminated(t *testing.T) { bothWays(t, subProcessesCanBeTerminated) }

func subProcessesCanBeTerminated(t *testing.T, way func(*Config)) {
	e := newEngine(t, func(c *Config) { way(c); c.Modules = []string{"flood"} })
	if h := e.start(Job{Module: "flood", Target: "terminate"}).wait(t); h.ends() != "terminated -15" {
		t.Error(h.ends())
	}
}

// KillAll would be carried out in any case, by the end of a guard that is slow with it.
func TestFenceEndsGraces(t *testing.T) {
	t.Parallel()
	g := &guardServer{procs: map[int]uint64{}, grace: newGraces()}
	g.grace.timers[7] = time.AfterFunc(time.Hour, func() {})
	g.killGroups()
	if g.grace.lasts(7) {
		t.Error("somebody has time left after killall")
	}
}
