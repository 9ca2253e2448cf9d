package api

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// runDoc is the run document.
type runDoc struct {
	CreatedAt int64               `json:"createdAt"`
	CreatedBy *actor              `json:"createdBy"`
	Parent    *execRef            `json:"parent"`
	Requires  map[string][]string `json:"requires"`
	Steps     map[string]*stepDoc `json:"steps"`
}

type stepDoc struct {
	StepNumber  int                      `json:"stepNumber"`
	Module      string                   `json:"module"`
	Target      string                   `json:"target"`
	ParentID    *string                  `json:"parentId"`
	Arguments   []*valueDoc              `json:"arguments"`
	CacheConfig *Cache                   `json:"cacheConfig"`
	CacheKey    *string                  `json:"cacheKey"`
	MemoKey     *string                  `json:"memoKey"`
	Retries     *Retries                 `json:"retries"`
	Recurrent   bool                     `json:"recurrent"`
	Durable     bool                     `json:"durable,omitempty"`
	Timeout     int64                    `json:"timeout"`
	Requires    map[string][]string      `json:"requires"`
	CreatedAt   int64                    `json:"createdAt"`
	Executions  map[string]*executionDoc `json:"executions"` // by attempt
}

type executionDoc struct {
	ExecutionID  string                  `json:"executionId"`
	WorkspaceID  string                  `json:"workspaceId"`
	Node         *string                 `json:"node"`
	CreatedAt    int64                   `json:"createdAt"`
	CreatedBy    *actor                  `json:"createdBy"`
	ExecuteAfter *int64                  `json:"executeAfter"`
	AssignedAt   *int64                  `json:"assignedAt"`
	CompletedAt  *int64                  `json:"completedAt"`
	Groups       map[string]*string      `json:"groups"`
	Assets       map[string]assetSummary `json:"assets"`
	Dependencies map[string]any          `json:"dependencies"` // resultDependency, inputDependency or assetReference
	Children     []childDoc              `json:"children"`
	Inputs       map[string]inputStatus  `json:"inputs"`
	Result       any                     `json:"result"`
	Metrics      map[string]any          `json:"metrics"`
}

type resultDependency struct {
	Type      string  `json:"type"`
	Execution execRef `json:"execution"`
}

type inputDependency struct {
	Type    string `json:"type"`
	InputID string `json:"inputId"`
	inputStatus
}

func newDependency(v *state.View, d *state.Dependency) any {
	on := d.On
	if d.BlobKey != "" {
		return newAssetReference(v, state.Reference{ID: on})
	}
	if id, ok := state.ParseInputID(on); ok {
		doc := inputDependency{Type: "input", InputID: on}
		if in := v.Input(id); in != nil {
			doc.inputStatus = newInputStatus(in)
		}
		return doc
	}
	return resultDependency{"result", newExecRef(v, on, "", "")}
}

type childDoc struct {
	StepID  string `json:"stepId"`
	Attempt int    `json:"attempt"`
	GroupID *int   `json:"groupId"`
}

// seenRun is a run as seen from a workspace of its project: with the executions of its own workspace and of that one;
// steps without such are hidden (semantics 18).
type seenRun struct {
	*state.Run
	from string
}

// seeRun gives a run as seen from a workspace; ok is false when there is none in the workspace's project.
func seeRun(v *state.View, workspace, id string) (r seenRun, ok bool) {
	run := v.Run(id)
	if run == nil || run.Workspace != workspace && v.Project(run.Workspace) != v.Project(workspace) {
		return seenRun{}, false
	}
	return seenRun{run, workspace}, true
}

func (r seenRun) shows(e *state.Execution) bool {
	return e.Workspace == r.Workspace || e.Workspace == r.from
}

// root is the latest attempt of the root step that is shown, nil when there is none.
func (r seenRun) root(v *state.View) (latest *state.Execution) {
	for e := range v.Attempts(state.StepID{Run: r.ID, Number: 1}) {
		if r.shows(e) {
			latest = e
		}
	}
	return latest
}

// newRunDoc builds the whole document; nil for a run that is not to be seen from the workspace.
func newRunDoc(v *state.View, workspace, id string) *runDoc {
	run, ok := seeRun(v, workspace, id)
	if !ok {
		return nil
	}
	doc := emptyRunDoc(v, run.Run)
	for step := range v.Steps(id) {
		if d := newStepDoc(v, run, step); len(d.Executions) > 0 {
			doc.Steps[step.ID().String()] = d
		}
	}
	return doc
}

func emptyRunDoc(v *state.View, run *state.Run) *runDoc {
	doc := &runDoc{CreatedAt: run.CreatedAt, Requires: tags(run.Requires), Steps: map[string]*stepDoc{}}
	if run.Parent != "" {
		parent := newExecRef(v, run.Parent, "", "")
		doc.Parent = &parent
	}
	return doc
}

func newStepDoc(v *state.View, run seenRun, s *state.Step) *stepDoc {
	doc := &stepDoc{
		StepNumber: s.Number, Module: s.Module, Target: s.Target, ParentID: textOrNil(s.Parent), Arguments: []*valueDoc{},
		CacheConfig: newCache(s.Cache), CacheKey: keyStart(s.CacheKey), MemoKey: keyStart(s.MemoKey), Retries: newRetries(s.Retries),
		Timeout: s.Timeout, Requires: tags(s.Requires), Recurrent: s.Recurrent, Durable: s.Durable, CreatedAt: s.CreatedAt,
		Executions: map[string]*executionDoc{},
	}
	for i := range s.Arguments {
		doc.Arguments = append(doc.Arguments, newValueDoc(v, &s.Arguments[i]))
	}
	for e := range v.Attempts(s.ID()) {
		if run.shows(e) {
			doc.Executions[strconv.Itoa(e.Attempt)] = newExecutionDoc(v, e)
		}
	}
	return doc
}

func newCache(c *state.Cache) *Cache {
	if c == nil {
		return nil
	}
	params := json.RawMessage("true")
	if !c.All {
		params, _ = json.Marshal(orEmpty(c.Params)) // never fails
	}
	return &Cache{Params: params, MaxAge: c.MaxAge, Namespace: textOrNil(c.Namespace), Version: textOrNil(c.Version)}
}

func newRetries(r *state.Retries) *Retries {
	if r == nil {
		return nil
	}
	return &Retries{Limit: r.Limit, BackoffMin: r.BackoffMin, BackoffMax: r.BackoffMax}
}

func newExecutionDoc(v *state.View, e *state.Execution) *executionDoc {
	doc := &executionDoc{
		ExecutionID: e.ID().String(), WorkspaceID: e.Workspace, Node: nodeName(v, e), CreatedAt: e.CreatedAt,
		ExecuteAfter: timeOrNil(e.ExecuteAfter), AssignedAt: timeOrNil(e.AssignedAt), CompletedAt: timeOrNil(e.CompletedAt),
		Groups: map[string]*string{}, Assets: assetsOf(v, e.ID()), Dependencies: map[string]any{},
		Children: []childDoc{}, Inputs: inputsOf(v, e.ID()), Result: newResultDoc(v, e.Result), Metrics: map[string]any{},
	}
	for g := range v.Groups(e.ID()) {
		doc.Groups[strconv.Itoa(g.ID)] = textOrNil(g.Name)
	}
	for d := range v.Dependencies(e.ID()) {
		doc.Dependencies[d.On] = newDependency(v, d)
	}
	doc.Children = newChildDocs(v, e.ID())
	return doc
}

// newChildDocs lists what an execution called, in the order of its calls: the steps that it made, and, each once, those
// that were there already.
func newChildDocs(v *state.View, parent state.ExecutionID) []childDoc {
	type call struct {
		request int64
		doc     childDoc
	}
	var calls []call
	for c := range v.Children(parent) {
		calls = append(calls, call{c.Request, childDoc{c.ID().String(), 1, c.Group}})
	}
	made := len(calls)
	for h := range v.Hits(parent) {
		if id, ok := state.ParseExecutionID(h.Execution); ok {
			calls = append(calls, call{h.Request, childDoc{id.StepID().String(), id.Attempt, h.Group}})
		}
	}
	if len(calls) > made {
		slices.SortFunc(calls, func(a, b call) int { return cmp.Compare(a.request, b.request) })
	}
	docs, seen := []childDoc{}, map[string]bool{}
	for _, c := range calls {
		name := c.doc.StepID + ":" + strconv.Itoa(c.doc.Attempt)
		if len(calls) > made && seen[name] {
			continue
		}
		seen[name] = true
		docs = append(docs, c.doc)
	}
	return docs
}

// keyStart is as much of a key as is shown.
func keyStart(key string) *string {
	return textOrNil(key[:min(len(key), 10)])
}

// nodeName is the name of the node that an execution was given to.
func nodeName(v *state.View, e *state.Execution) *string {
	if e.Node == "" {
		return nil
	}
	if m := v.Member(e.Node); m != nil && m.Name != "" {
		return &m.Name
	}
	if s := v.Session(e.Session); s != nil && s.NodeName != "" {
		return &s.NodeName
	}
	return &e.Node
}

func timeOrNil(ms int64) *int64 {
	if ms == 0 {
		return nil
	}
	return &ms
}
