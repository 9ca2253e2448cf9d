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
	index    uint64
	time     int64
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
	doomed    bool        // under a cancellation
	forsaken  bool        // its session was lost
	cancels   bool        // it was cancelled with all below it
	needs     map[string]map[string]bool
	made      int64
	memo      string
	// recurrent, and after which time the next attempt starts.
	recurrent bool
	delay     int64
	hits      map[int64]string // by number of the request
}

func newOracle() *oracle {
	return &oracle{execs: map[string]*oracleExec{}, sessions: map[string]*oracleSession{}, rooms: map[string]*oracleRoom{}, byULID: map[string]string{},
		byKey: map[string]oracleKey{}, runs: map[string]int{}, runTags: map[string]state.Tags{}, runMemo: map[string]bool{}}
}

// resultText is a result in a form that can be compared.
func resultText(r *state.Result) string {
	text := r.Type.String()
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
	o.index, o.time = v.Index(), v.Time()
	for i, reply := range t.out.Replies {
		r := t.batch[i].request
		if err := o.request(r, reply, t.now); err != nil {
			return fmt.Errorf("%s %+v answered %+v %v: %w", scheduler.Name(r), r, reply.Answer, reply.Err, err)
		}
	}
	if err := o.compare(t, v); err != nil {
		return err // the books do not fit what the others look at
	}
	return errors.Join(o.placement(t, v), o.reasons(v))
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
	case *scheduler.Cancel:
		e := o.execs[r.Execution]
		if known := e != nil && e.workspace == r.Workspace && o.live(r.Workspace); known != (reply.Err == nil) {
			return errors.New("a cancel is refused if, and only if, the execution is not known in the workspace")
		} else if known {
			o.cancel(e)
		}
	case *scheduler.CancelHandles:
		return o.cancelHandles(r, reply)
	case *scheduler.OpenSession:
		return o.open(r, reply)
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

func (o *oracle) submitRun(r *scheduler.SubmitRun, reply scheduler.Reply, now int64) error {
	expired := expired(r.RequestID, now)
	known := o.byULID[r.RequestID]
	if reply.Err != nil {
		if reply.Err.Code == scheduler.CodeExpired && expired {
			return nil
		}
		if known == "" && !o.live(r.Workspace) {
			return nil
		}
		return errors.New("a good submission was refused")
	}
	run, key := reply.Answer.RunID, r.Workspace+" "+r.IdempotencyKey
	if k := o.byKey[key]; known == "" && r.IdempotencyKey != "" && k.expires > now {
		known = k.run
	}
	if known != "" {
		if run != known {
			return fmt.Errorf("the same request made run %s before", known)
		}
		return nil
	}
	if expired {
		return errors.New("an expired request was executed")
	}
	if !o.live(r.Workspace) {
		return errors.New("an archived workspace took a run")
	}
	if _, taken := o.runs[run]; taken {
		return errors.New("another request made that run")
	}
	o.runs[run] = 0
	o.byULID[r.RequestID] = run
	if r.IdempotencyKey != "" {
		o.byKey[key] = oracleKey{run, now + scheduler.IdempotencyWindow}
	}
	root := &oracleExec{id: reply.Answer.ExecutionID, workspace: r.Workspace, due: now + r.Delay, retries: r.Retries, made: now,
		recurrent: r.Recurrent, delay: r.Delay}
	root.need(r.Requires, nil)
	o.runTags[run], o.runMemo[run] = r.Requires, r.Memo
	return o.add(root, run)
}

func expired(request string, now int64) bool {
	id, _ := ulid.ParseStrict(request)
	age := now - int64(id.Time())
	return age >= scheduler.RequestWindow || age < -scheduler.RequestWindow
}

// rerun makes one more attempt of a step; unfinished ones are cancelled with all below them.
func (o *oracle) rerun(r *scheduler.RerunStep, reply scheduler.Reply, now int64) error {
	if reply.Err != nil && reply.Err.Code == scheduler.CodeExpired && expired(r.RequestID, now) {
		return nil
	}
	if known := o.byULID[r.RequestID]; known != "" {
		if reply.Err != nil || reply.Answer.ExecutionID != known {
			return fmt.Errorf("the same request made %s before", known)
		}
		return nil
	}
	first := o.execs[r.Step+":1"]
	allowed := first != nil && o.live(r.Workspace) && o.inherits(r.Workspace, first.workspace)
	if reply.Err != nil {
		if !allowed || first.parent != nil && first.parent.underDoom(r.Workspace) {
			return nil
		}
		return errors.New("a good re-run was refused")
	}
	if !allowed {
		return errors.New("run again in a workspace that does not inherit from that of the step")
	}
	attempts := 0
	for _, id := range o.order {
		if e := o.execs[id]; strings.HasPrefix(id, r.Step+":") {
			attempts++
			if e.result == "" && e.workspace == r.Workspace {
				o.cancel(e)
			}
		}
	}
	if want := fmt.Sprintf("%s:%d", r.Step, attempts+1); reply.Answer.ExecutionID != want {
		return fmt.Errorf("the new attempt is %s, want %s", reply.Answer.ExecutionID, want)
	}
	o.byULID[r.RequestID] = reply.Answer.ExecutionID
	o.again(first, r.Workspace, now).made = now
	return nil
}

// again books one more attempt of a step in a workspace.
func (o *oracle) again(of *oracleExec, workspace string, due int64) *oracleExec {
	step := of.id[:strings.LastIndexByte(of.id, ':')]
	n := 1
	for o.execs[fmt.Sprintf("%s:%d", step, n)] != nil {
		n++
	}
	e := &oracleExec{id: fmt.Sprintf("%s:%d", step, n), workspace: workspace, number: of.number, parent: of.parent, due: due, retries: of.retries,
		needs: of.needs, memo: of.memo, recurrent: of.recurrent, delay: of.delay}
	if e.parent != nil {
		e.parent.children = append(e.parent.children, e)
	}
	o.execs[e.id] = e
	o.order = append(o.order, e.id)
	return e
}

// underDoom tells whether the execution or one above it, as far as the workspace goes, was ever cancelled with what is
// below it.
func (e *oracleExec) underDoom(workspace string) bool {
	return e != nil && e.workspace == workspace && (e.cancels || e.parent.underDoom(workspace))
}

func (o *oracle) add(e *oracleExec, run string) error {
	o.runs[run]++
	if want := fmt.Sprintf("%s:%d:1", run, o.runs[run]); e.id != want {
		return fmt.Errorf("the new execution is %s, want %s", e.id, want)
	}
	o.execs[e.id] = e
	o.order = append(o.order, e.id)
	return nil
}

func runOf(execution string) string {
	run, _, _ := strings.Cut(execution, ":")
	return run
}

func (o *oracle) submitStep(r *scheduler.SubmitStep, reply scheduler.Reply, now int64) error {
	parent, code := o.speaks(r.Session, r.Parent)
	if parent != nil {
		for _, c := range parent.children {
			if c.number == r.Number {
				if reply.Err != nil || reply.Answer.ExecutionID != c.id {
					return fmt.Errorf("the same request made %s before", c.id)
				}
				return nil
			}
		}
	}
	if parent != nil && parent.hits[r.Number] != "" {
		if reply.Err != nil || reply.Answer.ExecutionID != parent.hits[r.Number] {
			return fmt.Errorf("the same request found %s before", parent.hits[r.Number])
		}
		return nil
	}
	if err := refusedAs(reply, code); err != nil || code != "" {
		return err
	}
	memo := o.memoOf(runOf(parent.id), r)
	if made, err := o.hit(parent, r, memo, reply.Answer.ExecutionID); !made {
		return err
	}
	child := &oracleExec{id: reply.Answer.ExecutionID, workspace: parent.workspace, number: r.Number, parent: parent, due: now + r.Delay,
		retries: r.Retries, made: now, memo: memo, recurrent: r.Recurrent, delay: r.Delay}
	child.need(o.runTags[reply.Answer.RunID], r.Requires)
	parent.children = append(parent.children, child)
	return o.add(child, reply.Answer.RunID)
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
		e.result = resultText(&r.Result)
		o.fails(e, &r.Result, now)
		o.recurs(e, &r.Result, now)
		if r.Result.Type == state.ResultTimeout {
			e.doomBelow()
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
