package scheduler_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/oklog/ulid/v2"
)

// oracle keeps its own books of what was answered and says what must follow from it. It knows nothing of sweeps,
// queues or indexes: a cancellation or a loss is in force at once.
type oracle struct {
	execs    map[string]*oracleExec
	order    []string // ids of executions as they were made
	sessions map[string]*oracleSession
	rooms    map[string]*oracleRoom // workspaces by id
	byULID   map[string]string      // request -> run
	byKey    map[string]oracleKey
	runs     map[string]int // run -> steps
	runTags  map[string]state.Tags
	runMemo  map[string]bool
	inputs   map[string]*oracleInput
	// runDurable tells of runs whose calls are known by their place.
	runDurable map[string]bool
	index      uint64
	time       int64
	view       *state.View // after the turn that is looked at
}

type oracleKey struct {
	run     string
	expires int64
}

type oracleSession struct {
	node, boot        string
	workspace         string
	lost, draining    bool
	provides, accepts state.Tags
	base              int // what its id was given before, as a session that is lost
}

type oracleExec struct {
	id        string
	workspace string
	number    int64 // of the request
	parent    *oracleExec
	children  []*oracleExec
	due       int64
	session   string
	result    string
	node      string // of the session
	gone      bool   // its process is known to be gone
	retries   *state.Retries
	before    *oracleExec // the failed attempt that it follows
	retry     *oracleExec // the attempt that follows its failure or recurrence
	latest    int64       // that a retry may be due
	later     string      // what it has in common with those of which the last is made
	after     int64       // not before then, 0 = at once
	link      *oracleExec // whose outcome it has
	workflow  bool        // the call of a workflow
	// spawnedBy is the call that became the run of which it is the root; it counts as its parent.
	spawnedBy *oracleExec
	same      string // what it has in common with those that may stand in for it
	maxAge    *int64 // of the value of one that does, nil = any
	made      int64
	ended     int64 // when its result was reported
	fell      bool  // its time has come
	doomed    bool  // under a cancellation
	forsaken  bool  // its session was lost
	cancels   bool  // it was cancelled with all below it
	needs     map[string]map[string]bool
	memo      string
	// recurrent, and after which time the next attempt starts.
	recurrent bool
	delay     int64
	hits      map[int64]string // by number of the request
	asked     map[int64]string // inputs, likewise
	// all are what it waits for before it starts, any those of which one is enough; refs are what its value refers to.
	all, any, refs []string
	waiting        bool // for them
	// durable: it is resumed; losses in a row without progress, and the attempt with which its recurrence began.
	durable, resumed bool
	losses, lap      int
	stopped          bool // its agent was told to end it, as it is suspended
}

func newOracle() *oracle {
	return &oracle{execs: map[string]*oracleExec{}, sessions: map[string]*oracleSession{}, rooms: map[string]*oracleRoom{}, byULID: map[string]string{},
		byKey: map[string]oracleKey{}, runs: map[string]int{}, runTags: map[string]state.Tags{}, runMemo: map[string]bool{}, runDurable: map[string]bool{}, inputs: map[string]*oracleInput{}}
}

// resultText is a result in a form that can be compared.
func resultText(r *state.Result) string {
	text := r.Type.String()
	if r.Link != "" {
		return text + " " + r.Link
	}
	if r.Value != nil {
		text += " " + string(r.Value.Data)
	}
	if r.Error != nil {
		text += " " + r.Error.Message
	}
	return text
}

// check follows one committed turn.
func (o *oracle) check(t *turn, v *state.View) error {
	if v.Index() != o.index+1 || v.Time() < o.time {
		return fmt.Errorf("index %d after %d, time %d after %d", v.Index(), o.index, v.Time(), o.time)
	}
	o.index, o.time, o.view = v.Index(), v.Time(), v
	for i, reply := range t.out.Replies {
		r := t.batch[i].request
		if ours, err := o.packing(t, r, reply); err != nil {
			return fmt.Errorf("%s %+v answered %+v %v: %w", scheduler.Name(r), r, reply.Answer, reply.Err, err)
		} else if ours {
			continue
		}
		if ours, err := o.keeping(r, reply); err != nil {
			return fmt.Errorf("%s %+v answered %+v %v: %w", scheduler.Name(r), r, reply.Answer, reply.Err, err)
		} else if ours {
			continue
		}
		if err := o.request(r, reply, t.now); err != nil {
			return fmt.Errorf("%s %+v answered %+v %v: %w", scheduler.Name(r), r, reply.Answer, reply.Err, err)
		}
	}
	if err := o.compare(t, v); err != nil {
		return err // what is not in the books cannot be looked at further
	}
	return errors.Join(o.placement(t, v), o.reasons(v), o.compareInputs(t, v), o.compareAssets(v))
}

func (o *oracle) request(r scheduler.Request, reply scheduler.Reply, now int64) error {
	switch r := r.(type) {
	case *scheduler.SubmitRun:
		return o.submitRun(r, reply, now)
	case *scheduler.SubmitStep:
		return o.submitStep(r, reply, now)
	case *scheduler.RerunStep:
		return o.rerun(r, reply, now)
	case *scheduler.ReportResult:
		return o.report(r, reply, now)
	case *scheduler.Suspend:
		return o.suspended(r, reply, now)
	case *scheduler.Cancel:
		e := o.execs[r.Execution]
		if known := e != nil && e.workspace == r.Workspace && o.live(r.Workspace); known != (reply.Err == nil) {
			return errors.New("a cancel is refused if, and only if, the execution is not known in the workspace")
		} else if known {
			o.cancel(e)
		}
	case *scheduler.CancelHandles:
		return o.cancelHandles(r, reply)
	case *scheduler.SubmitInput:
		return o.submitInput(r, reply)
	case *scheduler.RespondInput:
		return o.responded(r.Input, r.RequestID, "value "+string(r.Value.Data), reply, now)
	case *scheduler.DismissInput:
		return o.responded(r.Input, r.RequestID, "dismissed", reply, now)
	case *scheduler.AddDependency:
		return o.awaits(r, reply)
	case *scheduler.OpenSession:
		return o.opened(r, reply)
	case *scheduler.UpdateSession:
		s := o.sessions[r.Session]
		if (s == nil || s.lost) != (reply.Err != nil) {
			return errors.New("an update is refused if, and only if, the session is lost")
		}
		if s != nil {
			s.draining = s.draining || r.Draining
		}
	case *scheduler.LoseSession:
		if o.sessions[r.Session] != nil {
			o.lose(r.Session)
		}
	default:
		return o.governed(r, reply, now)
	}
	return nil
}

func expired(request string, now int64) bool {
	id, _ := ulid.ParseStrict(request)
	age := now - int64(id.Time())
	return age >= scheduler.RequestWindow || age < -scheduler.RequestWindow
}

// underDoom tells whether the execution or one above it, as far as the workspace goes, was ever cancelled with what is
// below it.
func (e *oracleExec) underDoom(workspace string) bool {
	return e != nil && e.workspace == workspace && (e.cancels || e.parent.underDoom(workspace))
}

func runOf(execution string) string {
	run, _, _ := strings.Cut(execution, ":")
	return run
}

func (o *oracle) report(r *scheduler.ReportResult, reply scheduler.Reply, now int64) error {
	e, code := o.speaks(r.Session, r.Execution)
	if e == nil {
		return refusedAs(reply, code)
	}
	if reply.Err != nil {
		return errors.New("a session that may speak was refused")
	}
	switch {
	case e.result != "":
	case e.doomed:
		e.result = "cancelled"
	default:
		e.result, e.ended = resultText(&r.Result), now
		if r.Result.Value != nil {
			e.refs = referred(r.Result.Value)
		}
		if !o.loses(e, &r.Result, now) {
			o.fails(e, &r.Result, now)
		}
		o.recurs(e, &r.Result, now)
		if r.Result.Type == state.ResultTimeout {
			for e.doomBelow(); e.before != nil && (e.before.result == "suspended" || e.before.resumed); {
				e = e.before
				e.doomBelow()
			}
		}
	}
	return nil
}

func (o *oracle) cancelHandles(r *scheduler.CancelHandles, reply scheduler.Reply) error {
	by, code := o.speaks(r.Session, r.Execution)
	if err := refusedAs(reply, code); err != nil || code != "" {
		return err
	}
	for _, h := range r.Handles {
		if o.cancelInput(by, h) {
			continue
		}
		if e := o.execs[h]; e != nil && o.rooms[e.workspace].project == o.rooms[by.workspace].project {
			o.cancel(e)
		}
	}
	return nil
}

func (o *oracle) cancel(e *oracleExec) {
	if e == nil {
		return
	}
	for e.before != nil {
		e = e.before
	}
	for ; e != nil; e = e.retry { // the attempts that follow each other are one call
		if e.result == "" {
			e.result = "cancelled"
		}
		e.doomBelow()
		if e.link != nil && e.link.spawnedBy == e {
			o.cancel(e.link)
			for _, c := range e.children { // every attempt of the root, whoever made it
				if c.result == "" && c.spawnedBy == e && c.workspace == e.workspace {
					c.result = "cancelled"
				}
			}
		}
	}
}

func (e *oracleExec) doomBelow() {
	e.cancels = true
	for _, c := range e.children {
		if c.workspace == e.workspace {
			c.doomed = c.doomed || c.result == ""
			c.doomBelow()
		}
	}
}

func (o *oracle) anyExecution(rng *rand.Rand) string {
	if len(o.order) == 0 {
		return ""
	}
	return o.order[rng.IntN(len(o.order))]
}

// unfinished names what has no result.
func (o *oracle) unfinished() string {
	var out []string
	for _, id := range o.order {
		if o.execs[id].result == "" {
			out = append(out, id)
		}
	}
	return strings.Join(out, " ")
}
