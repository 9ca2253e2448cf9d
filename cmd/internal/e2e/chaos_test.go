package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/cmd/internal/checker"
	"github.com/coflux-mesh/coflux/node/api/client"
)

// chaosTime is how long faults are made, if COFLUX_CHAOS_TIME (a duration) does not say otherwise; chaosCalm is in how much time after them everything has to come to rest.
const (
	chaosTime = 3 * time.Minute
	chaosCalm = 30 * time.Second
)

// chaos is a random load and random faults on one mesh.
type chaos struct {
	m    *mesh
	ctx  context.Context
	seed uint64
	runs struct {
		sync.Mutex
		ids []string
	}
	ops, faults atomic.Int64
}

// TestChaos submits, reads and cancels through all nodes while nodes are killed, stopped and restarted at random. The
// seed decides who does what; COFLUX_SEED repeats one.
func TestChaos(t *testing.T) {
	slow(t)
	t.Parallel()
	c := &chaos{m: startMesh(t, 3, "--pack-after", "1s"), seed: rand.Uint64()}
	if text := os.Getenv("COFLUX_SEED"); text != "" {
		var err error
		if c.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("COFLUX_SEED=%d", c.seed)
	var stop context.CancelFunc
	long := chaosTime
	if text := os.Getenv("COFLUX_CHAOS_TIME"); text != "" {
		var err error
		if long, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	c.ctx, stop = context.WithTimeout(t.Context(), long)
	defer stop()
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() { c.client(i, rand.New(rand.NewPCG(c.seed, uint64(i)))) })
	}
	c.nemesis(rand.New(rand.NewPCG(c.seed, 1000)))
	wg.Wait()
	c.rest()
	t.Logf("%d operations of clients, %d faults", c.ops.Load(), c.faults.Load())
}

// rest heals everything and waits for it to come to rest.
func (c *chaos) rest() {
	m, t := c.m, c.m.t
	for _, n := range m.nodes {
		if n.running() {
			n.signal(t, syscall.SIGCONT)
		} else {
			n.start()
		}
	}
	m.ready()
	healed := time.Now()
	m.settle(chaosCalm + patience)
	if took := time.Since(healed); took > chaosCalm {
		t.Errorf("everything came to rest only %s after the last fault (I7)", took)
	}
	for _, e := range m.unended() {
		if slices.Contains(bodiesOf(e.Boot), e.PID) {
			t.Errorf("the body of %s is alive, though its execution has a result", e.Execution)
		}
	}
	m.verify(false)
}

// unended are the bodies that began and did not come to their end.
func (m *mesh) unended() (left []effect) {
	_, ended := m.counts()
	for _, e := range m.effects() {
		if e.Event == "start" && ended[e.Token] == 0 {
			left = append(left, e)
		}
	}
	return left
}

// wait lets time pass; false when the chaos is over.
func (c *chaos) wait(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-c.ctx.Done():
		return false
	}
}

// upTo is a random time.
func upTo(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}

// nemesis makes faults until the time is over.
func (c *chaos) nemesis(r *rand.Rand) {
	t := c.m.t
	for c.wait(upTo(r, 200*time.Millisecond, 2*time.Second)) {
		n := c.m.nodes[r.IntN(3)]
		c.faults.Add(1)
		switch kind := r.IntN(11); {
		case kind == 10:
			c.putBack(n, r)
		case kind < 4:
			c.m.hist.nemesis("kill", n)
			n.killed()
			if kind == 0 { // a second one, and with it the majority
				other := c.m.nodes[r.IntN(3)]
				c.m.hist.nemesis("kill", other)
				other.killed()
				c.wait(upTo(r, 0, 2*time.Second))
				if other != n {
					other.start()
				}
			}
			c.wait(upTo(r, 0, 4*time.Second))
			n.start()
		case kind < 8:
			c.m.hist.nemesis("stop", n)
			n.signal(t, syscall.SIGSTOP)
			c.wait(upTo(r, 100*time.Millisecond, []time.Duration{time.Second, 4 * time.Second, 12 * time.Second}[r.IntN(3)]))
			n.signal(t, syscall.SIGCONT)
			c.m.hist.nemesis("continue", n)
		default:
			c.m.hist.nemesis("terminate", n)
			n.stopped()
			c.wait(upTo(r, 0, time.Second))
			n.start()
		}
	}
}

// putBack starts a node with an older copy of its data directory, once the others have seen what it lacks.
func (c *chaos) putBack(n *node, r *rand.Rand) {
	t := c.m.t
	n.killed()
	back, life := n.copied(), n.life()
	n.start()
	for _, other := range c.m.others(n) {
		await(t, patience, func() string { return other.sawLife(n, life) })
	}
	c.wait(upTo(r, 0, 2*time.Second))
	n.killed()
	c.m.hist.nemesis("put back", n)
	back()
	said := func() int {
		log, _ := os.ReadFile(n.log)
		return strings.Count(string(log), "it is older than what the node")
	}
	before, old := said(), n.id
	n.id = ""
	n.start()
	c.m.ready()
	if said() == before {
		t.Errorf("%s takes part with an older copy of its data", n.name)
	}
	c.m.forgotten(old) // until it votes again the mesh survives no other fault
}

// client works through random nodes until the time is over.
func (c *chaos) client(i int, r *rand.Rand) {
	name := "c" + strconv.Itoa(i)
	for k := 0; c.wait(upTo(r, 10*time.Millisecond, 300*time.Millisecond)); k++ {
		c.ops.Add(1)
		n := c.m.nodes[r.IntN(3)]
		run := c.some(r)
		switch kind := r.IntN(10); {
		case kind < 4 || run == "":
			c.submit(name, fmt.Sprintf("%s.%d", name, k), r)
		case kind < 7:
			c.get(name, n, run, false)
		case kind < 8:
			c.get(fmt.Sprintf("%s-stale-%s.%d", name, n.name, n.starts.Load()), n, run, true)
		case kind < 9:
			end := c.m.hist.invoke(checker.Event{Op: "result", Client: name + "-waits", Node: n.name, Run: run})
			res, err := awaitResult(c.ctx, n, c.m.workspace, run, 5*time.Second)
			end(final(res), err)
		default:
			c.cancel(name, n, run)
		}
	}
}

// some is a run that was acknowledged, rather a late one, or "".
func (c *chaos) some(r *rand.Rand) string {
	c.runs.Lock()
	defer c.runs.Unlock()
	if len(c.runs.ids) == 0 {
		return ""
	}
	recent := min(len(c.runs.ids), 20)
	return c.runs.ids[len(c.runs.ids)-1-r.IntN(recent)]
}

func (c *chaos) submit(name, token string, r *rand.Rand) {
	ctx, cancel := context.WithTimeout(c.ctx, upTo(r, time.Second, 10*time.Second))
	defer cancel()
	first := r.IntN(3)
	nodes := append(append([]*node{}, c.m.nodes[first:]...), c.m.nodes[:first]...)
	var run string
	var err error
	key := "" // some keys are used by several clients
	if r.IntN(4) == 0 {
		key = "key" + strconv.Itoa(r.IntN(60))
	}
	switch r.IntN(10) {
	case 8:
		run, err = c.m.triggerWith(ctx, nodes, key, "trek", token+".t")
	case 9:
		run, err = c.m.triggerWith(ctx, nodes, key, "patient", token+".p", float64(r.IntN(1500))/1000)
	case 0:
		run, err = c.m.triggerWith(ctx, nodes, key, "web", token, strconv.Itoa(r.IntN(30)))
	case 1, 2:
		run, err = c.m.triggerWith(ctx, nodes, key, "nap", token, float64(r.IntN(4000))/1000)
	case 3, 4:
		run, err = c.m.triggerWith(ctx, nodes, key, "parent", token, "")
	default:
		run, err = c.m.triggerWith(ctx, nodes, key, "single", token, "")
	}
	if err == nil {
		c.runs.Lock()
		c.runs.ids = append(c.runs.ids, run)
		c.runs.Unlock()
	}
}

func (c *chaos) get(name string, n *node, run string, stale bool) {
	end := c.m.hist.invoke(checker.Event{Op: "get", Client: name, Node: n.name, Run: run, Stale: stale})
	ctx, cancel := context.WithTimeout(c.ctx, 6*time.Second)
	defer cancel()
	var seen checker.Event
	var doc client.Document[client.Run]
	var err error
	boot := n.starts.Load()
	if stale {
		doc, err = n.readStale(ctx, c.m.workspace, run)
	} else {
		doc, err = n.client.Run(ctx, c.m.workspace, run)
	}
	if err == nil {
		step := doc.Value.Steps[run+":1"]
		if step == nil {
			err = errors.New("the document has no root")
			c.m.t.Errorf("%s shows run %s without its root", n.name, run)
		} else {
			_, root := step.Latest()
			seen = final(root.Result)
		}
		if !stale || boot == n.starts.Load() { // a node that was started again may know less than before
			seen.Index = doc.Index
		}
	}
	end(seen, err)
}

func (c *chaos) cancel(name string, n *node, run string) {
	end := c.m.hist.invoke(checker.Event{Op: "cancel", Client: name, Node: n.name, Run: run})
	ctx, cancel := context.WithTimeout(c.ctx, 6*time.Second)
	defer cancel()
	end(checker.Event{}, n.client.CancelExecution(ctx, c.m.workspace, run+":1:1"))
}
