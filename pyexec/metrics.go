package pyexec

import (
	"encoding/json"
	"errors"
)

// MetricDefinition says how a metric is to be drawn (adapter-protocol 5.3). Throttle is the most points a second, nil: no
// limit.
type MetricDefinition struct {
	Group      *string  `json:"group"`
	GroupUnits *string  `json:"group_units"`
	GroupLower *float64 `json:"group_lower"`
	GroupUpper *float64 `json:"group_upper"`
	Scale      *string  `json:"scale"`
	Units      *string  `json:"units"`
	Progress   bool     `json:"progress"`
	Lower      *float64 `json:"lower"`
	Upper      *float64 `json:"upper"`
	Throttle   *float64 `json:"throttle"`
}

var errNoMetricKey = errors.New("a metric needs a key of 1 to 200 bytes")

// maxMetricKey is the length of a key, in bytes.
const maxMetricKey = 200

func onDefineMetric(b *body, _ int64, params json.RawMessage) error {
	var p struct {
		Key        string           `json:"key"`
		Definition MetricDefinition `json:"definition"`
	}
	if err := parse(params, &p); err != nil {
		return err
	}
	if p.Key == "" || len(p.Key) > maxMetricKey {
		return errNoMetricKey
	}
	b.call(func(h Host) { h.DefineMetric(p.Key, p.Definition) })
	return nil
}

func onMetric(b *body, _ int64, params json.RawMessage) error {
	var p struct {
		Key   string   `json:"key"`
		Value *float64 `json:"value"`
		At    *float64 `json:"at"`
	}
	if err := parse(params, &p); err != nil {
		return err
	}
	if p.Key == "" || len(p.Key) > maxMetricKey {
		return errNoMetricKey
	}
	if p.Value == nil {
		return errors.New("a point of metric " + p.Key + " has no value")
	}
	b.call(func(h Host) { h.Metric(p.Key, *p.Value, p.At) })
	return nil
}
