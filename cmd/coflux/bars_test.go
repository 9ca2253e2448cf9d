package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// TestTreeShowsProgress: a running execution shows its metrics that are progress, one that is over none.
func TestTreeShowsProgress(t *testing.T) {
	t.Parallel()
	metrics := `"metrics":{"progress":{"progress":true,"upper":8},"epochs":{"progress":true,"lower":10,"upper":20},"loss":{"upper":1},"endless":{"progress":true}}`
	text := strings.ReplaceAll(fakeRun(fakeStep("R1", 1, "train", "null", "", "")), `"metrics":{}`, metrics)
	if !strings.Contains(text, "epochs") {
		t.Fatal("the document has no metrics: ", text)
	}
	doc := decodeRun(t, text)
	b := &bars{latest: map[string]map[string]client.MetricPoint{}, defined: map[string]map[string]client.MetricDefinition{}}
	point := func(key string, value, at float64) client.MetricPoint {
		return client.MetricPoint{ExecutionID: "R1:1:1", Key: key, Value: value, At: at}
	}
	b.add([]client.MetricPoint{point("progress", 4, 2), point("progress", 3, 1), point("epochs", 25, 1), point("loss", 0.5, 1), point("endless", 5, 1)})
	if !b.asks() || b.asks() {
		t.Error("definitions are not asked for once")
	}
	b.define(doc)
	draw := func() (out []string) {
		for _, l := range treeLines("R1", doc, time.UnixMilli(fakeCreated+2010), b) {
			out = append(out, l.render(0, false))
		}
		return out
	}
	full, half := strings.Repeat("█", 20), strings.Repeat("█", 10)+strings.Repeat("░", 10)
	want := []string{fmt.Sprintf("◐ 1:1 example1.repo/train [R1]  n1  2.0s  Running...  epochs %s 25/20  %s 4/8", full, half)}
	if diff := cmp.Diff(want, draw()); diff != "" {
		t.Error(diff)
	}
	b.add([]client.MetricPoint{point("progress", 5, 3)})
	if b.asks() {
		t.Error("a metric that is defined is asked for")
	}
	doc.Steps["R1:1"].Executions["1"].Result = &client.Result{Type: client.ResultValue}
	if got := draw(); strings.Contains(got[0], "█") {
		t.Errorf("when it is over: %s", got[0])
	}
}
