package scheduler

import (
	"cmp"
	"container/heap"
	"errors"
	"iter"
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/coflux-mesh/coflux/consensus/state"
)

// place gives queued executions to agents: what somebody waits for first, then the oldest; to the least loaded agent
// that serves it. Work is proportional to the classes that have something queued and to what is placed, whatever the
// backlog.
func (b *batch) place() {
	p := newPlacer(b.scratch.View(), b.Soft)
	defer p.close()
	for n := 0; ; n++ {
		e, a := p.next()
		if e == nil {
			return
		}
		if n == maxPlace || b.scratch.Bytes() >= 3*state.BatchBytes {
			b.out.More = true
			return
		}
		err := b.try(func(d *decision) error { return d.assign(e, a.session) })
		if errors.Is(err, state.ErrBatchFull) {
			b.out.More = true
			return
		}
		if err == nil {
			p.taken(a, e)
		}
	}
}

// assign gives an execution to a session.
func (d *decision) assign(e *state.Execution, s *state.Session) error {
	if d.underCancel(e) {
		return refuse(CodeCancelled, "execution %s is being cancelled", e.ID())
	}
	given := *e
	given.Session, given.Node, given.AssignedAt = s.ID, s.Node, d.now
	d.Put(&given)
	tally := &state.Tally{Session: s.ID, Executions: 1}
	if before := d.Tally(s.ID); before != nil {
		tally.Executions += before.Executions
	}
	d.Put(tally) // once for all that the batch gives to the session
	d.tell(EventAssigned, s.ID, e.ID())
	return nil
}

// candidate is an agent that may take work.
type candidate struct {
	session *state.Session
	soft    SoftSession
}

func (c *candidate) free() bool { return c.soft.Running < c.session.Slots }

func (c *candidate) takes(e *state.Execution) bool {
	return c.free() && (e.Tier != state.TierRoot || c.soft.Roots < RootsPerSlot*c.session.Slots)
}

// placer merges the queues of all classes that some free agent serves.
type placer struct {
	view       *state.View
	soft       Soft
	candidates map[string][]*candidate // by workspace, those of one by session id
	open       []string                // workspaces in which something may be placed, sorted
	heads      queueHeap
}

func newPlacer(v *state.View, soft Soft) *placer {
	p := &placer{view: v, soft: soft, candidates: map[string][]*candidate{}}
	for _, id := range slices.Sorted(maps.Keys(soft.Sessions)) {
		if s := v.Session(id); s != nil && s.State == state.SessionOpen {
			p.candidates[s.Workspace] = append(p.candidates[s.Workspace], &candidate{s, soft.Sessions[id]})
		}
	}
	p.open = p.openWorkspaces()
	for c, ok := p.classFrom(""); ok; {
		fit, past := p.fitting(c)
		if len(fit) > 0 {
			next, stop := iter.Pull(v.Queue(c))
			if e, ok := next(); ok {
				p.heads = append(p.heads, &queueHead{e, fit, next, stop})
			}
		}
		c, ok = p.classFrom(past)
	}
	heap.Init(&p.heads)
	return p
}

// openWorkspaces are those, sorted, in which something may be placed: active, with a free agent.
func (p *placer) openWorkspaces() (ids []string) {
	for id, candidates := range p.candidates {
		if w := p.view.Workspace(id); w != nil && w.State == state.WorkspaceActive && slices.ContainsFunc(candidates, (*candidate).free) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// classFrom is the first class at or behind a place that is in an open workspace; false when there is none. What waits in
// other workspaces is passed over with one seek.
func (p *placer) classFrom(place string) (state.Class, bool) {
	c, ok := p.view.ClassFrom(place)
	for ok {
		n, open := slices.BinarySearch(p.open, c.Workspace)
		switch {
		case open:
			return c, true
		case n == len(p.open):
			return state.Class{}, false
		}
		c, ok = p.view.ClassFrom(state.QueueOf(p.open[n]))
	}
	return state.Class{}, false
}

// fitting gives the free agents that may run a class, and the place behind it. When there are none, it is the place
// behind all classes that fail for the same reason, so that however many requirement sets ask for a tag that nobody
// has, they cost one seek.
func (p *placer) fitting(c state.Class) (fit []*candidate, past string) {
	var serving []*candidate
	for _, a := range p.candidates[c.Workspace] {
		if a.free() && a.soft.Serves[c.Untagged()] {
			serving = append(serving, a)
		}
	}
	if len(serving) == 0 {
		return nil, c.Past("")
	}
	required, text := state.ParseRequires(c.Requires), ""
	for _, r := range required {
		if !slices.ContainsFunc(serving, func(a *candidate) bool { return knows(a.session, r.Name) }) {
			return nil, c.Past(text + r.Name + ":")
		}
		text += state.Tags{r.Name: r.Values}.Text()
		if !slices.ContainsFunc(serving, func(a *candidate) bool { return provides(a.session, r) }) {
			return nil, c.Past(text)
		}
	}
	for _, a := range serving {
		if fits(a.session, required) {
			fit = append(fit, a)
		}
	}
	return fit, c.Past(c.Requires + "\x00")
}

func (p *placer) close() {
	for _, h := range p.heads {
		h.stop()
	}
}

// next takes the execution that is to be placed next, and the agent for it; nil when there is none or nobody is free. A
// class that nobody can take from any more is dropped with all that stands behind its head.
func (p *placer) next() (*state.Execution, *candidate) {
	for len(p.heads) > 0 {
		h := p.heads[0]
		e, a := h.head, p.choose(h.fit, h.head)
		if a == nil {
			// Behind a root that is held back by the cap stand only roots: tiers are the first order of a queue.
			h.stop()
			heap.Pop(&p.heads)
			continue
		}
		if following, ok := h.next(); ok {
			h.head = following
			heap.Fix(&p.heads, 0)
		} else {
			heap.Pop(&p.heads)
		}
		if p.alone(e) {
			return e, a
		}
	}
	return nil, nil
}

// alone tells whether no earlier attempt of the step in its workspace can still be alive: its agent said so, or its
// session is no more (rules A15). While an agent is out of reach nobody knows, and the attempt waits.
func (p *placer) alone(e *state.Execution) bool {
	if e.Attempt == 1 {
		return true
	}
	for before := range earlier(p.view, e) {
		if before.Session == "" {
			continue // it never ran
		}
		// The latest that ran speaks for all: it was placed when those before it were gone.
		if p.view.Session(before.Session) == nil {
			return true
		}
		_, reachable := p.soft.Sessions[before.Session]
		return reachable && (p.soft.Holds == nil || !p.soft.Holds(before.Session, before.ID().String()))
	}
	return true
}

// choose the least loaded agent of those that takes the execution, one of another node than the attempt before it failed
// on if there is any; ties go by rendezvous hash, so that they spread.
func (p *placer) choose(among []*candidate, e *state.Execution) *candidate {
	avoid := ""
	for before := range earlier(p.view, e) {
		if before.Result != nil && before.Result.Type.Failed() {
			avoid = before.Node
		}
		break
	}
	var best *candidate
	for _, c := range among {
		if c.takes(e) && (best == nil || c.before(best, e, avoid)) {
			best = c
		}
	}
	return best
}

func (c *candidate) before(other *candidate, e *state.Execution, avoid string) bool {
	if mine, theirs := c.session.Node == avoid, other.session.Node == avoid; mine != theirs {
		return theirs
	}
	mine, theirs := c.soft.Running*other.session.Slots, other.soft.Running*c.session.Slots
	if mine != theirs {
		return mine < theirs
	}
	return rendezvous(e, c.session.ID) > rendezvous(e, other.session.ID)
}

func rendezvous(e *state.Execution, session string) uint64 {
	return xxhash.Sum64String(e.ID().String() + "\x00" + session)
}

func (p *placer) taken(c *candidate, e *state.Execution) {
	c.soft.Running++
	if e.Tier == state.TierRoot {
		c.soft.Roots++
	}
}

// queueHead is the first unplaced execution of a class.
type queueHead struct {
	head *state.Execution
	fit  []*candidate
	next func() (*state.Execution, bool)
	stop func()
}

type queueHeap []*queueHead

func (h queueHeap) Len() int      { return len(h) }
func (h queueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *queueHeap) Push(x any)   { *h = append(*h, x.(*queueHead)) }
func (h *queueHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
func (h queueHeap) Less(i, j int) bool {
	a, b := h[i].head, h[j].head
	return cmp.Or(
		cmp.Compare(a.Tier, b.Tier),
		cmp.Compare(max(a.ExecuteAfter, a.CreatedAt), max(b.ExecuteAfter, b.CreatedAt)),
		cmp.Compare(a.ID().String(), b.ID().String()),
	) < 0
}
