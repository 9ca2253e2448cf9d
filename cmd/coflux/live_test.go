package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
)

func TestQueueStatus(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(fakeCreated)
	at, later, reason := int64(fakeCreated), int64(fakeCreated+1), "no node serves the task m/t in this workspace"
	for _, tt := range []struct {
		q      client.Queued
		paused bool
		want   string
	}{
		{client.Queued{}, false, "waiting"},
		{client.Queued{}, true, "paused"},
		{client.Queued{AssignedAt: &at}, true, "assigned"},
		{client.Queued{ExecuteAfter: &later}, true, "scheduled"},
		{client.Queued{ExecuteAfter: &at}, true, "paused"},
		{client.Queued{Reason: &reason}, true, "paused"},
		{client.Queued{Reason: &reason}, false, "no session: " + reason},
	} {
		if got := queueStatus(tt.q, tt.paused, now); got != tt.want {
			t.Errorf("%+v paused %v: %s, want %s", tt.q, tt.paused, got, tt.want)
		}
	}
}

// endsAfter cancels a command once it has drawn something for the second time.
type endsAfter struct {
	drawn  bytes.Buffer // by name: its WriteString would go past Write
	cancel context.CancelFunc
}

func (w *endsAfter) Write(p []byte) (int, error) {
	n, err := w.drawn.Write(p)
	if strings.Count(w.drawn.String(), "\x1b[J") > 1 {
		w.cancel()
	}
	return n, err
}

// TestLiveViews: on a terminal the views are drawn again and again until Ctrl-C, which is no failure.
func TestLiveViews(t *testing.T) {
	t.Parallel()
	n := newFakeNode()
	defer n.Close()
	for command, want := range map[string]string{"queue": "Rwait:2:1", "sessions list --watch": "7vZHRdsHcFtSl", "manifests inspect --watch": "my_workflow(name, n)",
		"queue -w staging": "Queue is empty."} {
		a, _, stderr := terminalApp(n, 24)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		out := &endsAfter{cancel: cancel}
		a.stdout = out
		if code := a.main(ctx, strings.Fields(command)); code != 0 {
			t.Errorf("%s: status %d: %s", command, code, stderr)
		}
		if text := out.drawn.String(); strings.Count(text, "\x1b[J") < 2 || !strings.Contains(text, want) {
			t.Errorf("%s drew %q", command, text)
		}
	}
}
