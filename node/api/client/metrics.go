package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// MetricDefinition says how a metric is drawn.
type MetricDefinition struct {
	Group      *string  `json:"group"`
	GroupUnits *string  `json:"groupUnits"`
	GroupLower *float64 `json:"groupLower"`
	GroupUpper *float64 `json:"groupUpper"`
	Scale      *string  `json:"scale"`
	Units      *string  `json:"units"`
	Progress   bool     `json:"progress"`
	Lower      *float64 `json:"lower"`
	Upper      *float64 `json:"upper"`
}

// MetricQuery selects points.
type MetricQuery struct {
	Run       string
	Execution string   // or empty
	Keys      []string // or empty = all
	After     string   // cursor
}

func (q MetricQuery) path() string {
	v := url.Values{"run": {q.Run}}
	if q.Execution != "" {
		v.Set("execution", q.Execution)
	}
	if len(q.Keys) > 0 {
		v.Set("keys", strings.Join(q.Keys, ","))
	}
	if q.After != "" {
		v.Set("after", q.After)
	}
	return withQuery("/metrics", v)
}

// MetricPoint is a point that an execution recorded. At is its place on the x axis.
type MetricPoint struct {
	ExecutionID string  `json:"executionId"`
	WorkspaceID string  `json:"workspaceId"`
	Key         string  `json:"key"`
	Value       float64 `json:"value"`
	At          float64 `json:"at"`
}

// MetricPage is a page of points; Cursor, when set, asks for what comes behind it.
type MetricPage struct {
	Metrics []MetricPoint `json:"metrics"`
	Cursor  *string       `json:"cursor"`
}

// Metrics reads at most 1000 points.
func (c *Client) Metrics(ctx context.Context, q MetricQuery) (Document[MetricPage], error) {
	return read[MetricPage](ctx, c, q.path(), nil)
}

// FollowMetrics calls f with the points that exist and then with those that arrive. After a broken connection all come again.
func (c *Client) FollowMetrics(ctx context.Context, q MetricQuery, f func([]MetricPoint) error) error {
	return c.follow(ctx, q.path(), func(data []byte) error {
		var points []MetricPoint
		if err := json.Unmarshal(data, &points); err != nil {
			return fmt.Errorf("decode points of metrics: %w", err)
		}
		return f(points)
	})
}
