package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// submission is the body of submit_workflow; arguments are in the form of executors.
type submission struct {
	scheduler.SubmitRun
	arguments [][]byte
}

// submitWorkflow starts a run.
func (s *Server) submitWorkflow(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	sub, err := parseSubmission(b)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	if err := s.checkWorkspace(ctx, r, sub.Workspace); err != nil {
		return err
	}
	for _, a := range sub.arguments {
		v, err := s.Backend.StoreValue(r.Context(), a)
		if err != nil {
			return err
		}
		sub.Arguments = append(sub.Arguments, v)
	}
	answer, err := s.doOnce(w, r, &sub.SubmitRun, &sub.RequestID)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct {
		RunID       string `json:"runId"`
		StepID      string `json:"stepId"`
		ExecutionID string `json:"executionId"`
	}{answer.RunID, answer.StepID, answer.ExecutionID})
	return nil
}

// parseSubmission reads the body; nothing is looked up.
func parseSubmission(b *body) (*submission, error) {
	sub := &submission{}
	sub.Workspace = b.required("workspaceId", plainText, maxName)
	sub.Module = b.required("module", moduleName, maxName)
	sub.Target = b.required("target", targetName, maxName)
	sub.Delay, sub.Timeout = b.millis("delay"), b.millis("timeout")
	sub.Retries = parseRetries(b)
	sub.Defer = parseDefer(b)
	sub.Cache = parseCache(b)
	sub.IdempotencyKey = b.text("idempotencyKey", plainText, 200)
	sub.Requires = b.tags("requires")
	b.into("memo", &sub.Memo)
	b.into("recurrent", &sub.Recurrent)
	b.into("durable", &sub.Durable)
	sub.RequestID = b.requestID()
	sub.arguments = parseArguments(b)
	sub.WaitFor = parseWaitFor(b)
	if err := b.err(); err != nil {
		return nil, err
	}
	return sub, nil
}

// parseArguments reads `[["json", "<text>"], ...]`.
func parseArguments(b *body) (out [][]byte) {
	if !b.has("arguments") {
		b.wrong("arguments", "required")
		return nil
	}
	var list [][]string
	b.into("arguments", &list)
	for i, a := range list {
		field := "arguments." + strconv.Itoa(i)
		if len(a) != 2 || a[0] != "json" {
			b.wrong(field, "invalid")
			continue
		}
		text, err := wrap([]byte(a[1]))
		switch err {
		case nil:
			out = append(out, text)
		case errTooDeep:
			b.wrong(field, "too_deep")
		default:
			b.wrong(field, "not_json")
		}
	}
	return out
}

// maxRetries bounds the limit of retries.
const maxRetries = 1_000_000_000

// parseRetries reads `{"limit"?: n, "backoffMin"?: ms, "backoffMax"?: ms}`; no limit = any number.
func parseRetries(b *body) *state.Retries {
	if !b.has("retries") {
		return nil
	}
	var r Retries
	b.into("retries", &r)
	if b.details["retries"] != "" {
		return nil
	}
	if r.Limit != nil && (*r.Limit < 0 || *r.Limit > maxRetries) {
		b.wrong("retries.limit", "invalid")
	}
	for field, ms := range map[string]int64{"retries.backoffMin": r.BackoffMin, "retries.backoffMax": r.BackoffMax} {
		if ms < 0 || ms > maxMillis {
			b.wrong(field, "invalid")
		}
	}
	return &state.Retries{Limit: r.Limit, BackoffMin: r.BackoffMin, BackoffMax: r.BackoffMax}
}

// parseDefer reads `{"params": true | [0, 2]}`: by which arguments later submissions take the place of this one.
func parseDefer(b *body) *scheduler.Params {
	var d Defer
	b.into("defer", &d)
	if !b.has("defer") || b.details["defer"] != "" {
		return nil
	}
	return parseParams(b, "defer.params", d.Params)
}

// parseCache reads `{"params": true | false | [0, 2], "maxAge"?: ms, "namespace"?: text, "version"?: text}`; params false is
// no cache.
func parseCache(b *body) *state.Cache {
	var c Cache
	b.into("cache", &c)
	if !b.has("cache") || b.details["cache"] != "" || string(c.Params) == "false" {
		return nil
	}
	p := parseParams(b, "cache.params", c.Params)
	if c.MaxAge != nil && (*c.MaxAge < 0 || *c.MaxAge > maxMillis) {
		b.wrong("cache.maxAge", "invalid")
	}
	out := &state.Cache{All: p.All, Params: p.Indexes, MaxAge: c.MaxAge}
	for field, text := range map[string]*string{"cache.namespace": c.Namespace, "cache.version": c.Version} {
		if text != nil && len(*text) > 200 {
			b.wrong(field, "invalid")
		}
	}
	if c.Namespace != nil {
		out.Namespace = *c.Namespace
	}
	if c.Version != nil {
		out.Version = *c.Version
	}
	return out
}

// parseParams reads true or a list of indexes of arguments.
func parseParams(b *body, field string, raw json.RawMessage) *scheduler.Params {
	p := &scheduler.Params{}
	if json.Unmarshal(raw, &p.All) == nil && p.All {
		return p
	}
	if json.Unmarshal(raw, &p.Indexes) != nil || p.Indexes == nil || len(p.Indexes) > 20 ||
		slices.ContainsFunc(p.Indexes, func(i int) bool { return i < 0 || i >= 100 }) {
		b.wrong(field, "invalid")
	}
	return p
}

// parseWaitFor reads the indexes of the arguments whose handles must be final before the start.
func parseWaitFor(b *body) (indexes []int) {
	b.into("waitFor", &indexes)
	if len(indexes) > maxWaitFor || slices.ContainsFunc(indexes, func(i int) bool { return i < 0 || i >= 100 }) {
		b.wrong("waitFor", "invalid")
	}
	return indexes
}

// cancelExecution cancels an execution and what it called.
func (s *Server) cancelExecution(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	workspace := b.required("workspaceId", plainText, maxName)
	execution := b.required("executionId", plainText, 200)
	if err := b.err(); err != nil {
		return err
	}
	if _, ok := state.ParseExecutionID(execution); !ok {
		return notFound("execution", execution)
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	if err := s.checkWorkspace(ctx, r, workspace); err != nil {
		return err
	}
	if _, err := s.do(w, r, &scheduler.Cancel{Workspace: workspace, Execution: execution}); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct{}{})
	return nil
}
