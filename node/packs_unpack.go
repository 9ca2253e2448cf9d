package node

import (
	"context"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

const (
	// unpackBytes is about how many bytes of rows return to the tables in one request.
	unpackBytes = 256 << 10
	// unpackFor is how long a run is tried to be unpacked.
	unpackFor = 60 * time.Second
)

// bringing are the requests that wait for packed runs.
type bringing struct {
	mu      sync.Mutex // guards the rest
	over    bool       // the leadership: nothing begins any more
	waiting map[string][]func(error)
	// brought are the runs that were unpacked, and when: they are not packed again at once.
	brought map[string]time.Duration
}

// packedRunOf is the run that a decision needs and that is packed, "" for none.
func packedRunOf(r scheduler.Reply) string {
	if r.Err != nil && r.Err.Code == scheduler.CodePacked {
		return r.Err.Details["run"]
	}
	return ""
}

// bring unpacks a run for somebody.
func (l *leader) bring(run string, then func(error)) {
	b := &l.bringing
	b.mu.Lock()
	if b.over {
		b.mu.Unlock()
		then(errNotLeading)
		return
	}
	defer b.mu.Unlock()
	if b.waiting == nil {
		b.waiting, b.brought = map[string][]func(error){}, map[string]time.Duration{}
	}
	b.waiting[run] = append(b.waiting[run], then)
	if len(b.waiting[run]) > 1 {
		return
	}
	l.background.Go(func() {
		err := l.unpack(run)
		b.mu.Lock()
		waiting := b.waiting[run]
		delete(b.waiting, run)
		b.mu.Unlock()
		for _, then := range waiting {
			then(err)
		}
	})
}

// end has nothing begin any more, so that what has begun can be waited for.
func (b *bringing) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
}

// broughtFor has a request decided again that needed a run.
func (l *leader) broughtFor(run string, p *pending, err error) {
	if err == nil {
		err = l.enqueue(p.request, false, p.done)
		if err == nil {
			return
		}
	}
	if l.ctx.Err() != nil {
		p.done(scheduler.Reply{}, errNotLeading)
		return
	}
	l.log.Error("a packed run cannot be read", "run", run, "error", err)
	p.done(scheduler.Reply{Err: &scheduler.Error{Code: scheduler.CodeInternal, Message: "run " + run + " is packed and cannot be read now: " + err.Error(),
		Hint: "it is read from the nodes that have its pack: try again when they are up"}}, nil)
}

// unpack has a packed run, and those that its links lead to, return to the tables.
func (l *leader) unpack(run string) error {
	ctx, cancel := context.WithTimeout(l.ctx, unpackFor)
	defer cancel()
	for {
		runs, err := l.packs.withLinked(ctx, l.store.View(), run)
		if err != nil {
			return err
		}
		if len(runs) == 0 {
			return nil // it is there, or nowhere
		}
		l.bringing.mu.Lock()
		for _, r := range runs {
			l.bringing.brought[r.run] = l.clock()
		}
		l.bringing.mu.Unlock()
		for _, request := range unpacking(runs) {
			reply, err := l.do(ctx, request)
			if err != nil {
				return err
			}
			if reply.Err != nil { // something has changed: look again
				l.log.Debug("a run cannot be unpacked yet", "run", run, "reason", reply.Err)
				break
			}
		}
		if !pause(ctx, againAfter/10) {
			return ctx.Err()
		}
	}
}

// unpacking makes the requests for runs, in their order: several small ones in one, a large one in parts.
func unpacking(runs []*packedRun) (out []*scheduler.UnpackRuns) {
	bytes := unpackBytes + 1
	for _, r := range runs {
		part := scheduler.UnpackedRun{Run: r.run, Pack: r.pack, Digest: r.summary.Digest}
		size, from := 0, 0
		for i, row := range r.rows {
			if size += row.Size(); size > unpackBytes && i > from {
				some := part
				some.Rows, some.More = r.rows[from:i], true
				out = append(out, &scheduler.UnpackRuns{Runs: []scheduler.UnpackedRun{some}})
				size, from, bytes = row.Size(), i, unpackBytes+1
			}
		}
		if part.Rows = r.rows[from:]; bytes+size > unpackBytes {
			out, bytes = append(out, &scheduler.UnpackRuns{}), 0
		}
		last := out[len(out)-1]
		last.Runs, bytes = append(last.Runs, part), bytes+size
	}
	return out
}

// keepBrought is how long an unpacked run stays at least.
const keepBrought = time.Minute

// justBrought tells whether a run was unpacked a moment ago.
func (l *leader) justBrought(run string) bool {
	l.bringing.mu.Lock()
	defer l.bringing.mu.Unlock()
	at, ok := l.bringing.brought[run]
	if ok && l.clock()-at > keepBrought {
		delete(l.bringing.brought, run)
		return false
	}
	return ok
}

// packedFor is a packed run that a wait is for, "" for none.
func (h *hub) packedFor(session string, q *Select) string {
	if h.l.packs == nil {
		return ""
	}
	h.mu.Lock()
	k := h.links[session]
	h.mu.Unlock()
	if k == nil {
		return ""
	}
	view := h.l.store.View()
	for _, name := range q.Handles {
		run := state.RunOf(name)
		if view.Run(run) != nil {
			continue
		}
		if p := scheduler.VisiblePack(view, k.workspace, run); p != nil && p.Has(run) {
			return run
		}
	}
	return ""
}

// selectsAgain goes on with a wait for what was packed. What cannot be read has failed for whoever waits.
func (h *hub) selectsAgain(session string, q *Select, run string, err error) {
	if err == nil {
		h.selects(session, q)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.links[session]
	if k == nil || h.l.ctx.Err() != nil {
		return // it asks the next leader
	}
	for _, name := range q.Handles {
		if state.RunOf(name) == run {
			k.stream.send(&Frame{Outcome: &Outcome{Execution: name, Result: &state.Result{Type: state.ResultError, Error: &state.Error{
				Type: "internal", Message: "run " + run + " is packed and cannot be read now: " + err.Error()}}}})
		}
	}
	if q.Poll { // the end of the answer
		k.stream.send(&Frame{Nothing: &Nothing{Execution: q.Execution, Number: q.Number}})
	}
}
