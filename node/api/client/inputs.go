package client

import (
	"context"
	"encoding/json"
	"net/http"
)

// InputSummary is an entry of the list of inputs.
type InputSummary struct {
	RunID     string              `json:"runId"`
	CreatedAt int64               `json:"createdAt"` // ms
	Title     *string             `json:"title"`
	Requires  map[string][]string `json:"requires"`
}

// Input is a question to a person.
type Input struct {
	Key          *string             `json:"key"`
	Template     string              `json:"template"`
	Placeholders map[string]*Value   `json:"placeholders"`
	Schema       *string             `json:"schema"` // JSON Schema as JSON text
	Initial      json.RawMessage     `json:"initial"`
	Title        *string             `json:"title"`
	Actions      []string            `json:"actions"` // labels: respond, dismiss
	Requires     map[string][]string `json:"requires"`
	CreatedAt    int64               `json:"createdAt"` // ms
	Response     *InputResponse      `json:"response"`  // nil while it is open
}

// InputResponse is how an input ended.
type InputResponse struct {
	Type      string          `json:"type"`      // value | dismissed | cancelled
	CreatedAt int64           `json:"createdAt"` // ms
	Value     json.RawMessage `json:"value"`     // nil for null
}

// Inputs lists by id the open inputs of a workspace that somebody waits for.
func (c *Client) Inputs(ctx context.Context, workspace string) (Document[map[string]InputSummary], error) {
	return read[map[string]InputSummary](ctx, c, topic("workspaces", workspace, "inputs"), nil)
}

// Input reads one input, of whatever workspace.
func (c *Client) Input(ctx context.Context, id string) (Document[Input], error) {
	return readCall[Input](ctx, c, call{method: http.MethodPost, path: "/api/get_input", body: map[string]string{"inputId": id}, idempotent: true}, nil)
}

// RespondInput answers an input with a JSON text. This and DismissInput are repeated as a submission is, until they are
// answered or the context ends.
func (c *Client) RespondInput(ctx context.Context, id string, value json.RawMessage) error {
	return c.change(ctx, "/api/respond_input", map[string]any{"inputId": id, "value": value}, nil)
}

// DismissInput ends an input without an answer.
func (c *Client) DismissInput(ctx context.Context, id string) error {
	return c.change(ctx, "/api/dismiss_input", map[string]any{"inputId": id}, nil)
}
