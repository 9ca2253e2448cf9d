package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// spread copies a blob that is here to enough nodes. It goes on with other
// nodes where some fail, and starts again when the members change.
func (m *Mesh) spread(ctx context.Context, key string, size int64) error {
	have := map[string]bool{m.self: true}
	told := false
	for wait := retryFirst; ; wait = min(2*wait, retryMax) {
		short := m.spreadRound(ctx, key, size, have)
		if short == nil || errors.Is(short, ErrFull) {
			return short // that disks have room again may take long
		}
		if !told && ctx.Err() == nil {
			m.log.Warn("a blob waits for more copies", "blob", key, "error", short)
			told = true
		}
		if !pause(ctx, wait) {
			return fmt.Errorf("%w: %w", short, ctx.Err())
		}
	}
}

// needed is the number of copies: as many as there are nodes, at most three,
// but never fewer than a committed entry has.
func needed(live, majority int) int { return max(min(copies, live), majority, 1) }

type answer struct {
	node string
	err  error
}

// A copy may take its time, but one that takes longer than hedgeAfter is not
// waited for alone, and slowest is the speed below which a peer counts as stuck.
const (
	hedgeAfter = 500 * time.Millisecond
	slowest    = 1 << 20
)

// spreadRound asks the first nodes of the key's order at once, and the next
// one for each that fails or is slow. It returns why there are too few copies.
func (m *Mesh) spreadRound(ctx context.Context, key string, size int64, have map[string]bool) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience+time.Duration(size/slowest)*time.Second)
	defer cancel()
	hedge := time.NewTicker(hedgeAfter)
	defer hedge.Stop()
	live, need := m.targets(key)
	answers := make(chan answer, len(live))
	next, busy, good, slow := 0, 0, 0, 0
	var failed, fulls []error
	for good < need {
		for next < len(live) && good+busy < need+slow {
			node := live[next]
			next++
			if have[node] {
				good++
				continue
			}
			busy++
			go func() { answers <- answer{node, m.copyTo(ctx, node, key)} }()
		}
		if busy == 0 {
			break
		}
		select {
		case a := <-answers:
			busy--
			if a.err != nil {
				err := fmt.Errorf("node %s: %w", a.node, a.err)
				if errors.Is(err, ErrFull) { // it counts as little as one that is gone
					fulls = append(fulls, err)
					need = needed(len(live)-len(fulls), m.peers.VotersMajority())
				} else {
					failed = append(failed, err)
				}
				continue
			}
			have[a.node] = true
			good++
		case <-hedge.C:
			slow++
			again, _ := m.targets(key) // a node that does not answer may be gone by now
			need = needed(len(again)-len(fulls), m.peers.VotersMajority())
		}
	}
	if good >= need {
		return nil
	}
	why := fmt.Errorf("%w: %s is on %d of %d nodes, %d are live", ErrShort, key, good, need, len(live))
	switch {
	case len(failed) > 0: // what these fail with may be over soon
		for _, err := range fulls {
			failed = append(failed, errors.New(err.Error()))
		}
		return fmt.Errorf("%w: %w", why, errors.Join(failed...))
	case len(fulls) > 0:
		return fmt.Errorf("%w: %w", why, errors.Join(fulls...))
	}
	return why
}

// targets lists the live nodes in the key's order, and how many copies there must be.
func (m *Mesh) targets(key string) (live []string, need int) {
	live = Rank(key, m.peers.Live())
	if !slices.Contains(live, m.self) {
		live = append(live, m.self)
	}
	return live, needed(len(live), m.peers.VotersMajority())
}

func (m *Mesh) copyTo(ctx context.Context, node, key string) error {
	return m.peers.Put(ctx, node, key, func() (io.ReadCloser, error) {
		r, _, err := m.local.Open(ctx, key)
		return r, err
	})
}
