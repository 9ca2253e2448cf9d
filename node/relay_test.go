package node

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// relayed starts a relay and gives the worker's end, the leader's end, and how the relay ended.
func relayed(t *testing.T, dialled error) (worker, leader stream, ended chan error) {
	t.Helper()
	worker, mine := newPipe()
	theirs, leader := newPipe()
	ended = make(chan error, 1)
	go func() {
		ended <- relay(t.Context(), "acme", mine, func(context.Context) (stream, error) { return theirs, dialled })
	}()
	return worker, leader, ended
}

func helloFrom(node string) *Frame {
	return &Frame{Hello: &Hello{Fresh: true, Open: scheduler.OpenSession{Session: "S1", Node: node, Project: "other"}}}
}

func asks(t *testing.T, r scheduler.Request) *Frame {
	t.Helper()
	body, err := scheduler.EncodeRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	return &Frame{Request: &Ask{ID: 1, Body: body}}
}

// TestRelay passes frames on both ways, in order, in the project of the connection.
func TestRelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		worker, leader, ended := relayed(t, nil)
		worker.send(helloFrom("worker-a"))
		worker.send(asks(t, &scheduler.UpdateSession{Session: "S1"}))
		worker.send(&Frame{Renew: &Renew{Seq: 7}})
		var got []*Frame
		for len(got) < 3 {
			frames, err := leader.recv(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, frames...)
		}
		if h := got[0].Hello; h == nil || h.Open.Project != "acme" || h.Open.Session != "S1" {
			t.Errorf("hello became %+v", h)
		}
		if got[1].Request == nil || got[2].Renew == nil || got[2].Renew.Seq != 7 {
			t.Errorf("the others became %+v, %+v", got[1], got[2])
		}
		leader.send(&Frame{Welcome: &Welcome{Term: 3}})
		if frames, err := worker.recv(t.Context()); err != nil || frames[0].Welcome == nil {
			t.Errorf("down came %v, %v", frames, err)
		}
		leader.cut()
		if _, err := worker.recv(t.Context()); err == nil {
			t.Error("the worker's stream outlives the leader's")
		}
		<-ended
	})
}

// TestRelayRefuses what an attached agent has no right to say.
func TestRelayRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		frames []*Frame
		says   string
	}{
		"node":            {[]*Frame{helloFrom("01M8AHCRJ8KJPWQ5P2YSJGJSAY")}, "call itself node"},
		"no hello":        {[]*Frame{{Renew: &Renew{Seq: 1}}}, "must be hello"},
		"two hellos":      {[]*Frame{helloFrom("worker-a"), helloFrom("worker-b")}, "twice"},
		"other session":   {[]*Frame{helloFrom("worker-a"), asks(t, &scheduler.ReportResult{Session: "S2", Execution: "R1:1:1"})}, "own session"},
		"foreign request": {[]*Frame{helloFrom("worker-a"), asks(t, &scheduler.PutSetting{Name: state.SettingVoters, Value: 1})}, "own session"},
		"another session": {[]*Frame{helloFrom("worker-a"), asks(t, &scheduler.OpenSession{Session: "S1", Node: "n"})}, "own session"},
		"garbage":         {[]*Frame{helloFrom("worker-a"), {Request: &Ask{ID: 1, Body: []byte{1, 2, 3}}}}, "decode"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				worker, leader, ended := relayed(t, nil)
				for _, f := range tt.frames {
					worker.send(f)
				}
				if err := <-ended; err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("ended with %v", err)
				}
				if _, err := worker.recv(t.Context()); err == nil {
					t.Error("the stream goes on")
				}
				short, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				for { // nothing of it got through
					frames, err := leader.recv(short)
					if err != nil {
						break
					}
					for _, f := range frames {
						if f.Request != nil {
							t.Errorf("the leader heard %+v", f.Request)
						}
					}
				}
			})
		})
	}
}

// TestRelayWithoutLeader ends the worker's stream, so that it comes again.
func TestRelayWithoutLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		worker, leader, ended := relayed(t, errNoQuorum)
		worker.send(helloFrom("worker-a"))
		if err := <-ended; !errors.Is(err, errNoQuorum) {
			t.Errorf("ended with %v", err)
		}
		if _, err := worker.recv(t.Context()); err == nil {
			t.Error("the stream goes on")
		}
		leader.cut()
	})
}

// TestMessagesWithoutFrames: whoever connects may send anything; what holds no frame ends the stream, and nothing else.
func TestMessagesWithoutFrames(t *testing.T) {
	t.Parallel()
	for name, data := range map[string][]byte{
		"nothing": {}, "no list": {0x01}, "an empty list": {0x90}, "a list of nothing": {0x91, 0xc0}, "nil": {0xc0}, "cut short": {0x92, 0x80},
	} {
		if frames, err := decodeFrames(data); err == nil {
			t.Errorf("%s gave %v", name, frames)
		}
	}
	if frames, err := decodeFrames([]byte{0x91, 0x80}); err != nil || len(frames) != 1 {
		t.Errorf("a frame of a newer version gave %v, %v", frames, err)
	}
}
