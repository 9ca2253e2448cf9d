package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"
)

// Run is the run document.
type Run struct {
	CreatedAt int64               `json:"createdAt"`
	Parent    *ExecRef            `json:"parent"`
	Requires  map[string][]string `json:"requires"`
	Steps     map[string]*Step    `json:"steps"` // by step id
}

// Step of a run.
type Step struct {
	StepNumber int                   `json:"stepNumber"`
	Module     string                `json:"module"`
	Target     string                `json:"target"`
	ParentID   *string               `json:"parentId"`
	Arguments  []Value               `json:"arguments"`
	Retries    *Retries              `json:"retries"` // nil = none
	Durable    bool                  `json:"durable"`
	CreatedAt  int64                 `json:"createdAt"`
	Executions map[string]*Execution `json:"executions"` // by attempt number
}

// Retries of a step; Limit nil = any number.
type Retries struct {
	Limit      *int  `json:"limit"`
	BackoffMin int64 `json:"backoffMin"` // ms
	BackoffMax int64 `json:"backoffMax"` // ms
}

// Execution is one attempt of a step.
type Execution struct {
	ExecutionID  string                      `json:"executionId"`
	CreatedAt    int64                       `json:"createdAt"`
	ExecuteAfter *int64                      `json:"executeAfter"`
	AssignedAt   *int64                      `json:"assignedAt"`
	CompletedAt  *int64                      `json:"completedAt"`
	Groups       map[string]*string          `json:"groups"`
	Assets       map[string]AssetSummary     `json:"assets"` // made by it, by id
	Children     []Child                     `json:"children"`
	Result       *Result                     `json:"result"`
	Node         *string                     `json:"node"` // name of the node that ran it
	Metrics      map[string]MetricDefinition `json:"metrics"`
}

// Child is a step that an execution submitted.
type Child struct {
	StepID  string `json:"stepId"`
	Attempt int    `json:"attempt"`
	GroupID *int   `json:"groupId"`
}

// Latest returns the step's newest attempt, by number. It is nil for a step without executions.
func (s *Step) Latest() (attempt int, e *Execution) {
	for key, x := range s.Executions {
		if n, err := strconv.Atoi(key); err == nil && n > attempt {
			attempt, e = n, x
		}
	}
	return attempt, e
}

// Failed gives the failed result that the attempt follows as a retry, nil when it follows none.
func (s *Step) Failed(attempt int) *Result {
	for _, x := range s.Executions {
		if x.Result != nil && x.Result.Retry != nil && *x.Result.Retry == attempt {
			return x.Result
		}
	}
	return nil
}

// Suspended tells whether the attempt follows one that was suspended.
func (s *Step) Suspended(attempt int) bool {
	for _, x := range s.Executions {
		if x.Result != nil && x.Result.Type == ResultSuspended && x.Result.Successor != nil && *x.Result.Successor == attempt {
			return true
		}
	}
	return false
}

// SubmitRequest starts a run. Options is passed through as it is: waitFor, cache, delay and so on
// with their names in the interface.
type SubmitRequest struct {
	WorkspaceID    string
	Module, Target string
	Arguments      []string // JSON texts
	Options        map[string]json.RawMessage
	IdempotencyKey string
	RequestID      string // empty = a new ULID
}

// Submitted names what a submission created.
type Submitted struct {
	RunID       string `json:"runId"`
	StepID      string `json:"stepId"`
	ExecutionID string `json:"executionId"`
}

// Submit starts a run. It is sent again with the same request id until it is answered or the context
// ends, so that a lost connection or a lost leader never starts the run twice.
func (c *Client) Submit(ctx context.Context, r SubmitRequest) (Submitted, error) {
	body := map[string]any{}
	for k, v := range r.Options {
		body[k] = v
	}
	arguments := make([][2]string, len(r.Arguments))
	for i, a := range r.Arguments {
		arguments[i] = [2]string{"json", a}
	}
	body["workspaceId"], body["module"], body["target"], body["arguments"] = r.WorkspaceID, r.Module, r.Target, arguments
	if r.IdempotencyKey != "" {
		body["idempotencyKey"] = r.IdempotencyKey
	}
	if r.RequestID != "" {
		body["requestId"] = r.RequestID
	}
	var out Submitted
	return out, c.change(ctx, "/api/submit_workflow", body, &out)
}

// Rerun names the attempt that a re-run made.
type Rerun struct {
	ExecutionID string `json:"executionId"`
	Attempt     int    `json:"attempt"`
}

// RerunStep runs a step once more, in its own workspace or one that inherits from it. It is repeated as a submission is.
func (c *Client) RerunStep(ctx context.Context, workspace, step string) (out Rerun, err error) {
	return out, c.change(ctx, "/api/rerun_step", map[string]any{"workspaceId": workspace, "stepId": step}, &out)
}

// change asks for what must not be done twice. It is sent again with the same request id (a new ULID, unless the body has
// one) until it is answered or the context ends.
func (c *Client) change(ctx context.Context, path string, body map[string]any, out any) error {
	began := time.Now()
	_, given := body["requestId"]
	if !given {
		body["requestId"] = ulid.MustNew(ulid.Timestamp(began), rand.Reader).String()
	}
	cl := call{path: path, body: body, idempotent: true, untilDone: true}
	err := c.post(ctx, cl, out)
	if at, ok := logTime(err); ok && !given && time.Since(began) < time.Minute {
		// The id was fresh, so the clocks differ: it was not executed, and is made once more from the mesh's time.
		body["requestId"] = ulid.MustNew(at, rand.Reader).String()
		err = c.post(ctx, cl, out)
	}
	return err
}

// logTime is the mesh's time, milliseconds, in the refusal of an expired id.
func logTime(err error) (ms uint64, ok bool) {
	var refused *Error
	if !errors.As(err, &refused) || refused.Code != "expired" {
		return 0, false
	}
	var details struct{ LogTime string }
	if json.Unmarshal(refused.Details, &details) != nil {
		return 0, false
	}
	ms, perr := strconv.ParseUint(details.LogTime, 10, 64)
	return ms, perr == nil && ms <= ulid.MaxTime()
}

// CancelExecution cancels an execution and all that descends from it.
func (c *Client) CancelExecution(ctx context.Context, workspace, execution string) error {
	body := map[string]string{"workspaceId": workspace, "executionId": execution}
	return c.post(ctx, call{path: "/api/cancel_execution", body: body, idempotent: true}, nil)
}

func (c *Client) post(ctx context.Context, cl call, out any) error {
	cl.method = http.MethodPost
	rep, err := c.do(ctx, cl)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(rep.body, out); err != nil {
		return fmt.Errorf("decode the reply to %s: %w", cl.path, err)
	}
	return nil
}

// Run reads a run document.
func (c *Client) Run(ctx context.Context, workspace, run string) (Document[Run], error) {
	return read[Run](ctx, c, topic("workspaces", workspace, "runs", run), nil)
}

// RunSummary is a line of the list of runs.
type RunSummary struct {
	RunID       string `json:"runId"`
	Module      string `json:"module"`
	Target      string `json:"target"`
	CreatedAt   int64  `json:"createdAt"`
	CompletedAt *int64 `json:"completedAt"`
	Status      string `json:"status"` // queued | running | completed | failed | cancelled | abandoned
	Steps       int    `json:"steps"`
}

// RunPage is a page of runs, newest first; Cursor, when set, asks for the page behind it.
type RunPage struct {
	Runs   []RunSummary `json:"runs"`
	Cursor *string      `json:"cursor"`
}

// Runs lists the runs of a workspace.
func (c *Client) Runs(ctx context.Context, workspace string, limit int, before string) (Document[RunPage], error) {
	q := url.Values{"workspaceId": {workspace}}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	if before != "" {
		q.Set("before", before)
	}
	return read[RunPage](ctx, c, "/api/runs", q)
}

// Awaited is the answer to one long poll.
type Awaited struct {
	Done   bool    `json:"done"`
	Index  uint64  `json:"index"`
	Result *Result `json:"result"`
}

// AwaitRun waits for the final outcome of a run's root, at most for wait.
func (c *Client) AwaitRun(ctx context.Context, workspace, run string, wait time.Duration) (Awaited, error) {
	q := url.Values{"workspaceId": {workspace}, "runId": {run},
		"timeoutMs": {strconv.FormatInt(wait.Milliseconds(), 10)}}
	var out Awaited
	rep, err := c.do(ctx, call{method: http.MethodGet, path: withQuery("/api/await_run", q),
		timeout: wait + 10*time.Second, idempotent: true})
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(rep.body, &out); err != nil {
		return out, fmt.Errorf("decode the reply to await_run: %w", err)
	}
	return out, nil
}
