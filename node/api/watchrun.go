package api

import (
	"context"
	"net/http"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// runEvent is one event of a run's stream: the whole document first, then the steps that changed.
type runEvent struct {
	Index    uint64              `json:"index"`
	Document *runDoc             `json:"document,omitempty"`
	Steps    map[string]*stepDoc `json:"steps,omitempty"`
}

// streamRun sends the run document and then what changes, until the client goes or the node stops.
func (s *Server) streamRun(w http.ResponseWriter, r *http.Request) error {
	workspace, id := r.PathValue("workspace"), r.PathValue("run")
	reading, err := s.readWorkspace(w, r, workspace)
	if err != nil {
		return err
	}
	v, err := s.Backend.Beside(r.Context(), reading.View, id)
	if err != nil {
		return err
	}
	run, ok := seeRun(v, workspace, id)
	if !ok {
		return noRun(v, workspace, id)
	}
	ctx, done, ok := s.lasting(r)
	if !ok {
		return &Error{Code: CodeUnavailable, Message: "this node is stopping", Hint: "ask another node"}
	}
	defer done()
	out := newEvents(w)
	began := time.Now()
	watch := newRunWatch(run)
	doc := emptyRunDoc(v, run.Run)
	var changed *state.Watch
	doc.Steps, changed = watch.look(v)
	s.define(ctx, id, doc.Steps)
	if out.send(runEvent{Index: v.Index(), Document: doc}) != nil {
		return nil
	}
	last := time.Now()
	for {
		pause(ctx, time.Since(began))
		if v = s.nextView(ctx, changed); v == nil {
			return nil
		}
		if v, err = s.Backend.Beside(ctx, v, id); err != nil {
			return nil // it comes back
		}
		began = time.Now()
		var steps map[string]*stepDoc
		steps, changed = watch.look(v)
		s.define(ctx, id, steps)
		switch {
		case len(steps) > 0:
			err = out.send(runEvent{Index: v.Index(), Steps: steps})
			last = time.Now()
		case time.Since(last) >= aliveEvery:
			err = out.alive()
			last = time.Now()
		}
		if err != nil {
			return nil // the client is gone, or too slow
		}
	}
}

// nextView waits until something has changed, or for a while, and gives the view as it is then; nil when ctx ends.
func (s *Server) nextView(ctx context.Context, changed *state.Watch) *state.View {
	wait, cancel := context.WithTimeout(ctx, relook)
	_ = changed.Wait(wait) // looked at again in any case
	cancel()
	if ctx.Err() != nil {
		return nil
	}
	reading, err := s.Backend.Read(ctx, true)
	if err != nil {
		return nil
	}
	return reading.View
}

// maxExtras is how many unfinished executions are watched for new dependencies, groups and memo hits; those of the others are seen
// with the next change of the execution.
const maxExtras = 100

// runWatch finds the steps of a run that changed since it last looked. Rows are never changed in place, so that a row is
// the same as before exactly if its pointer is.
type runWatch struct {
	run  seenRun
	seen map[state.ExecutionID]*state.Execution
	// extras counts the dependencies, groups, memo hits and inputs, and responses to these, of unfinished executions, which come
	// without a change of the execution.
	extras map[state.ExecutionID]int
	// open are the executions that have the outcome of another, as long as there is none.
	open map[state.ExecutionID]bool
}

func newRunWatch(run seenRun) *runWatch {
	return &runWatch{run, map[state.ExecutionID]*state.Execution{}, map[state.ExecutionID]int{}, map[state.ExecutionID]bool{}}
}

// look gives the documents of the steps that are new or changed, and what to wait on for the next change.
func (w *runWatch) look(v *state.View) (map[string]*stepDoc, *state.Watch) {
	watching := v.Watching() // of what tells a change only, not of what the documents need
	dirty, extras := map[state.StepID]bool{}, map[state.ExecutionID]int{}
	for e := range watching.RunExecutions(w.run.ID, 0) {
		if !w.run.shows(e) {
			continue
		}
		id := e.ID()
		old := w.seen[id]
		if old != e {
			w.seen[id] = e
			dirty[id.StepID()] = true
		}
		if old == nil {
			markParent(v, id.StepID(), dirty)
		}
		if e.Result != nil && e.Result.Link != "" && (old != e || w.open[id]) {
			w.linked(watching, id, dirty)
		}
		if e.Session != "" && e.Result == nil && len(extras) < maxExtras {
			extras[id] = countExtras(watching, id)
			if extras[id] != w.extras[id] {
				dirty[id.StepID()] = true
			}
		}
	}
	w.extras = extras
	docs := map[string]*stepDoc{}
	for id := range dirty {
		if s := v.Step(id); s != nil {
			docs[id.String()] = newStepDoc(v, w.run, s)
		}
	}
	return docs, watching.Changed()
}

// linked looks whether an execution that has the outcome of another has it by now.
func (w *runWatch) linked(watching *state.View, id state.ExecutionID, dirty map[state.StepID]bool) {
	if scheduler.Outcome(watching, id) == nil {
		w.open[id] = true
	} else if w.open[id] {
		delete(w.open, id)
		dirty[id.StepID()] = true
	}
}

// markParent marks the step that called this one: its list of children has grown.
func markParent(v *state.View, id state.StepID, dirty map[state.StepID]bool) {
	if s := v.Step(id); s != nil && s.Parent != "" {
		if parent, ok := state.ParseExecutionID(s.Parent); ok {
			dirty[parent.StepID()] = true
		}
	}
}

func countExtras(v *state.View, id state.ExecutionID) (n int) {
	for d := range v.Dependencies(id) {
		n++
		if on, ok := state.ParseInputID(d.On); ok && ended(v.Input(on)) {
			n++
		}
	}
	for in := range v.InputsOf(id) {
		n++
		if ended(in) {
			n++
		}
	}
	for range v.Groups(id) {
		n++
	}
	for range v.PersistedBy(id) {
		n++
	}
	for range v.Hits(id) {
		n++
	}
	return n
}

// ended tells whether an input has its response.
func ended(in *state.Input) bool { return in != nil && in.Response != nil }
