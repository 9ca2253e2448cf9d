package pyexec

import (
	"maps"
	"slices"
	"time"
)

// maxTemplates bounds how many modules are kept imported. Of more, those that were used last are.
const maxTemplates = 8

// hotLanes is how many modules get Config.Warm executors ahead; the others get one.
const hotLanes = 2

// The pauses before a template is started again.
const (
	templateBackoff    = time.Second
	templateBackoffMax = time.Minute
)

// laneState is what there is to fork executors from.
type laneState int

const (
	laneOff      laneState = iota // nothing, and nothing is tried: they are started, or the module is unfit
	laneCold                      // nothing, until it is used
	laneDown                      // nothing, until the timer
	laneStarting                  // a template that is not ready
	laneUp
)

// lane is where executors of one kind come from: forks of the template that has imported a module, or, the bare lane,
// such as import it themselves: forks of a template that has imported the SDK only, or started processes while there is
// none. The pool's mu guards it.
type lane struct {
	py       *python  // whose executors they are
	snapshot string   // the code that its template has imported; "" = the bare lane
	name     string   // the configured module
	modules  []string // what is imported
	state    laneState
	closed   bool   // the code was replaced
	template uint64 // the number of its process, from laneStarting to laneUp
	hung     bool
	told     bool // that there is no template
	pause    time.Duration
	timer    *time.Timer // of laneDown: the next try; of laneStarting: the limit
	idle     []*executor // ready, oldest first
	starting int
}

// laneOf is where a body gets its executor; called with mu held.
func (p *Pool) laneOf(b *body) *lane {
	l := p.lanes[b.snapshot]
	if l == nil {
		return p.bareOf(p.pythonOf(b.job.Module))
	}
	p.touch(l)
	if l.state == laneUp || len(l.idle) > 0 {
		return l
	}
	return p.bareOf(l.py)
}

// touch notes that a module is used, and begins to import it if it was not among the last used; called with mu held.
func (p *Pool) touch(l *lane) {
	if p.recent[0] != l {
		p.recent = slices.DeleteFunc(p.recent, func(o *lane) bool { return o == l })
		p.recent = slices.Insert(p.recent, 0, l)
	}
	if l.state != laneCold {
		return
	}
	p.open(l)
	live := 0
	for _, o := range p.recent {
		if o.state < laneDown {
			continue
		}
		if live++; live > maxTemplates {
			p.shut(o, laneCold)
		}
	}
}

// reroute gives everything that waits the lane that is best now; called with mu held after a lane has changed.
func (p *Pool) reroute() {
	for _, b := range p.waiting {
		b.lane = p.laneOf(b)
	}
	p.match()
	p.trim()
	p.refill()
}

// trim ends the bare executors that are ready when every module has a lane of its own; called with mu held.
func (p *Pool) trim() {
	for _, l := range p.bares {
		if !p.bareIsUsed(l) {
			p.dismiss(l)
		}
	}
}

// bareIsUsed says whether executions are to be expected that no template of the environment has imported; called with mu
// held.
func (p *Pool) bareIsUsed(bare *lane) bool {
	some := false
	for _, l := range p.recent {
		if l.py != bare.py {
			continue
		}
		some = true
		if l.state != laneUp && l.state != laneCold {
			return true
		}
	}
	return !some
}

// warmOf is how many executors are kept ready in a lane; called with mu held.
func (p *Pool) warmOf(l *lane) int {
	if p.paused {
		return 0
	}
	if l.snapshot != "" {
		if l.state != laneUp {
			return 0
		}
		if slices.Index(p.recent, l) < hotLanes {
			return p.cfg.Warm
		}
		return min(1, p.cfg.Warm)
	}
	if p.bareIsUsed(l) {
		return p.cfg.Warm
	}
	return 0
}

// canStart says whether a lane can make executors; called with mu held.
func (l *lane) canStart() bool {
	if l.snapshot == "" {
		return l.state != laneStarting // it will be ready soon, or not at all
	}
	return l.state == laneUp
}

// syncLanes makes the lanes fit the code that serves; called with mu held.
func (p *Pool) syncLanes() {
	current := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(p.code.good)) {
		code, py := p.code.good[name], p.pythonOf(name)
		if !py.fork {
			continue
		}
		current[code.snapshot] = true
		if p.lanes[code.snapshot] == nil && len(code.targets) > 0 {
			l := &lane{py: py, snapshot: code.snapshot, name: name, modules: modulesOf(code.targets), state: laneCold}
			p.lanes[code.snapshot] = l
			p.recent = append(p.recent, l)
		}
	}
	for snapshot, l := range p.lanes {
		if !current[snapshot] {
			l.closed = true
			p.shut(l, laneOff)
			delete(p.lanes, snapshot)
			p.recent = slices.DeleteFunc(p.recent, func(o *lane) bool { return o == l })
		}
	}
	for i, l := range slices.Clone(p.recent) {
		if l.state == laneCold && i < maxTemplates {
			p.open(l)
		}
	}
	p.reroute()
}

func modulesOf(targets []Target) []string {
	var names []string
	for _, t := range targets {
		if !slices.Contains(names, t.Module) {
			names = append(names, t.Module)
		}
	}
	return names
}

// open starts a lane's template; called with mu held.
func (p *Pool) open(l *lane) {
	l.stopTimer()
	if p.state != stateRunning {
		return
	}
	l.state, l.hung = laneStarting, false
	words := []string{"fork"}
	if l.snapshot != "" {
		words = append(append(words, l.snapshot), l.modules...)
	}
	g := p.guard
	var id uint64
	id, err := g.startTemplate(l.py.command(words...), l.py.env, l.py.dir, func(op, text string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.guard == g && l.template == id {
			p.hearTemplate(l, op, text)
		}
	})
	if err != nil {
		p.templateEnded(l, err.Error())
		return
	}
	l.template = id
	limit := readyLimit
	if l.snapshot != "" {
		limit = p.cfg.DiscoverTimeout
	}
	l.timer = time.AfterFunc(limit, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.guard == g && l.template == id && l.state == laneStarting {
			l.hung = true
			g.send(guardMessage{Op: "kill", ID: id}, nil)
		}
	})
}

// hearTemplate takes the guard's word of the template of a lane; called with mu held.
func (p *Pool) hearTemplate(l *lane, op, text string) {
	switch op {
	case "templateReady":
		l.stopTimer()
		l.state, l.pause, l.told = laneUp, 0, false
		p.reroute()
	case "templateRefused":
		if l.snapshot != "" {
			p.noTemplate(l, text)
			p.shut(l, laneOff)
			p.reroute()
			return
		}
		p.guard.endTemplate(l.template)
		p.templateEnded(l, text)
	case "templateEnded":
		p.templateEnded(l, text)
	}
}

// templateEnded holds the next start back; called with mu held.
func (p *Pool) templateEnded(l *lane, why string) {
	l.stopTimer()
	l.template = 0
	if p.state != stateRunning {
		return
	}
	if l.hung && l.snapshot != "" {
		p.noTemplate(l, "it is not imported within "+p.cfg.DiscoverTimeout.String())
		l.state = laneOff
		p.reroute()
		return
	}
	p.noTemplate(l, why)
	l.state = laneDown
	l.pause = min(max(templateBackoff, 2*l.pause), templateBackoffMax)
	l.timer = time.AfterFunc(l.pause, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if l.state == laneDown && p.state == stateRunning {
			p.open(l)
		}
	})
	p.reroute()
}

// noTemplate says why, once until there was a good one again.
func (p *Pool) noTemplate(l *lane, why string) {
	if l.told {
		return
	}
	l.told = true
	if l.snapshot == "" {
		p.log.Warn("executors are started one by one: there is no template to fork them from; it is tried again", "reason", why)
		return
	}
	p.log.Warn("every execution imports this module itself, which costs it time: it cannot be forked from a process that has imported it", "module", l.name, "reason", why)
}

// shut ends a lane's template and the executors that were made ahead; called with mu held.
func (p *Pool) shut(l *lane, state laneState) {
	l.stopTimer()
	l.state = state
	if l.template != 0 {
		p.guard.endTemplate(l.template)
		l.template = 0
	}
	p.dismiss(l)
}

// dismiss ends the executors that were made ahead; called with mu held.
func (p *Pool) dismiss(l *lane) {
	idle := l.idle
	l.idle = nil
	for _, e := range idle {
		e.kill()
	}
}

func (l *lane) stopTimer() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

// openLanes gives a new guard its templates; called with mu held.
func (p *Pool) openLanes() {
	for _, l := range append(slices.Clone(p.bares), p.recent...) {
		l.idle = nil // those of the guard before have ended with it, though not each may have been reported yet
		l.template, l.told = 0, false
		if l.state != laneOff && l.state != laneCold {
			p.open(l)
		}
	}
}

// stopLanes leaves no timer behind; called with mu held.
func (p *Pool) stopLanes() {
	for _, l := range append(slices.Clone(p.bares), p.recent...) {
		l.stopTimer()
	}
}
