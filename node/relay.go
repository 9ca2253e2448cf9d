package node

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/coder/websocket"
	"github.com/coflux-mesh/coflux/scheduler"
)

// relay passes the frames of an agent that is attached to this node on to whoever leads, and back, until either stream
// ends: then the agent comes again. The agent is not a node: it may speak for its own session only, and in the project
// that its connection named.
func relay(ctx context.Context, project string, agent stream, dial func(context.Context) (stream, error)) error {
	defer agent.cut()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	short, done := context.WithTimeout(ctx, helloTimeout)
	defer done()
	frames, err := agent.recv(short)
	if err != nil {
		return fmt.Errorf("wait for hello: %w", err)
	}
	hello := frames[0].Hello
	switch {
	case hello == nil:
		return errors.New("the first frame of a stream must be hello")
	case !strings.HasPrefix(hello.Open.Node, scheduler.WorkerPrefix):
		return fmt.Errorf("a worker must not call itself node %q", hello.Open.Node)
	}
	hello.Open.Project = project
	session := hello.Open.Session
	leader, err := dial(ctx)
	if err != nil {
		return err
	}
	defer leader.cut()
	go func() {
		defer cancel()
		for {
			down, err := leader.recv(ctx)
			if err != nil {
				return
			}
			for _, f := range down {
				agent.send(f)
			}
		}
	}()
	go func() { // a full queue ends the stream, even while nobody reads
		select {
		case <-agent.done():
		case <-leader.done():
		case <-ctx.Done():
		}
		cancel()
	}()
	leader.send(frames[0])
	for rest := frames[1:]; ; {
		for _, f := range rest {
			if err := own(f, session); err != nil {
				return err
			}
			leader.send(f)
		}
		if rest, err = agent.recv(ctx); err != nil {
			return err
		}
	}
}

// own refuses a frame that an attached agent has no right to send.
func own(f *Frame, session string) error {
	switch {
	case f.Hello != nil:
		return errors.New("hello was said twice on one stream")
	case f.Request != nil:
		r, err := scheduler.DecodeRequest(f.Request.Body)
		if err != nil {
			return err
		}
		if by, ok := scheduler.SessionOf(r); !ok || by != session {
			return fmt.Errorf("a worker must not ask for %s but in its own session", scheduler.Name(r))
		}
	}
	return nil
}

// AttachWorker serves the connection of an agent-only process until it ends.
func (b backend) AttachWorker(ctx context.Context, project string, conn *websocket.Conn) {
	if err := relay(ctx, project, newSocketStream(conn), b.dialLeader); err != nil {
		b.log.Debug("stream of a worker ended", "error", err)
	}
}
