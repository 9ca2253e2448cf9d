package pyexec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	maxLine       = 256 << 20       // a longer protocol line ends the execution: values of that size go into files
	maxOutputLine = 64 << 10        // a longer line of output is cut into pieces
	windUpLimit   = 5 * time.Second // from the final message to the end of the process
	readyLimit    = 60 * time.Second
	tailSize      = 2 << 10 // of what an executor said before it got a job
)

// executor is one process and its pipes; it runs at most one body. mu guards the fields below it.
type executor struct {
	pool       *Pool
	work       workDir
	valuesDir  string // for files of values; the SDK makes it when it needs one; removed at the end
	generation int
	lane       *lane
	proc       process
	proto      *tap
	out, err   *tap
	replies    *replies
	readied    chan error // gets one value: nil when the executor may be given a job
	exited     chan struct{}

	mu    sync.Mutex
	ready bool
	body  *body
	dead  bool
	held  bool   // files of the result are still read
	clean func() // removes what the process left, once it is gone and nothing is held
	tail  []byte
	limit *time.Timer
}

// startExecutor makes a process, a fork of the lane's template if from is one, and returns it before it is ready.
func startExecutor(p *Pool, sp spawner, seq uint64, l *lane, from uint64) (*executor, error) {
	name := fmt.Sprintf("x%d", seq)
	work, err := p.dirs.take(name)
	if err != nil {
		return nil, err
	}
	e := &executor{
		pool: p, work: work, valuesDir: filepath.Join(p.cfg.Scratch, name+"-values"), generation: p.generation(), lane: l,
		readied: make(chan error, 1), exited: make(chan struct{}),
	}
	if err := e.launch(sp, from); err != nil {
		p.dirs.give(work)
		return nil, err
	}
	return e, nil
}

func (e *executor) launch(sp spawner, from uint64) error {
	foreign := e.lane.py.foreign
	ps, err := makePipes(foreign)
	if err != nil {
		return err
	}
	defer ps.closeChild()
	e.replies = newReplies(ps.cmdW)
	if e.proto, err = newTap(ps.protoR, maxLine, false); err != nil {
		ps.closeAll()
		return err
	}
	e.proto.onLine, e.proto.onLong = e.onLine, e.onLong
	if e.err, err = newTap(ps.errR, maxOutputLine, true); err != nil {
		ps.closeAll()
		return err
	}
	e.err.onLine = func(line []byte) { e.onOutput(3, line) }
	e.err.before = e.proto.drain // what the body said in messages before it wrote this comes first
	if !foreign {
		if e.out, err = newTap(ps.outR, maxOutputLine, true); err != nil {
			ps.closeAll()
			return err
		}
		e.out.onLine = func(line []byte) { e.onOutput(1, line) }
		e.out.before = e.proto.drain
	}
	started := make(chan struct{})
	proc, err := sp.spawn(e.lane.py.executeSpec(from, ps.childFiles(foreign, e.pool.null)), func(s exitStatus) {
		go func() {
			<-started
			e.onExit(s)
		}()
	})
	if err != nil {
		ps.closeAll()
		return err
	}
	e.proc = proc
	e.limit = time.AfterFunc(readyLimit, e.kill)
	for _, t := range e.taps() {
		go t.pump()
	}
	close(started)
	return nil
}

func (e *executor) taps() []*tap {
	if e.out == nil {
		return []*tap{e.proto, e.err}
	}
	return []*tap{e.out, e.err, e.proto}
}

func (e *executor) kill() { e.proc.kill() }

// end is kill for bodies that are cancelled or out of time: they are asked first, if the node grants that.
func (e *executor) end() {
	if e.pool.cfg.KillGrace < time.Millisecond {
		e.proc.kill()
		return
	}
	e.proc.end(e.pool.cfg.KillGrace)
}

// assign gives the executor its one job, after readied said nil; false if the executor is dead already.
func (e *executor) assign(b *body) bool {
	e.mu.Lock()
	if e.dead {
		e.mu.Unlock()
		return false
	}
	b.exec = e
	e.body = b
	e.tail = nil
	e.mu.Unlock()
	if !e.pool.attach(b, e) {
		e.kill()
		return true
	}
	line, err := e.executeLine(b)
	if err != nil {
		b.deliver(Result{Error: internal(err.Error())})
		e.kill()
		return true
	}
	e.boundMemory(b.limits.Memory)
	if b.job.Timeout > 0 {
		b.mu.Lock()
		b.timer = time.AfterFunc(b.job.Timeout, b.expire)
		b.mu.Unlock()
	}
	e.replies.send(line)
	b.trace("written")
	return true
}

// boundMemory bounds what the process uses together with all that it will start, where that is possible; each of them has
// the limit by itself anyway.
func (e *executor) boundMemory(limit int64) {
	if limit == 0 {
		return
	}
	p := e.pool
	why := p.groups.why
	if p.groups.dir != "" {
		if err := e.proc.bound(limit); err != nil {
			why = err.Error()
		}
	}
	if why != "" && p.first("bound") {
		p.log.Info("limits of memory bound each process of an execution, not all of them together", "reason", why)
	}
}

func (e *executor) executeLine(b *body) ([]byte, error) {
	type params struct {
		ExecutionID string  `json:"execution_id"`
		Module      string  `json:"module"`
		Target      string  `json:"target"`
		Arguments   []Value `json:"arguments"`
		WorkingDir  string  `json:"working_dir"`
		ValuesDir   string  `json:"values_dir,omitempty"`
		Snapshot    string  `json:"snapshot,omitempty"`
	}
	job := b.job
	p := params{
		ExecutionID: job.ExecutionID, Module: job.Module, Target: job.Target, Arguments: job.Arguments,
		WorkingDir: e.work.path, Snapshot: b.snapshot,
	}
	if p.Arguments == nil {
		p.Arguments = []Value{}
	}
	if !e.lane.py.foreign {
		p.ValuesDir = e.valuesDir
	}
	line, err := json.Marshal(struct {
		Method string `json:"method"`
		Params params `json:"params"`
	}{"execute", p})
	if err != nil {
		return nil, fmt.Errorf("an argument is not JSON: %w", err)
	}
	return append(line, '\n'), nil
}

// onLine handles one protocol line; the tap calls it one line at a time.
func (e *executor) onLine(line []byte) {
	var m message
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	if err := json.Unmarshal(line, &m); err != nil {
		e.pool.log.Error("an executor sent a line that is not a JSON object; ignored", "error", err)
		return
	}
	e.mu.Lock()
	ready, b := e.ready, e.body
	e.mu.Unlock()
	if !ready {
		e.greet(m)
		return
	}
	if b != nil {
		e.dispatch(b, m)
	}
}

func (e *executor) dispatch(b *body, m message) {
	if b.killed.Load() || b.finished() {
		return
	}
	f, ok := frames[m.Method]
	if !ok {
		b.deliver(Result{Error: internal("unknown message method: " + m.Method)})
		return
	}
	if f.request && m.ID == nil {
		e.pool.log.Error("an executor sent a request without id; ignored", "method", m.Method)
		return
	}
	var id int64
	if m.ID != nil {
		id = *m.ID
	}
	err := f.handle(b, id, m.Params)
	switch {
	case err == nil:
	case f.request:
		e.replies.ordered(id, f.code).answer(nil, err)
	default:
		e.pool.warnOnce(m.Method, err)
	}
}

func (e *executor) onLong() {
	e.mu.Lock()
	b := e.body
	e.mu.Unlock()
	if b != nil {
		b.deliver(Result{Error: internal(fmt.Sprintf("a message is longer than %d MiB; pass such a value as a file", maxLine>>20))})
	}
	e.kill()
}

// greet checks the first message.
func (e *executor) greet(m message) {
	err := checkReady(m)
	e.mu.Lock()
	e.ready = err == nil
	if e.limit != nil {
		e.limit.Stop()
	}
	e.mu.Unlock()
	e.sayReady(err)
	if err != nil {
		e.kill()
	}
}

func (e *executor) sayReady(err error) {
	select {
	case e.readied <- err:
	default:
	}
}

// onOutput takes a line from descriptor 1 or 2.
func (e *executor) onOutput(level int, line []byte) {
	line = bytes.TrimRight(line, "\r")
	if len(line) == 0 {
		return
	}
	e.mu.Lock()
	b := e.body
	if b == nil {
		e.tail = append(append(e.tail, line...), '\n')
		if extra := len(e.tail) - tailSize; extra > 0 {
			e.tail = append([]byte(nil), e.tail[extra:]...)
		}
	}
	e.mu.Unlock()
	if b == nil {
		return
	}
	text := string(line)
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	b.output(level, text)
}

func (e *executor) drainOutput() {
	for _, t := range e.taps() {
		if t != e.proto {
			t.drain()
			t.flush()
		}
	}
}

// windUp lets the executor end by itself for a while, then kills it.
func (e *executor) windUp() {
	e.replies.close()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.dead {
		if e.limit != nil {
			e.limit.Stop()
		}
		e.limit = time.AfterFunc(windUpLimit, e.kill)
	}
}

// onExit is the reaper's word: the group is gone. What is in the pipes still counts.
func (e *executor) onExit(s exitStatus) {
	e.mu.Lock()
	b := e.body
	e.mu.Unlock()
	if b != nil && s.Gone {
		b.outcome(s) // nothing more counts
	}
	e.proto.finish()
	if e.out != nil {
		e.out.finish()
	}
	e.err.finish()
	e.replies.close()
	e.mu.Lock()
	e.dead = true
	b = e.body
	if e.limit != nil {
		e.limit.Stop()
	}
	tail := strings.TrimSpace(string(e.tail))
	e.mu.Unlock()
	e.sayReady(startError(s, tail))
	e.pool.onExit(e, s)
	if b != nil {
		b.end(b.outcome(s))
	}
	e.mu.Lock()
	e.clean = func() {
		removeTree(e.valuesDir)
		e.giveBack(s)
	}
	held := e.held
	e.mu.Unlock()
	if !held {
		e.clean()
	}
	close(e.exited)
	e.pool.wg.Done()
}

// giveBack lets the directory be used again, unless the guard did not see the end of all that may be in it.
func (e *executor) giveBack(s exitStatus) {
	if s.Gone {
		removeTree(e.work.path)
		return
	}
	e.pool.dirs.give(e.work)
}
