package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// helloTimeout ends streams whose agent never says who it is.
const helloTimeout = 10 * time.Second

// serveStream speaks with one agent until its stream or the leadership ends.
func (c *coordinator) serveStream(ctx context.Context, s stream) error {
	defer s.cut()
	l := c.leader()
	if l == nil {
		return errNotLeading
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	go func() { // a full queue ends the stream, even while its agent reads nothing
		select {
		case <-s.done():
			cancel()
		case <-ctx.Done():
		}
	}()
	hello, rest, err := l.hello(ctx, s)
	if err != nil {
		return err
	}
	session := hello.Open.Session
	defer l.hub.detach(session, s)
	for {
		for _, f := range rest {
			l.frame(ctx, session, s, f)
		}
		if rest, err = s.recv(ctx); err != nil {
			return err
		}
	}
}

// hello admits the session and reconciles. rest are frames that came along with the first one.
func (l *leader) hello(ctx context.Context, s stream) (h *Hello, rest []*Frame, err error) {
	short, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	frames, err := s.recv(short)
	if err != nil {
		return nil, nil, fmt.Errorf("wait for hello: %w", err)
	}
	if h = frames[0].Hello; h == nil {
		return nil, nil, errors.New("the first frame of a stream must be hello")
	}
	heard := l.clock()
	if err := l.admit(short, h); err != nil {
		var refused *scheduler.Error
		if errors.As(err, &refused) {
			answer := &Frame{Refused: &Refused{Reason: refused.Message}}
			if refused.Code == scheduler.CodeFenced {
				answer = &Frame{Fenced: &Fenced{Reason: refused.Message}}
			}
			s.send(answer)
			_, _ = s.recv(short) // the agent cuts the stream once it knows
		}
		return nil, nil, err
	}
	if err := l.confirmLease(short); err != nil {
		return nil, nil, err
	}
	if !l.hub.renewed(h.Open.Session, heard) {
		return nil, nil, fmt.Errorf("session %s is being given up", h.Open.Session)
	}
	view := l.store.View()
	welcome := &Welcome{Term: l.term, FenceMS: view.Setting(state.SettingFence, defaultFence)}
	if row := view.Session(h.Open.Session); row != nil {
		welcome.Workspace = row.Workspace
	}
	if !l.hub.attach(h, s, welcome) {
		return nil, nil, fmt.Errorf("session %s, or the leadership, has ended meanwhile", h.Open.Session)
	}
	l.kick()
	return h, frames[1:], nil
}

// admit makes the session if it is new, and refuses one that was lost.
func (l *leader) admit(ctx context.Context, h *Hello) error {
	row := l.store.View().Session(h.Open.Session)
	if row == nil && h.Fresh {
		reply, err := l.do(ctx, &h.Open)
		if err == nil && reply.Err != nil {
			err = reply.Err
		}
		return err
	}
	if row == nil || row.State == state.SessionLost {
		return &scheduler.Error{Code: scheduler.CodeFenced, Message: "session " + h.Open.Session + " was lost"}
	}
	return nil
}

// frame handles one frame of an agent. Nothing here blocks.
func (l *leader) frame(ctx context.Context, session string, s stream, f *Frame) {
	switch {
	case f.Request != nil:
		l.ask(session, s, f.Request)
	case f.Select != nil:
		l.hub.selects(session, f.Select)
	case f.Unblock != nil:
		l.hub.unblock(session, f.Unblock)
	case f.Terminated != nil:
		l.hub.terminated(session, f.Terminated.Executions)
	case f.Renew != nil:
		heard := l.clock()
		go func() {
			if l.confirmLease(ctx) == nil && l.hub.renewed(session, heard) {
				s.send(&Frame{Renewed: f.Renew})
			}
		}()
	default:
		l.log.Debug("frame of a newer version ignored", "session", session)
	}
}

// ask queues a request of an agent and sends the answer when it is decided.
func (l *leader) ask(session string, s stream, q *Ask) {
	answer := func(reply scheduler.Reply, err error) {
		if err == nil { // otherwise the leadership ends: the agent asks the next leader
			s.send(&Frame{Answer: &Answer{ID: q.ID, Reply: reply}})
		}
	}
	r, err := scheduler.DecodeRequest(q.Body)
	if err != nil {
		answer(scheduler.Reply{Err: &scheduler.Error{Code: scheduler.CodeBadRequest, Message: err.Error()}}, nil)
		return
	}
	if _, ok := r.(*scheduler.UpdateSession); ok {
		plain := answer
		answer = func(reply scheduler.Reply, err error) {
			plain(reply, err)
			l.hub.update(session)
			l.kick()
		}
	}
	if err := l.enqueue(r, false, answer); err != nil {
		s.cut()
	}
}
