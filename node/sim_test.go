package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/pyexec"
)

// inCluster runs a test in a mesh of n nodes in virtual time, once with frames as they are and once in their encoding.
func inCluster(t *testing.T, n, slots int, programs map[string]program, test func(t *testing.T, c *simCluster)) {
	t.Helper()
	t.Parallel()
	for _, encoded := range []bool{false, true} {
		t.Run(fmt.Sprintf("encoded=%v", encoded), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newSimCluster(t, slots)
				c.encoded, c.programs = encoded, pinned(programs, n)
				defer c.stop()
				c.grow(n)
				test(t, c)
				c.onceEach()
			})
		})
	}
}

// pinned adds, for each node, programs that it alone offers.
func pinned(programs map[string]program, n int) map[string]program {
	out := maps.Clone(programs)
	for i := range n {
		out[fmt.Sprint("work@n", i)] = work
		out[fmt.Sprint("sturdy@n", i)] = func(b *simBody, arg string) (string, error) {
			h, err := b.submitRetried(2, "work", arg)
			if err != nil {
				return "", err
			}
			return b.result(h)
		}
		out[fmt.Sprint("flow@n", i)] = func(b *simBody, arg string) (string, error) {
			node, each, _ := strings.Cut(arg, " ")
			return b.call("work@"+node, each)
		}
	}
	return out
}

// onceEach checks that no execution had more than one body (A4, I5).
func (c *simCluster) onceEach() {
	c.t.Helper()
	seen := map[string]int{}
	for _, e := range c.effects.list() {
		if seen[e.execution]++; seen[e.execution] > 1 {
			c.t.Errorf("execution %s had body %d on %s", e.execution, seen[e.execution], e.node)
		}
	}
}

// work takes as long as its argument says.
func work(b *simBody, arg string) (string, error) {
	d, err := time.ParseDuration(arg)
	b.sleep(d)
	return arg, err
}

// simPrograms are the targets of the tests by name.
var simPrograms = map[string]program{
	"work": work,
	// flow waits for one child that works.
	"flow": func(b *simBody, arg string) (string, error) { return b.call("work", arg) },
	// down calls itself.
	"down": func(b *simBody, arg string) (string, error) {
		n, _ := strconv.Atoi(arg)
		if n == 0 {
			return "0", nil
		}
		below, err := b.call("down", strconv.Itoa(n-1))
		k, _ := strconv.Atoi(below)
		return strconv.Itoa(k + 1), err
	},
	// wide starts many children and waits for all.
	"wide": func(b *simBody, arg string) (string, error) {
		count, each, _ := strings.Cut(arg, " ")
		n, _ := strconv.Atoi(count)
		var handles []string
		for range n {
			h, err := b.submit("work", each)
			if err != nil {
				return "", err
			}
			handles = append(handles, h)
		}
		for _, h := range handles {
			if _, err := b.result(h); err != nil {
				return "", err
			}
		}
		return count, nil
	},
	// fickle works and fails the first time.
	"fickle": func(b *simBody, arg string) (string, error) {
		if _, err := work(b, arg); err != nil || strings.HasSuffix(b.job.ExecutionID, ":1") {
			return "", cmp.Or(err, errors.New("not yet"))
		}
		return arg, nil
	},
	// reader waits for an execution that somebody else called.
	"reader": func(b *simBody, arg string) (string, error) { return b.result(arg) },
	// nest calls a workflow that calls a task.
	"nest": func(b *simBody, arg string) (string, error) {
		h, err := b.submitWith(pyexec.SubmitRequest{Type: "workflow"}, "flow", arg)
		if err != nil {
			return "", err
		}
		return b.result(h)
	},
	// late calls work in a while, unless others do so too.
	"late": func(b *simBody, arg string) (string, error) {
		h, err := b.submitWith(pyexec.SubmitRequest{Delay: 300, Defer: &pyexec.Defer{Params: json.RawMessage("true")}}, "work", arg)
		if err != nil {
			return "", err
		}
		return b.result(h)
	},
	// pair has what fickle gives read by another.
	"pair": func(b *simBody, arg string) (string, error) {
		h, err := b.submitRetried(1, "fickle", arg)
		if err != nil {
			return "", err
		}
		return b.call("reader", h)
	},
	// patient waits for a child that starts late.
	"patient": func(b *simBody, _ string) (string, error) {
		h, err := b.submitLater(5*time.Second, "work", "0s")
		if err != nil {
			return "", err
		}
		_, err = b.result(h)
		return "", err
	},
	// chatty submits and waits again and again until its time is over.
	"chatty": func(b *simBody, arg string) (string, error) {
		d, _ := time.ParseDuration(arg)
		n := 0
		for end := time.Now().Add(d); time.Now().Before(end); n++ {
			if _, err := b.call("work", "40ms"); err != nil {
				return strconv.Itoa(n), err
			}
		}
		return "done", nil
	},
}

// A workflow calls a workflow, which is a run of its own, in a mesh whose slots are all taken by callers.
func TestSimWorkflowsCallWorkflows(t *testing.T) {
	inCluster(t, 3, 1, simPrograms, func(t *testing.T, c *simCluster) {
		var roots []state.ExecutionID
		for range 10 {
			roots = append(roots, c.trigger("nest", "10ms"))
		}
		for _, root := range roots {
			c.value(root, 30*time.Second, `"10ms"`)
		}
	})
}

// The main job: a workflow that calls a task, on three nodes, without a fault.
func TestSimMainJob(t *testing.T) {
	inCluster(t, 3, 4, simPrograms, func(t *testing.T, c *simCluster) {
		c.value(c.trigger("flow", "10ms"), time.Second, `"10ms"`)
	})
}

// One slot runs any depth of nested calls: a blocked caller gives its slot back (A1).
func TestSimFiftyDeepOnOneSlot(t *testing.T) {
	inCluster(t, 1, 1, simPrograms, func(t *testing.T, c *simCluster) {
		c.value(c.trigger("down", "50"), 10*time.Second, `"50"`)
	})
}

// Children may not starve behind roots: 500 runs on eight slots come to their end (A1).
func TestSimFiveHundredRootsOnEightSlots(t *testing.T) {
	inCluster(t, 1, 8, simPrograms, func(t *testing.T, c *simCluster) {
		var ids []state.ExecutionID
		var mu sync.Mutex
		var clients sync.WaitGroup
		for range 50 {
			clients.Go(func() {
				for range 10 {
					id := c.trigger("flow", "10ms")
					mu.Lock()
					ids = append(ids, id)
					mu.Unlock()
				}
			})
		}
		clients.Wait()
		for _, id := range ids {
			c.value(id, time.Minute, `"10ms"`)
		}
	})
}

// Blocked roots use no slots, but they are processes: at most 16 for each slot live at once (A1).
func TestSimBlockedRootsAreCapped(t *testing.T) {
	inCluster(t, 1, 2, simPrograms, func(t *testing.T, c *simCluster) {
		var ids []state.ExecutionID
		for range 50 {
			ids = append(ids, c.trigger("patient", ""))
		}
		for _, id := range ids {
			c.value(id, time.Minute, `""`)
		}
		roots := 0
		c.sweepEffects(func(open map[string]effect) {
			n := 0
			for id := range open {
				if strings.HasSuffix(id, ":1:1") {
					n++
				}
			}
			roots = max(roots, n)
		})
		if roots != 16*2 {
			t.Errorf("%d roots were alive at once, not 32", roots)
		}
	})
}

// The lead ends while a child runs on another node: the run completes, no body runs twice and none is killed (A3, A4).
func TestSimLeaderDiesWhileAChildRuns(t *testing.T) {
	inCluster(t, 3, 1, simPrograms, func(t *testing.T, c *simCluster) {
		var ids []state.ExecutionID
		for range 3 {
			ids = append(ids, c.trigger("flow", "2s"))
		}
		time.Sleep(500 * time.Millisecond)
		l := c.led()
		l.kill()
		survived := 0
		for _, id := range ids {
			if r := c.await(id, 20*time.Second); r.Type == state.ResultValue {
				survived++
				continue
			}
			if !c.touched(id.Run, l.name) {
				c.dump()
				t.Errorf("run %s had nothing on the dead node and failed", id.Run)
			}
		}
		for _, e := range c.effects.list() {
			if e.killed && e.node != l.name {
				t.Errorf("a change of the leader killed %s on %s", e.execution, e.node)
			}
		}
	})
}

// touched tells whether a body of the run was on the node.
func (c *simCluster) touched(run, node string) bool {
	for _, e := range c.effects.list() {
		if e.node == node && strings.HasPrefix(e.execution, run+":") {
			return true
		}
	}
	return false
}

// Results that come while nobody leads are kept, submits of that time wait and no body hears of it (A4, A13).
func TestSimNothingIsLostWithoutALeader(t *testing.T) {
	inCluster(t, 3, 4, simPrograms, func(t *testing.T, c *simCluster) {
		var ids []state.ExecutionID
		for range 4 {
			ids = append(ids, c.trigger("chatty", "4s"))
		}
		for range 3 {
			time.Sleep(700 * time.Millisecond)
			l := c.led()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_ = l.host.TransferLeadership(ctx)
			cancel()
		}
		for _, id := range ids {
			c.value(id, 30*time.Second, `"done"`)
		}
	})
}

// sweepEffects calls f at each start with the bodies alive then.
func (c *simCluster) sweepEffects(f func(open map[string]effect)) {
	all := c.effects.list()
	for _, at := range all {
		open := map[string]effect{}
		for _, e := range all {
			if e.start <= at.start && (e.end == 0 || e.end > at.start) {
				open[e.execution] = e
			}
		}
		f(open)
	}
}
