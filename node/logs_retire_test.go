package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/journal"
	"github.com/hashicorp/go-hclog"
)

// TestLogsOfForgottenRunsAreDropped: a segment of a run that is in the tables or in a pack stays; one of a run that nobody knows
// goes, and one of a run that retention has removed.
func TestLogsOfForgottenRunsAreDropped(t *testing.T) {
	t.Parallel()
	store := state.New()
	scratch := store.Scratch()
	err := scratch.Try(func(tx *state.Tx) error {
		tx.Put(&state.Run{ID: "Rlive"})
		tx.Put(&state.Pack{ID: "P", Runs: state.Lines("Rpacked"), Removed: state.Lines("Rremoved")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	entry, err := scratch.Entry(1).Encode()
	if err == nil {
		err = store.Apply(entry)
	}
	if err != nil {
		t.Fatal(err)
	}
	runs := []string{"Rlive", "Rpacked", "Rremoved", "Rforgotten", "Rnewest"}
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
	for _, run := range runs {
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
	retire(&Node{journal: j, points: points, log: hclog.NewNullLogger()}, store.View(), time.Now().Add(time.Minute))
	var left []string
	for _, run := range runs {
		page, err := j.Query(journal.Query{RunID: run})
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, fmt.Sprint(len(page.Entries)))
	}
	if fmt.Sprint(left) != "[1 1 0 0 1]" {
		t.Errorf("of %v are left: %v", runs, left)
	}
}
