package e2e

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// TestLeaderDiesWhileChildRuns kills the leader while a child runs on a node that stays: the run completes, each body once.
func TestLeaderDiesWhileChildRuns(t *testing.T) {
	t.Parallel()
	m := startMesh(t, 3)
	leader := m.leader()
	token, run, child, parent := "", "", effect{}, effect{}
	for i := 0; ; i++ { // until neither body is on the leader
		if i == 50 {
			t.Fatal("the leader gets work each time")
		}
		token = "t" + strconv.Itoa(i)
		run = m.submit(m.others(leader)[i%2], "parent", token, token)
		parent, child = m.begun(token), m.begun(token+".1")
		if m.where(child) != leader && m.where(parent) != leader {
			break
		}
		m.open(token)
		m.value(leader, run)
	}
	leader.killed()
	began := time.Now()
	through := m.others(leader)[0]
	other := m.submit(through, "single", "after", "")
	t.Logf("a submission was taken %s after the death of the leader", time.Since(began).Round(time.Millisecond))
	m.open(token)
	want := fmt.Sprintf(`["%s","%s.1"]`, token, token)
	for _, n := range m.running() {
		if got := compact(m.value(n, run)); got != want {
			t.Errorf("%s: the run's value is %s, want %s", n.name, got, want)
		}
		if got := m.value(n, other); got != `"after"` {
			t.Errorf("%s: the later run's value is %s", n.name, got)
		}
	}
	m.settle(patience)
	m.verify(true)
}

// TestF1 measures the time from the death of a leader to the first submission that a survivor takes.
func TestF1(t *testing.T) {
	slow(t)
	m := startMesh(t, 3)
	const trials = 30
	var gaps []time.Duration
	for i := range trials {
		leader := m.leader()
		survivors := m.others(leader)
		leader.killed()
		gaps = append(gaps, m.firstAccepted(survivors, i))
		leader.start()
		m.ready()
	}
	m.settle(patience)
	m.verify(true)
	slices.Sort(gaps)
	p50, p99 := gaps[trials/2], gaps[trials-1]
	t.Logf("F1: p50 %s, p90 %s, worst of %d %s; all: %v", p50, gaps[trials*9/10], trials, p99, gaps)
	if p50 > 3*time.Second {
		t.Errorf("the median is %s", p50)
	}
}

// firstAccepted asks all survivors every 3 ms and returns when the first one has taken a submission.
func (m *mesh) firstAccepted(survivors []*node, trial int) time.Duration {
	m.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	accepted := make(chan time.Duration, 1)
	var wg sync.WaitGroup
	for i, n := range survivors {
		wg.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				// Few of those that wait at the node are enough: each is answered as soon as somebody leads.
				short, end := context.WithTimeout(ctx, 5*time.Second)
				_, err := m.try(short, n, "single", fmt.Sprintf("f%d.%d.%d", trial, i, k), "")
				end()
				if err == nil {
					select {
					case accepted <- time.Since(began):
					default:
					}
					return
				}
				if client.IsCode(err, client.CodeBadRequest) {
					m.t.Errorf("refused: %v", err)
					return
				}
				select {
				case <-time.After(3 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	select {
	case gap := <-accepted:
		wg.Wait()
		return gap
	case <-ctx.Done():
		m.t.Fatal("no submission was taken")
		return 0
	}
}
