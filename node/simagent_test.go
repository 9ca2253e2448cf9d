package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/hashicorp/go-hclog"
)

// agentAlone runs an agent against leaders that the test plays: each stream that the agent opens comes out of the channel.
func agentAlone(t *testing.T, test func(t *testing.T, a *agent, streams <-chan stream)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c := newSimCluster(t, 1)
		streams := make(chan stream)
		n := &simNode{simDisk: &simDisk{name: "a"}, c: c, gone: make(chan struct{})}
		a := newAgent(agentConfig{
			Open:   scheduler.OpenSession{Node: "a", Slots: 1},
			Runner: &simRunner{node: n, bodies: map[string]*simBody{}}, Logger: hclog.NewNullLogger(),
			Clock: func() time.Duration { return time.Since(began) },
			Dial: func(ctx context.Context) (stream, error) {
				mine, theirs := newPipe()
				select {
				case streams <- theirs:
					return mine, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			},
		})
		a.Start()
		defer a.Stop()
		test(t, a, streams)
	})
}

// next reads frames until one satisfies; nil when the stream ends.
func next(t *testing.T, s stream, is func(*Frame) bool) *Frame {
	for {
		frames, err := s.recv(t.Context())
		if err != nil {
			return nil
		}
		for _, f := range frames {
			if is(f) {
				return f
			}
		}
	}
}

func isHello(f *Frame) bool { return f.Hello != nil }

// Targets that are declared while the first hello is on its way reach the leader.
func TestAgentDeclaresWhatChangedDuringHello(t *testing.T) {
	agentAlone(t, func(t *testing.T, a *agent, streams <-chan stream) {
		s := <-streams
		next(t, s, isHello)
		a.Declare([]state.DeclaredTarget{{Module: "m", Name: "new", Type: state.TypeTask}}, nil)
		s.send(&Frame{Welcome: &Welcome{Term: 1, FenceMS: 7000}})
		f := next(t, s, func(f *Frame) bool { return f.Request != nil })
		if f == nil {
			t.Fatal("nothing was declared")
		}
		r, err := scheduler.DecodeRequest(f.Request.Body)
		if u, ok := r.(*scheduler.UpdateSession); err != nil || !ok || len(u.Targets) != 1 {
			t.Errorf("%v %+v", err, r)
		}
	})
}

// A leader of an earlier term than one that was seen is refused (A4).
func TestAgentRefusesEarlierTerms(t *testing.T) {
	agentAlone(t, func(t *testing.T, a *agent, streams <-chan stream) {
		for _, term := range []uint64{5, 4, 5, 6} {
			s := <-streams
			next(t, s, isHello)
			s.send(&Frame{Welcome: &Welcome{Term: term, FenceMS: 7000}})
			synctest.Wait()
			a.mu.Lock()
			taken := a.stream != nil
			a.mu.Unlock()
			if taken != (term != 4) {
				t.Errorf("term %d: taken %v", term, taken)
			}
			s.cut()
		}
	})
}
