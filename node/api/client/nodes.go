package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
)

// Nodes is the mesh as one node sees it.
type Nodes struct {
	Leader *string `json:"leader"` // node id
	Quorum bool    `json:"quorum"`
	Term   uint64  `json:"term"`
	Index  uint64  `json:"index"`
	Nodes  []Node  `json:"nodes"`
}

// Node is one member of the mesh.
type Node struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"` // gossip
	HTTP    string `json:"http"`
	Peer    string `json:"peer"`
	Role    string `json:"role"`  // leader | voter | replica | none
	State   string `json:"state"` // alive | suspect | gone
	Version string `json:"version"`
	Slots   *int   `json:"slots"`
	// DiskFull says that the node takes no more values, files and log lines.
	DiskFull bool         `json:"diskFull"`
	Used     *int         `json:"used"`
	Modules  []NodeModule `json:"modules"`
	Self     bool         `json:"self"`
	Since    int64        `json:"since"`
}

// NodeModule is a Python module on a node.
type NodeModule struct {
	Name    string  `json:"name"`
	Targets int     `json:"targets"`
	Error   *string `json:"error"`
	Serving bool    `json:"serving"`
}

// Nodes lists the members. It needs no quorum.
func (c *Client) Nodes(ctx context.Context) (Document[Nodes], error) {
	return read[Nodes](ctx, c, "/api/nodes", nil)
}

// Discovery is what a node says of itself.
type Discovery struct {
	Version    string `json:"version"`
	APIVersion string `json:"api_version"`
}

// Discover asks for the node's version.
func (c *Client) Discover(ctx context.Context) (Document[Discovery], error) {
	return read[Discovery](ctx, c, "/api/discover", nil)
}

// Healthz is nil while the node's process answers.
func (c *Client) Healthz(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/healthz"})
	return err
}

// Readyz is nil once a leader is known and the node's copy has caught up. It is sent once.
func (c *Client) Readyz(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/readyz"})
	var refused *Error
	var doc struct{ Reason string }
	if errors.As(err, &refused) && json.Unmarshal([]byte(refused.Message), &doc) == nil && doc.Reason != "" {
		return errors.New(doc.Reason)
	}
	return err
}

// TraceEvent says when an execution passed a stage on a node; At is wall time in nanoseconds.
type TraceEvent struct {
	ExecutionID string `json:"executionId"`
	Stage       string `json:"stage"`
	Node        string `json:"node"`
	At          int64  `json:"at"`
}

// Trace reads what this node remembers of an execution's way.
func (c *Client) Trace(ctx context.Context, execution string) (Document[struct {
	Events []TraceEvent `json:"events"`
}], error) {
	return read[struct {
		Events []TraceEvent `json:"events"`
	}](ctx, c, "/api/trace", url.Values{"execution": {execution}})
}
