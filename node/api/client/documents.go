package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Document is a read: the decoded value, the text it came as, and how fresh it is.
type Document[T any] struct {
	Value    T
	Raw      json.RawMessage
	Index    uint64        // of the state it was read from
	Stale    bool          // read without asking the leader
	StaleFor time.Duration // time since the node last heard from a leader; meant only if Stale
}

// read fetches a document, from the node's own copy if there is no quorum and the client allows it.
func read[T any](ctx context.Context, c *Client, path string, query url.Values) (Document[T], error) {
	return readCall[T](ctx, c, call{method: http.MethodGet, path: path, idempotent: true}, query)
}

// readCall is read for a call that is not a plain GET; the query is added to its path.
func readCall[T any](ctx context.Context, c *Client, cl call, query url.Values) (Document[T], error) {
	path := cl.path
	var doc Document[T]
	stale := url.Values{"consistency": {"stale"}}
	for k, v := range query {
		stale[k] = v
	}
	if c.Stale {
		query, doc.Stale = stale, true
	}
	cl.path = withQuery(path, query)
	rep, err := c.do(ctx, cl)
	fallBack := IsCode(err, CodeNoQuorum) && !doc.Stale && c.OnStale != nil
	if fallBack {
		cl.path = withQuery(path, stale)
		rep, err = c.do(ctx, cl)
		doc.Stale = true
	}
	if err != nil {
		return doc, err
	}
	if n, ok := headerInt(rep.header, "Coflux-Index"); ok {
		doc.Index = uint64(n)
	}
	if n, ok := headerInt(rep.header, "Coflux-Stale-For"); ok {
		doc.StaleFor = time.Duration(n) * time.Millisecond
	}
	doc.Raw = rep.body
	if err := json.Unmarshal(rep.body, &doc.Value); err != nil {
		return doc, fmt.Errorf("decode the reply to %s: %w", path, err)
	}
	if fallBack {
		c.OnStale(doc.StaleFor)
	}
	return doc, nil
}

func withQuery(path string, query url.Values) string {
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// topic builds "/topics/a/b", each part as one segment.
func topic(parts ...string) string {
	var b strings.Builder
	b.WriteString("/topics")
	for _, p := range parts {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(p))
	}
	return b.String()
}

// Parameter of a target; Default is JSON text.
type Parameter struct {
	Name       string  `json:"name"`
	Annotation *string `json:"annotation"`
	Default    *string `json:"default"`
}

// Manifest is what is shown of one registered workflow.
type Manifest struct {
	Parameters []Parameter `json:"parameters"`
	Limits     *Limits     `json:"limits"` // nil = none of its own
}

// Limits are what each process of an execution may use; 0 = no bound.
type Limits struct {
	Memory int64 `json:"memory,omitempty"` // bytes
	CPU    int64 `json:"cpu,omitempty"`    // seconds of processor time
	Files  int64 `json:"files,omitempty"`  // open files
}

// Manifests lists the registered workflows, module -> name.
func (c *Client) Manifests(ctx context.Context, workspace string) (Document[map[string]map[string]Manifest], error) {
	return read[map[string]map[string]Manifest](ctx, c, topic("workspaces", workspace, "manifests"), nil)
}

// RegisterManifests makes known which workflows modules have: module -> name -> definition. Modules that are not named stay
// as they are. It is repeated as a submission is.
func (c *Client) RegisterManifests(ctx context.Context, workspace string, modules map[string]map[string]json.RawMessage) error {
	return c.change(ctx, "/api/register_manifests", map[string]any{"workspaceId": workspace, "manifests": modules}, nil)
}

// ArchiveModule makes the mesh forget the workflows of a module.
func (c *Client) ArchiveModule(ctx context.Context, workspace, module string) error {
	return c.change(ctx, "/api/archive_module", map[string]any{"workspaceId": workspace, "moduleName": module}, nil)
}

// Workflow is one registered workflow; Configuration is nil if it is not registered (any more).
type Workflow struct {
	Parameters    []Parameter                `json:"parameters"`
	Instruction   *string                    `json:"instruction"`
	Configuration map[string]json.RawMessage `json:"configuration"`
}

// Workflow reads the definition of one workflow.
func (c *Client) Workflow(ctx context.Context, workspace, module, target string) (Document[Workflow], error) {
	return read[Workflow](ctx, c, topic("workspaces", workspace, "workflows", module, target), nil)
}

// Queued is an execution without result.
type Queued struct {
	Module       string              `json:"module"`
	Target       string              `json:"target"`
	RunID        string              `json:"runId"`
	StepID       string              `json:"stepId"`
	StepNumber   int                 `json:"stepNumber"`
	Attempt      int                 `json:"attempt"`
	ExecuteAfter *int64              `json:"executeAfter"`
	CreatedAt    int64               `json:"createdAt"`
	AssignedAt   *int64              `json:"assignedAt"`
	Dependencies []string            `json:"dependencies"`
	Requires     map[string][]string `json:"requires"`
	Reason       *string             `json:"reason"` // why no session could take it
}

// Queue lists the queued and running executions of a workspace by id.
func (c *Client) Queue(ctx context.Context, workspace string) (Document[map[string]Queued], error) {
	return read[map[string]Queued](ctx, c, topic("workspaces", workspace, "queue"), nil)
}

// Session is one agent's registration.
type Session struct {
	Connected   bool                `json:"connected"`
	Executing   int                 `json:"executing"`
	Concurrency int                 `json:"concurrency"`
	PoolName    *string             `json:"poolName"`
	Targets     map[string][]string `json:"targets"`
	Provides    map[string][]string `json:"provides"`
	Accepts     map[string][]string `json:"accepts"`
	WorkerState *string             `json:"workerState"`
	Executions  int                 `json:"executions"`
}

// Sessions lists the sessions of a workspace by id.
func (c *Client) Sessions(ctx context.Context, workspace string) (Document[map[string]Session], error) {
	return read[map[string]Session](ctx, c, topic("workspaces", workspace, "sessions"), nil)
}
