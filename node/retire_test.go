package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/node/journal"
	"github.com/hashicorp/go-hclog"
)

// TestLogsOfForgottenRunsAreDropped: a segment of a run that this node knows stays, also when the run is packed; one of runs
// that nobody knows goes.
func TestLogsOfForgottenRunsAreDropped(t *testing.T) {
	t.Parallel()
	code := module(t, "greetings", greetings)
	n := startNode(t, "one", func(c *Config) { c.Repos, c.Path = []string{"greetings"}, []string{code} })
	submit(t, n, "greetings", "deep", "1")
	known := ""
	view := n.store.View()
	for r := range view.RunsByTarget(view.WorkspaceByName("default", "default").ID, "greetings", "deep") {
		known = r.ID
	}
	dir := t.TempDir()
	open := func() *journal.Journal {
		j, err := journal.Open(dir, hclog.NewNullLogger(), journal.Options{})
		if err == nil {
			err = j.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	for _, run := range []string{known, "Rforgotten", "Rnewest"} {
		j := open()
		if err := j.Append(journal.Entry{RunID: run, ExecutionID: run + ":1:1"}); err != nil {
			t.Fatal(err)
		}
		j.Stop()
	}
	points, err := journal.Open(t.TempDir(), hclog.NewNullLogger(), journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	j := open()
	defer j.Stop()
	retire(&Node{journal: j, points: points, log: hclog.NewNullLogger()}, n.store.View(), time.Now().Add(time.Minute))
	var left []string
	for _, run := range []string{known, "Rforgotten", "Rnewest"} {
		page, err := j.Query(journal.Query{RunID: run})
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, fmt.Sprint(len(page.Entries)))
	}
	if fmt.Sprint(left) != "[1 0 1]" {
		t.Errorf("of a known run, a forgotten one and the newest are left: %v", left)
	}
}
