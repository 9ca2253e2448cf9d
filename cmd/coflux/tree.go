package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// treeLines draws a run: a line per step, children below their parent, a named group of several
// children as one line with its first member. progress may be nil.
func treeLines(runID string, doc *client.Run, now time.Time, progress *bars) []line {
	t := &tree{runID: runID, doc: doc, now: now, progress: progress, seen: map[string]bool{}}
	t.step(runID+":1", 0)
	// Steps that no latest attempt points to (children of an earlier attempt) come behind.
	for _, id := range sortedSteps(doc) {
		t.step(id, 1)
	}
	return t.lines
}

type tree struct {
	runID    string
	doc      *client.Run
	now      time.Time
	progress *bars
	seen     map[string]bool
	lines    []line
}

func sortedSteps(doc *client.Run) []string {
	ids := make([]string, 0, len(doc.Steps))
	for id := range doc.Steps {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool { return doc.Steps[ids[i]].StepNumber < doc.Steps[ids[j]].StepNumber })
	return ids
}

func (t *tree) step(id string, depth int) {
	s := t.doc.Steps[id]
	if s == nil || t.seen[id] {
		return
	}
	t.seen[id] = true
	t.lines = append(t.lines, t.stepLine(s, depth))
	if _, e := s.Latest(); e != nil {
		for _, asset := range slices.Sorted(maps.Keys(e.Assets)) {
			t.lines = append(t.lines, assetLine(asset, e.Assets[asset], depth+1))
		}
		t.children(e, depth+1)
	}
}

// assetLine names an asset that an execution has made.
func assetLine(id string, a client.AssetSummary, depth int) line {
	text := referenceText(client.Reference{Type: "asset", Asset: &a})
	return line{{plain, strings.Repeat("  ", depth)}, {dim, "asset " + id + " "}, {plain, text[len("<asset ") : len(text)-1]}}
}

func (t *tree) children(e *client.Execution, depth int) {
	groups := map[int][]string{}
	for _, c := range e.Children {
		if c.GroupID != nil {
			groups[*c.GroupID] = append(groups[*c.GroupID], c.StepID)
		}
	}
	drawn := map[int]bool{}
	for _, c := range e.Children {
		switch {
		case c.GroupID == nil || len(groups[*c.GroupID]) == 1:
			t.step(c.StepID, depth)
		case !drawn[*c.GroupID]:
			drawn[*c.GroupID] = true
			name := e.Groups[fmt.Sprint(*c.GroupID)]
			t.lines = append(t.lines, t.groupLine(name, groups[*c.GroupID], depth))
			t.step(c.StepID, depth+1)
			for _, id := range groups[*c.GroupID] {
				t.hide(id)
			}
		}
	}
}

// hide marks a step and what is below it as drawn.
func (t *tree) hide(id string) {
	s := t.doc.Steps[id]
	if s == nil || t.seen[id] {
		return
	}
	t.seen[id] = true
	if _, e := s.Latest(); e != nil {
		for _, c := range e.Children {
			t.hide(c.StepID)
		}
	}
}

func (t *tree) groupLine(name *string, members []string, depth int) line {
	count := map[string]int{}
	for _, id := range members {
		if s := t.doc.Steps[id]; s != nil {
			_, e := s.Latest()
			count[stateOf(e)]++
		}
	}
	title := "(group)"
	if name != nil && *name != "" {
		title = *name
	}
	text := fmt.Sprintf("%s 1 of %d", title, len(members))
	var parts []string
	for _, c := range []struct{ state, word string }{{"queued", "pending"}, {"running", "running"}, {"failed", "error"}} {
		if n := count[c.state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, c.word))
		}
	}
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	return line{{plain, strings.Repeat("  ", depth)}, {dim, "▸ "}, {bold, text}}
}

// stateOf is queued, running, done, followed (by another attempt: suspended or recurred) or failed.
func stateOf(e *client.Execution) string {
	switch {
	case e == nil || e.Result == nil && e.AssignedAt == nil:
		return "queued"
	case e.Result == nil || e.Result.Open():
		return "running"
	case e.Result.Successor != nil:
		return "followed"
	case e.Result.OK():
		return "done"
	}
	return "failed"
}

func (t *tree) stepLine(s *client.Step, depth int) line {
	attempt, e := s.Latest()
	bullet := map[string]span{
		"queued": {dim, "○ "}, "followed": {dim, "○ "}, "running": {cyan, "◐ "}, "done": {green, "● "}, "failed": {red, "✗ "},
	}[stateOf(e)]
	l := line{{plain, strings.Repeat("  ", depth)}, bullet,
		{dim, fmt.Sprintf("%d:%d ", s.StepNumber, attempt)}, {bold, s.Module + "/" + s.Target}}
	if s.StepNumber == 1 {
		l = append(l, span{dim, " [" + t.runID + "]"})
	}
	l = append(l, t.facts(e, s.Suspended(attempt))...)
	if before := s.Failed(attempt); before != nil && (e.Result == nil || !e.Result.OK()) {
		l = append(l, span{dim, "  after " + cmp.Or(resultNote(before), before.Type)})
	}
	return l
}

// facts are where a step ran, how long, and what became of it. suspended: it follows an attempt that was.
func (t *tree) facts(e *client.Execution, suspended bool) line {
	var l line
	if e != nil && e.Node != nil {
		l = append(l, span{cyan, "  " + *e.Node})
	}
	if d, ok := elapsed(e, t.now); ok {
		l = append(l, span{dim, "  " + shortDuration(d)})
	}
	note := annotation(e, t.now)
	if suspended && note == "Queued" {
		note = "suspended"
	}
	if note != "" {
		style := yellow
		if stateOf(e) == "failed" {
			style = red
		}
		l = append(l, span{style, "  " + note})
	}
	if e != nil && e.Result == nil {
		for _, b := range t.progress.of(e.ExecutionID) {
			l = append(l, span{cyan, "  " + b.text()})
		}
	}
	return l
}

// elapsed is the time since the execution was given to a node.
func elapsed(e *client.Execution, now time.Time) (time.Duration, bool) {
	if e == nil || e.AssignedAt == nil {
		return 0, false
	}
	end := now
	if e.CompletedAt != nil {
		end = time.UnixMilli(*e.CompletedAt)
	}
	return max(end.Sub(time.UnixMilli(*e.AssignedAt)), 0), true
}

// annotation is the state of an execution in words; none for one that returned.
func annotation(e *client.Execution, now time.Time) string {
	switch {
	case e != nil && e.Result == nil && e.AssignedAt == nil && e.ExecuteAfter != nil && *e.ExecuteAfter > now.UnixMilli():
		return "Due in " + shortDuration(time.UnixMilli(*e.ExecuteAfter).Sub(now))
	case e == nil || e.Result == nil && e.AssignedAt == nil:
		return "Queued"
	case e.Result == nil:
		return "Running..."
	}
	return resultNote(e.Result)
}

func resultNote(r *client.Result) string {
	switch r.Type {
	case client.ResultValue:
		return ""
	case client.ResultError:
		if r.Error == nil {
			return "error"
		}
		message, _, _ := strings.Cut(r.Error.Message, "\n")
		return typeName(r.Error) + ": " + message
	case client.ResultCached:
		return "(cached)"
	case client.ResultCancelled:
		return "(cancelled)"
	case client.ResultAbandoned:
		return "(abandoned)"
	case client.ResultSpawned:
		if r.Execution == nil {
			return "spawned"
		}
		run, _, _ := strings.Cut(r.Execution.ExecutionID, ":")
		if r.Result == nil {
			return "[" + run + "] Running..."
		}
		return strings.TrimSpace("[" + run + "] " + resultNote(r.Result))
	}
	return r.Type
}
