package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

// leaderEnd is the leader's end of the streams that an agent opens; the test is the leader.
type leaderEnd struct {
	t       *testing.T
	streams chan stream
	now     stream
}

// hello takes the next stream and its first frame.
func (l *leaderEnd) hello() *Hello {
	l.t.Helper()
	l.now = <-l.streams
	frames, err := l.now.recv(l.t.Context())
	if err != nil || frames[0].Hello == nil {
		l.t.Fatalf("no hello: %v", err)
	}
	return frames[0].Hello
}

// asked gives the next n requests of the stream.
func (l *leaderEnd) asked(n int) (out []scheduler.Request) {
	l.t.Helper()
	for len(out) < n {
		frames, err := l.now.recv(l.t.Context())
		if err != nil {
			l.t.Fatal(err)
		}
		for _, f := range frames {
			if f.Request == nil {
				continue
			}
			r, err := scheduler.DecodeRequest(f.Request.Body)
			if err != nil {
				l.t.Fatal(err)
			}
			out = append(out, r)
			l.now.send(&Frame{Answer: &Answer{ID: f.Request.ID}})
		}
	}
	return out
}

// TestAgentRegistersBeforeItDeclares: in each workspace that it comes to serve the manifests are there before the targets
// are, and a session that is refused is asked for again after a while, for the workspace that was served before.
func TestAgentRegistersBeforeItDeclares(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := &leaderEnd{t: t, streams: make(chan stream)}
		a := newAgent(agentConfig{Runner: &slowRunner{bodies: map[string]pyexec.Host{}}, Logger: hclog.NewNullLogger(),
			Clock: func() time.Duration { return time.Second + time.Since(began) },
			Dial: func(ctx context.Context) (stream, error) {
				mine, theirs := newPipe()
				select {
				case l.streams <- theirs:
					return mine, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}})
		targets := []state.DeclaredTarget{{Module: "m", Name: "f", Type: state.TypeWorkflow}}
		flows := []scheduler.ModuleManifest{{Module: "m", Workflows: []scheduler.WorkflowDefinition{{Name: "f", Definition: []byte("{}")}}}}
		a.Declare(targets, flows)
		a.Start()
		defer a.Stop()
		declares := func(session string) {
			t.Helper()
			want := []scheduler.Request{&scheduler.RegisterManifests{Session: session, Modules: flows}, &scheduler.UpdateSession{Session: session, Targets: targets}}
			if diff := cmp.Diff(want, l.asked(2)); diff != "" {
				t.Error(diff)
			}
		}

		first := l.hello()
		if len(first.Open.Targets) != 0 || first.Open.WorkspaceID != "" {
			t.Errorf("the first session is opened with %+v", first.Open)
		}
		l.now.send(&Frame{Welcome: &Welcome{Term: 1, Workspace: "W1", FenceMS: 60_000}})
		declares(first.Open.Session)

		a.Declare(targets, flows)
		update := []scheduler.Request{&scheduler.UpdateSession{Session: first.Open.Session, Targets: targets}}
		if diff := cmp.Diff(update, l.asked(1)); diff != "" {
			t.Errorf("without a change: %s", diff)
		}
		targets = targets[:0:0]
		flows = []scheduler.ModuleManifest{{Module: "m"}}
		a.Declare(targets, flows)
		declares(first.Open.Session)

		l.now.send(&Frame{Fenced: &Fenced{Reason: "its workspace was archived"}})
		second := l.hello()
		if second.Open.WorkspaceID != "W1" || second.Open.Session == first.Open.Session {
			t.Errorf("after the loss a session is opened with %+v", second.Open)
		}
		l.now.send(&Frame{Refused: &Refused{Reason: "it was archived"}})
		at := time.Now()
		third := l.hello()
		if waited := time.Since(at); waited < refusedPause || third.Open.Session != second.Open.Session {
			t.Errorf("after a refusal session %s was asked for after %s, %s before", third.Open.Session, waited, second.Open.Session)
		}
		l.now.send(&Frame{Welcome: &Welcome{Term: 1, Workspace: "W2", FenceMS: 60_000}})
		declares(third.Open.Session)
	})
}
