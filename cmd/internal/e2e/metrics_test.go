package e2e

import (
	"fmt"
	"testing"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// measured records a metric and its progress, and then waits.
const measured = `

@workflow()
def measured(token, gate):
    from coflux import Metric, MetricScale, progress
    effect("start", token)
    loss = Metric("loss", scale=MetricScale("error", units="%", lower=0), throttle=None)
    for i in progress(range(50)):
        loss.record(100 - i, at=i)
    effect("recorded", token)
    pass_gate(gate)
    effect("end", token)
`

// recorded tells what a node shows too little of the metrics of a run; "" when it shows all.
func recorded(n *node, run string) string {
	ctx := n.m.t.Context()
	page, err := n.client.Metrics(ctx, client.MetricQuery{Run: run, Keys: []string{"loss"}})
	if err != nil {
		return err.Error()
	}
	if got := len(page.Value.Metrics); got != 50 {
		return fmt.Sprintf("%s shows %d points", n.name, got)
	}
	for i, p := range page.Value.Metrics {
		if p.At != float64(i) || p.Value != float64(100-i) || p.ExecutionID != run+":1:1" {
			return fmt.Sprintf("%s shows %+v as point %d", n.name, p, i)
		}
	}
	page, err = n.client.Metrics(ctx, client.MetricQuery{Run: run, Execution: run + ":1:1", Keys: []string{"progress"}})
	if err != nil || len(page.Value.Metrics) == 0 {
		return fmt.Sprintf("%s shows no progress: %v", n.name, err)
	}
	doc := n.m.document(n, run)
	defined := doc.Steps[run+":1"].Executions["1"].Metrics
	loss, bar := defined["loss"], defined["progress"]
	if loss.Scale == nil || *loss.Scale != "error" || loss.Units == nil || !bar.Progress || bar.Upper == nil || *bar.Upper != 50 {
		return fmt.Sprintf("%s has the definitions %+v", n.name, defined)
	}
	return ""
}

// TestMetricsOutliveTheirNode: the points of a body and their definitions are read from all nodes, also when its own is dead.
func TestMetricsOutliveTheirNode(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.write("flows.py", flows+measured)
	for range 3 {
		m.add("--repo", "flows")
	}
	m.ready()
	run := m.submit(m.leader(), "measured", "m", "never")
	on := m.where(m.begun("m"))
	for _, n := range m.nodes {
		await(t, patience, func() string { return recorded(n, run) })
	}
	on.killed()
	for _, n := range m.others(on) {
		await(t, patience, func() string { return recorded(n, run) })
	}
}

// TestWorkersMetrics: those of an agent-only process arrive too.
func TestWorkersMetrics(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.write("flows.py", flows+measured)
	n := m.add()
	m.ready()
	m.worker(n.host())
	m.served(n, 1)
	run := m.submit(n, "measured", "w", "w")
	m.begun("w")
	await(t, patience, func() string { return recorded(n, run) })
	m.open("w")
	m.value(n, run)
}
