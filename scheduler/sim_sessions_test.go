package scheduler_test

import (
	"errors"
	"fmt"

	"github.com/coflux-mesh/coflux/scheduler"
)

// opened follows a session that is made, or was made before.
func (o *oracle) opened(r *scheduler.OpenSession, reply scheduler.Reply) error {
	s := o.sessions[r.Session]
	newer := false
	for _, other := range o.sessions {
		newer = newer || other.node == r.Node && other.boot > r.Boot
	}
	if reply.Err != nil {
		if s != nil && s.lost || newer || !o.servable(r) {
			return nil
		}
		return errors.New("a good session was refused")
	}
	defer func() {
		if s := o.sessions[r.Session]; s.workspace == "" {
			s.workspace = reply.Answer.WorkspaceID
		}
	}()
	if s == nil || s.lost { // its row may be gone: then it counts as new
		if err := o.serves(r, reply.Answer.WorkspaceID); err != nil {
			return err
		}
	}
	if s != nil && !s.lost {
		return nil
	}
	for id, other := range o.sessions {
		if other.node == r.Node {
			if id != r.Session && !other.lost && other.boot > r.Boot {
				return errors.New("an older start of the node displaced a newer one")
			}
			o.lose(id)
		}
	}
	o.sessions[r.Session] = &oracleSession{base: o.given(r.Session), node: r.Node, boot: r.Boot, provides: r.Provides, accepts: r.Accepts}
	return nil
}

func (o *oracle) lose(session string) {
	o.sessions[session].lost = true
	for _, e := range o.execs {
		if e.session == session && e.result == "" {
			e.forsaken = true
		}
	}
}

// speaks tells whether a session may still change an execution, or which refusal it must get.
func (o *oracle) speaks(session, id string) (e *oracleExec, code string) {
	e = o.execs[id]
	s := o.sessions[session]
	switch {
	case s == nil || s.lost || e == nil || e.session != session:
		return nil, scheduler.CodeFenced
	case e.result != "":
		return e, scheduler.CodeFenced
	case e.doomed:
		// The sweep may have come by or not.
		return e, scheduler.CodeCancelled
	}
	return e, ""
}

func refusedAs(reply scheduler.Reply, code string) error {
	got := ""
	if reply.Err != nil {
		got = reply.Err.Code
	}
	if got != code {
		return fmt.Errorf("refusal is %q, want %q", got, code)
	}
	return nil
}
