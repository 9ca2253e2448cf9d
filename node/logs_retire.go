package node

import (
	"context"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/journal"
)

const (
	// retireEvery is how often a node looks for log lines and points of runs that are forgotten.
	retireEvery = time.Hour
	// retireAge is how long ago a segment must have been written last: a line may come before this node knows its run.
	retireAge = time.Hour
)

// retireLogs drops log lines and points of runs whose history was forgotten, until ctx ends.
func (n *Node) retireLogs(ctx context.Context) {
	for pause(ctx, retireEvery) {
		read, cancel := context.WithTimeout(ctx, time.Minute)
		view, err := n.router.Linear(read) // a replica that lags behind does not know all runs
		cancel()
		if err != nil {
			n.log.Debug("log lines of forgotten runs stay for now", "error", err)
			continue
		}
		retire(n, view, time.Now().Add(-retireAge))
	}
}

// retire drops what is older than a time and of runs whose history a view does not have, neither in its tables nor in packs.
func retire(n *Node, view *state.View, before time.Time) {
	gone := func(run string) bool {
		p := view.Packed(run)
		return view.Run(run) == nil && (p == nil || p.Lost(run))
	}
	for _, j := range []*journal.Journal{n.journal, n.points} {
		dropped, err := j.Retire(before, gone)
		if err != nil {
			n.log.Warn("log lines of forgotten runs stay for now", "error", err)
		}
		if dropped > 0 {
			n.log.Info("log lines of forgotten runs were dropped", "segments", dropped)
		}
	}
}
