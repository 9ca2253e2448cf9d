package scheduler_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/oklog/ulid/v2"
)

// targets that programs call; the workflow is the only one that a user can start.
var simTargets = []state.DeclaredTarget{
	{Module: "m", Name: "flow", Type: state.TypeWorkflow},
	{Module: "m", Name: "a", Type: state.TypeTask},
	{Module: "n", Name: "b", Type: state.TypeTask},
}

// simUser submits runs and cancels executions from outside, and repeats what was not answered.
type simUser struct {
	*sim
	n       int
	submits int
	waiting bool
	request scheduler.Request
}

func (u *simUser) act() {
	if u.waiting {
		return
	}
	if u.request == nil {
		switch {
		case u.calm:
			return
		case u.submits < 2 && u.chance(50):
			u.submits++
			u.request = u.submission()
		case u.chance(5):
			if id := u.oracle.anyExecution(u.rng); id != "" {
				step, _ := state.ParseExecutionID(id)
				u.request = &scheduler.RerunStep{RequestID: u.ulid(u.now), Workspace: u.pick(u.oracle.home(step)), Step: step.StepID().String()}
			}
		case u.chance(7):
			u.request = u.govern()
		case u.chance(6):
			if id := u.oracle.anyExecution(u.rng); id != "" {
				u.request = &scheduler.Cancel{Workspace: u.pick(u.oracle.execs[id].workspace), Execution: id}
			}
		}
		if u.request == nil {
			return
		}
	}
	u.waiting = true
	u.send(u.request, func(scheduler.Reply) { u.waiting, u.request = false, nil })
}

func (u *simUser) submission() scheduler.Request {
	at := u.now
	if u.chance(10) {
		at -= int64(u.rng.IntN(1_200_000)) - 600_000
	}
	r := &scheduler.SubmitRun{RequestID: u.ulid(at), Workspace: u.pick(""), Module: "m", Target: "flow",
		Arguments: []state.Value{program(3, u.rng.Uint64())}}
	r.Requires, r.Memo = drawRequires(u.rng), u.chance(60)
	r.Recurrent, r.Durable = u.chance(20), u.chance(40)
	if u.chance(20) {
		r.Delay = int64(u.rng.IntN(300))
	}
	if u.chance(40) {
		r.Retries = u.retries()
	}
	if u.chance(30) {
		r.Cache = someCache(u.rng)
	}
	if u.chance(30) {
		r.Defer = someParams(u.rng)
	}
	if u.chance(20) {
		r.IdempotencyKey = fmt.Sprint("key", u.rng.IntN(2))
	}
	return r
}

func (u *simUser) ulid(at int64) string { return ulidOf(at, u.rng) }

func ulidOf(at int64, rng *rand.Rand) string {
	var id ulid.ULID
	_ = id.SetTime(uint64(at))
	binary.BigEndian.PutUint64(id[8:], rng.Uint64())
	return id.String()
}

// program encodes what a body does: how deep it may call, and the seed of its choices.
func program(depth byte, seed uint64) state.Value {
	return state.Value{Data: binary.BigEndian.AppendUint64([]byte{depth}, seed)}
}

// simAgent runs bodies for one session after another.
type simAgent struct {
	*sim
	node    string
	project string
	name    string // of the workspace that it is meant for
	room    string // id of the one that this start has served last
	refused bool   // its session, as that was archived
	boot    int
	opens   int
	session string
	slots   int
	targets []state.DeclaredTarget
	// provides and accepts are the session's; able agents can run everything there is.
	provides, accepts state.Tags
	first, able       bool
	// stream is the term of the leader that it is connected to, 0 for none; reconciled once the session is known there.
	stream     int
	generation int // of the stream: replies to an earlier one are lost
	opening    bool
	draining   bool // stops, and starts again when it is calm
	reconciled bool
	away       int // turns before it tries to connect again
	// known are the executions that this session ever accepted.
	known  map[string]bool
	bodies map[string]*simBody
	// results that the leader has not acknowledged.
	results map[string]state.Result
	posted  map[string]bool // on the present stream
}

func newSimAgent(s *sim, n int) *simAgent {
	a := &simAgent{sim: s, node: fmt.Sprint("node", n), project: "p", name: "w", boot: 1, slots: 1 + s.rng.IntN(2), first: n == 0}
	if n > 0 && s.chance(40) {
		r := simRooms[s.rng.IntN(len(simRooms))]
		a.project, a.name = r.project, r.name
	}
	for _, t := range simTargets {
		if n == 0 || s.chance(60) {
			a.targets = append(a.targets, t)
		}
	}
	a.fresh()
	return a
}

// fresh begins a new session: nothing of the old one is left.
func (a *simAgent) fresh() {
	a.disconnect()
	a.opens++
	a.session = fmt.Sprintf("%s-s%d", a.node, a.opens)
	a.draining = false
	a.tag()
	a.known, a.bodies, a.results = map[string]bool{}, map[string]*simBody{}, map[string]state.Result{}
}

// restart is a new start of the node.
func (a *simAgent) restart() {
	a.boot++
	a.room = ""
	a.fresh()
}

func (a *simAgent) disconnect() {
	a.stream, a.reconciled, a.opening = 0, false, false
	a.generation++
	a.away = a.rng.IntN(3)
	a.posted = map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(a.bodies)) {
		a.bodies[id].asking = false
	}
}

// fault breaks something at the agent.
func (a *simAgent) fault() {
	switch a.rng.IntN(5) {
	case 4:
		if a.reconciled {
			a.tracef("%s drains", a.node)
			a.draining = true
			a.send(&scheduler.UpdateSession{Session: a.session, Targets: a.targets, Draining: true}, nil)
		}
	case 0, 1:
		a.tracef("%s loses its stream", a.node)
		a.disconnect()
	case 2: // its lease runs out; frozen, it may not know
		a.tracef("%s loses its lease", a.node)
		old := a.session
		a.disconnect()
		a.away = 2 + a.rng.IntN(4)
		if a.chance(70) {
			a.bodies = map[string]*simBody{}
		}
		a.send(&scheduler.LoseSession{Session: old, Reason: "lease"}, nil)
	case 3:
		a.tracef("%s starts again", a.node)
		for _, id := range slices.Sorted(maps.Keys(a.results)) {
			a.sent = append(a.sent, a.report(id)) // written to the wire just before the end
		}
		if a.chance(50) {
			a.send(&scheduler.LoseSession{Session: a.session, Reason: "guard"}, nil)
		}
		a.restart()
	}
}

func (a *simAgent) act() {
	if a.calm && (a.draining || a.first && !a.able) { // bodies may wait for what no other agent can run: a drain ends by its time limit
		a.restart()
	}
	if a.stream == 0 {
		if a.away > 0 && !a.calm {
			a.away--
			return
		}
		a.stream = a.term
	}
	if !a.reconciled {
		a.open()
		return
	}
	for _, id := range slices.Sorted(maps.Keys(a.bodies)) {
		if a.calm || a.chance(70) {
			a.bodies[id].run()
		}
	}
	for _, id := range slices.Sorted(maps.Keys(a.results)) {
		if !a.posted[id] {
			a.posted[id] = true
			a.ask(a.report(id), func(scheduler.Reply) { delete(a.results, id) })
		}
	}
}

func (a *simAgent) report(id string) *scheduler.ReportResult {
	return &scheduler.ReportResult{Session: a.session, Execution: id, Result: a.results[id]}
}

// ask sends a request whose reply is lost with the stream.
func (a *simAgent) ask(r scheduler.Request, done func(scheduler.Reply)) {
	generation := a.generation
	a.send(r, func(reply scheduler.Reply) {
		if generation == a.generation {
			done(reply)
		}
	})
}

// open makes the session known to the leader, then both sides compare what they hold.
func (a *simAgent) open() {
	if a.opening || a.calm && a.refused { // nobody makes another workspace any more
		return
	}
	a.opening = true
	a.ask(&scheduler.OpenSession{Session: a.session, Project: a.project, Workspace: a.name, WorkspaceID: a.room, Node: a.node,
		NodeName: a.node, Boot: fmt.Sprint(a.boot), Slots: a.slots, Targets: a.targets, Provides: a.provides, Accepts: a.accepts}, func(r scheduler.Reply) {
		a.opening = false
		a.refused = r.Err != nil && r.Err.Code == scheduler.CodeNotFound
		if a.refused {
			return // and asks again
		}
		if r.Err != nil || len(a.known) > 0 && a.view().Session(a.session) == nil {
			a.fresh()
			return
		}
		a.room = r.Answer.WorkspaceID
		a.reconcile()
		a.register()
	})
}

func (a *simAgent) reconcile() {
	a.reconciled = true
	v := a.view()
	for _, id := range slices.Sorted(maps.Keys(a.bodies)) {
		if e := execution(v, id); e.Result != nil || e.Session != a.session {
			delete(a.bodies, id)
		}
	}
	for _, e := range slices.Collect(v.Assigned(a.session)) {
		id := e.ID().String()
		_, running := a.bodies[id]
		_, ended := a.results[id]
		switch {
		case !a.known[id]:
			a.accept(id)
		case !running && !ended: // killed by the fence
			a.results[id] = state.Result{Type: state.ResultAbandoned, Reason: "vanished"}
		}
	}
}

func (a *simAgent) event(e scheduler.Event) {
	if !a.reconciled || e.Session != a.session {
		return
	}
	if !a.calm && a.chance(3) { // the frame is lost, and with it the stream
		a.disconnect()
		return
	}
	id := e.Execution.String()
	switch e.Kind {
	case scheduler.EventAssigned:
		a.accept(id)
	case scheduler.EventAbort:
		delete(a.bodies, id)
		delete(a.results, id)
	case scheduler.EventSessionLost:
		a.fresh()
	}
}

// accept starts the body of an execution, once in the life of the session.
func (a *simAgent) accept(id string) {
	if a.known[id] {
		return
	}
	a.known[id] = true
	a.starts[id]++
	if a.starts[id] > 1 {
		a.failf("execution %s has a second body (on %s)", id, a.node)
	}
	a.bodies[id] = newSimBody(a, id)
}

func (a *simAgent) quiet() bool {
	return a.refused || a.reconciled && !a.draining && len(a.bodies) == 0 && len(a.results) == 0
}

// soft is what the leader knows of the agents that are connected to it.
func (s *sim) soft() scheduler.Soft {
	soft := scheduler.Soft{Sessions: map[string]scheduler.SoftSession{}, Holds: s.holds}
	v := s.view()
	for _, a := range s.agents {
		if !a.reconciled || a.stream != s.term {
			continue
		}
		row := v.Session(a.session)
		if row == nil {
			continue
		}
		ss := scheduler.SoftSession{Serves: map[state.Class]bool{}}
		for _, t := range row.Targets {
			ss.Serves[state.Class{Workspace: row.Workspace, Module: t.Module, Target: t.Name, Type: t.Type}] = true
		}
		for e := range v.Assigned(a.session) {
			if b := a.bodies[e.ID().String()]; b == nil || !b.blocked {
				ss.Running++
			}
			if e.Tier == state.TierRoot {
				ss.Roots++
			}
		}
		soft.Sessions[a.session] = ss
	}
	return soft
}

// holds tells whether the agent of a session still has a body of the execution.
func (s *sim) holds(session, id string) bool {
	for _, a := range s.agents {
		if a.session == session && a.bodies[id] != nil {
			return true
		}
	}
	return false
}

// impostor is a request of an execution in the name of another session.
func impostor(r scheduler.Request, session string) scheduler.Request {
	switch r := r.(type) {
	case *scheduler.SubmitStep:
		other := *r
		other.Session = session
		return &other
	case *scheduler.ReportResult:
		other := *r
		other.Session = session
		return &other
	case *scheduler.Suspend:
		return &scheduler.Suspend{Session: session, Execution: r.Execution, Handles: r.Handles}
	case *scheduler.CancelHandles:
		other := *r
		other.Session = session
		return &other
	case *scheduler.SubmitInput:
		other := *r
		other.Session = session
		return &other
	}
	return r
}

func execution(v *state.View, id string) *state.Execution {
	parsed, _ := state.ParseExecutionID(id)
	return v.Execution(parsed)
}
