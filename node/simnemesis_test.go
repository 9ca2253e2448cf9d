package node

import (
	"cmp"
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
	"testing"
	"testing/synctest"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/oklog/ulid/v2"
)

// TestSimNemesis runs seeded faults against meshes that run random programs, heals them and checks the invariants.
// COFLUX_SLOW=1 makes it 200, COFLUX_SIM_SEEDS sets how many; COFLUX_SIM_SEED=k replays the faults and programs of one and
// prints them (Raft's own luck is not seeded: repeat a rare one with -count).
func TestSimNemesis(t *testing.T) {
	t.Parallel()
	if seed := simEnv(t, "COFLUX_SIM_SEED", 0); seed > 0 {
		synctest.Test(t, func(t *testing.T) { nemesisRun(t, seed, t.Logf) })
		return
	}
	seeds := uint64(60)
	if os.Getenv("COFLUX_SLOW") != "" {
		seeds = 200
	}
	seeds = simEnv(t, "COFLUX_SIM_SEEDS", seeds)
	var next atomic.Uint64
	for range 2 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for seed := next.Add(1); seed <= seeds && !t.Failed(); seed = next.Add(1) {
				synctest.Test(t, func(t *testing.T) { nemesisRun(t, seed, func(string, ...any) {}) })
				if t.Failed() {
					t.Errorf("seed %d; replay: COFLUX_SIM_SEED=%d go test ./node -run TestSimNemesis -v", seed, seed)
				}
			}
		})
	}
}

func simEnv(t *testing.T, name string, fallback uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s is not a number: %v", name, err)
	}
	return n
}

// nemesis breaks a cluster and lets clients work meanwhile.
type nemesis struct {
	*simCluster
	rng     *rand.Rand
	log     func(string, ...any)
	clients sync.WaitGroup

	mu    sync.Mutex // guards the rest
	acked []state.ExecutionID
	// hurt are the nodes that had a fault for which what they run may be lost.
	hurt map[string]bool
}

func nemesisRun(t *testing.T, seed uint64, log func(string, ...any)) {
	rng := rand.New(rand.NewPCG(seed, 1))
	c := newSimCluster(t, 1+rng.IntN(3))
	c.encoded, c.programs = seed%2 == 0, map[string]program{"tree": tree}
	if rng.IntN(4) > 0 {
		c.fence, c.abandon = 2_000, 3_000
	}
	n := &nemesis{simCluster: c, rng: rng, log: log, hurt: map[string]bool{}}
	defer c.stop()
	c.grow(cmp.Or(map[int]int{0: 1, 1: 5}[rng.IntN(10)], 3))
	stop := n.people()
	defer stop()
	for range 4 + rng.IntN(5) {
		for range rng.IntN(3) {
			n.client()
		}
		n.fault()
		n.rest(600)
	}
	n.heal()
	n.clients.Wait()
	n.quiesce()
	stop()
	n.check()
	n.checkHeard()
}

// rest lets up to so many milliseconds pass.
func (n *nemesis) rest(ms int) { time.Sleep(time.Duration(1+n.rng.IntN(ms)) * time.Millisecond) }

// client triggers a run, and may do something to it later.
func (n *nemesis) client() {
	arg := fmt.Sprintf("%d 2", n.rng.Uint32())
	what, after := n.rng.IntN(8), time.Duration(n.rng.IntN(1500))*time.Millisecond
	n.log("%v trigger %s, %d after %v", n.clock(), arg, what, after)
	n.clients.Go(func() {
		id := n.trigger("tree", arg)
		n.mu.Lock()
		n.acked = append(n.acked, id)
		n.mu.Unlock()
		workspace := n.led().store.View().WorkspaceByName("p", "w").ID
		time.Sleep(after)
		switch what {
		case 0:
			n.ask(&scheduler.Cancel{Workspace: workspace, Execution: id.String()})
		case 1:
			n.ask(&scheduler.RerunStep{RequestID: ulid.Make().String(), Workspace: workspace, Step: fmt.Sprint(id.Run, ":", 1+len(arg)%3)})
		}
	})
}

// fault does one bad thing.
func (n *nemesis) fault() {
	victim := n.all()[n.rng.IntN(n.size)]
	if l := n.leader(); l != nil && n.rng.IntN(3) == 0 {
		victim = l
	}
	what := n.rng.IntN(9)
	if !slices.Contains(n.live(), victim) {
		return
	}
	switch what {
	case 0, 1:
		n.log("%v kill %s", n.clock(), victim.name)
		n.hurts(victim)
		victim.kill()
		n.later(2500, func() { n.log("%v restart %s", n.clock(), victim.name); n.restart(victim) })
	case 2, 3:
		n.log("%v isolate %s", n.clock(), victim.name)
		n.hurts(victim)
		n.isolate(victim, true)
		n.later(6000, func() { n.log("%v join %s", n.clock(), victim.name); n.isolate(victim, false) })
	case 4, 5:
		n.log("%v freeze %s", n.clock(), victim.name)
		n.hurts(victim)
		victim.freeze()
		n.later(6000, func() { n.log("%v thaw %s", n.clock(), victim.name); victim.thaw() })
	case 6:
		other := n.all()[n.rng.IntN(n.size)]
		n.log("%v no frames from %s to %s", n.clock(), victim.name, other.name)
		n.hurts(victim)
		n.hurts(other)
		way := [2]string{victim.name, other.name}
		n.simNet.change(func() { n.simNet.cuts[way] = true })
		n.later(4000, func() { n.simNet.change(func() { n.simNet.cuts[way] = false }) })
	case 7:
		n.log("%v streams of %s", n.clock(), victim.name)
		n.cutStreams(victim)
	case 8:
		n.log("%v transfer from %s", n.clock(), victim.name)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = victim.host.TransferLeadership(ctx)
		cancel()
	}
}

// later undoes a fault, before the next one or long after.
func (n *nemesis) later(ms int, undo func()) {
	d := time.Duration(1+n.rng.IntN(ms)) * time.Millisecond
	n.clients.Go(func() { time.Sleep(d); undo() })
}

// hurts notes that a node may lose what it runs; without a majority, or with a lease that is shorter than a change of
// the leader may take, every node may.
func (n *nemesis) hurts(victim *simNode) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hurt[victim.name] = true
	if len(n.hurt) > (n.size-1)/2 || n.fence > 0 {
		for _, o := range n.all() {
			n.hurt[o.name] = true
		}
	}
}

// heal ends all faults.
func (n *nemesis) heal() {
	n.clients.Wait()
	n.log("%v healed", n.clock())
}

// ask has a request decided, whatever the answer.
func (n *nemesis) ask(r scheduler.Request) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if l := n.leader(); l != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			_, err := l.coord.do(ctx, r)
			cancel()
			if err == nil {
				return
			}
		}
	}
	n.t.Errorf("%s was not answered within a minute", scheduler.Name(r))
}

// quiesce waits until nothing is left to do (I7).
func (n *nemesis) quiesce() {
	n.eventually("nothing is left to do", 40*time.Second, func() bool {
		l := n.leader()
		if l == nil || len(n.live()) != n.size {
			return false
		}
		view := l.store.View()
		for range view.Unfinished(view.WorkspaceByName("p", "w").ID) {
			return false
		}
		for range view.Sweeps() {
			return false
		}
		for _, o := range n.live() {
			if o.store.Index() != l.store.Index() || !o.agent.quiet() {
				return false
			}
		}
		return l.coord.leader().hub.quiet(n.size)
	})
}

// quiet tells whether the agent holds nothing of any execution and is connected (I22).
func (a *agent) quiet() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stream != nil && len(a.executions)+len(a.asks)+len(a.runs)+len(a.waiting) == 0
}

// quiet tells whether all agents are there and use nothing.
func (h *hub) quiet(agents int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range h.links {
		if k.running != 0 || k.roots != 0 || len(k.held) != 0 {
			return false
		}
	}
	return len(h.links) == agents && len(h.waiters) == 0
}

// tree is a program that its argument, a number and a depth, decides. Its value is its own execution id.
func tree(b *simBody, arg string) (string, error) {
	seed, id := arg, b.job.ExecutionID
	if !strings.HasSuffix(id, ":1") {
		seed += id[strings.LastIndexByte(id, ':'):] // another attempt has other luck
	}
	r := newProgramRand(seed)
	var depth int
	_, _ = fmt.Sscanf(arg, "%d %d", new(int), &depth)
	b.sleep(time.Duration(r.IntN(150)) * time.Millisecond)
	var handles []string
	for range r.IntN(4) {
		if depth == 0 {
			break
		}
		req := pyexec.SubmitRequest{Delay: pyexec.Millis(max(0, r.IntN(400)-300))}
		if r.IntN(4) == 0 {
			req.Type = "workflow" // a run of its own
		}
		if r.IntN(3) == 0 {
			req.Retries = &pyexec.Retries{BackoffMinMS: pyexec.Millis(r.IntN(200)), BackoffMaxMS: 200}
			if limit := r.IntN(4); limit > 0 {
				req.Retries.Limit = &limit
			}
		}
		h, err := b.submitWith(req, "tree", fmt.Sprintf("%d %d", r.Uint32(), depth-1))
		if err != nil {
			return "", err
		}
		handles = append(handles, h)
		b.sleep(time.Duration(r.IntN(30)) * time.Millisecond)
	}
	if err := treeWaits(b, r, handles); err != nil {
		return "", err
	}
	if r.IntN(8) == 0 {
		if err := treeAsks(b, []string{"", "k"}[r.IntN(2)]); err != nil {
			return "", err
		}
	}
	if r.IntN(10) == 0 {
		b.sleep(time.Duration(r.IntN(5000)) * time.Millisecond)
	}
	if r.IntN(10) == 0 {
		return "", errors.New("raised by " + b.job.ExecutionID)
	}
	return b.job.ExecutionID, nil
}

// treeWaits waits for children in one of several ways.
func treeWaits(b *simBody, r *rand.Rand, handles []string) error {
	how := r.IntN(6)
	for i, h := range handles {
		var err error
		switch how {
		case 0:
			return nil // never mind
		case 1: // whichever comes first, then what is left
			_, err = b.selects(-1, handles[i:]...)
		case 2:
			_, err = b.selects(0, h)
		case 3:
			_, err = b.selects(time.Duration(r.IntN(200))*time.Millisecond, handles...)
		default:
			_, err = b.selects(-1, h)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
