package node

import (
	"errors"
	"fmt"
	"slices"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/hashicorp/go-msgpack/v2/codec"
)

// Frame is one message between an agent and the leader: exactly one field is set. This struct is the table of all
// that they say to each other; the field names on the wire are for ever.
type Frame struct {
	// Agent to leader.
	Hello      *Hello      `codec:"h,omitempty"`  // first on every stream
	Request    *Ask        `codec:"q,omitempty"`  // something for the scheduler
	Select     *Select     `codec:"s,omitempty"`  // a body waits, or polls
	Unblock    *Unblock    `codec:"u,omitempty"`  // it waits no more
	Terminated *Terminated `codec:"t,omitempty"`  // processes are gone
	Renew      *Renew      `codec:"rn,omitempty"` // the lease, once a second
	// Leader to agent.
	Welcome *Welcome `codec:"w,omitempty"`  // answers Hello
	Assign  *Assign  `codec:"a,omitempty"`  // run this
	Abort   *Abort   `codec:"b,omitempty"`  // kill this
	Answer  *Answer  `codec:"n,omitempty"`  // answers Request
	Outcome *Outcome `codec:"o,omitempty"`  // an execution has its final result, or an input its response
	Nothing *Nothing `codec:"z,omitempty"`  // answers a polling Select
	Renewed *Renew   `codec:"rd,omitempty"` // answers Renew
	Fenced  *Fenced  `codec:"f,omitempty"`  // the session is lost
	Refused *Refused `codec:"x,omitempty"`  // answers Hello: the session is not wanted now
}

// Hello opens a stream: who the agent is, and all that it holds (rules A3, A4).
type Hello struct {
	Open scheduler.OpenSession `codec:"o"`
	// Fresh says that the session has never been welcomed: it may be made. Otherwise an unknown one is fenced.
	Fresh bool `codec:"f"`
	// Held are the executions that the agent has accepted and whose result is not known to be committed.
	Held []string `codec:"h,omitempty"`
	// Ended are those of Held whose process is gone.
	Ended []string `codec:"e,omitempty"`
}

// Ask carries a request for the scheduler; ID counts up within the session.
type Ask struct {
	ID   uint64 `codec:"i"`
	Body []byte `codec:"b"`
}

// Answer to an Ask.
type Answer struct {
	ID    uint64          `codec:"i"`
	Reply scheduler.Reply `codec:"r"`
}

// Select says that an execution waits for the first of handles, executions or inputs, to be final.
type Select struct {
	Execution string   `codec:"e"`
	Number    int64    `codec:"n"`
	Handles   []string `codec:"h"`
	// Poll asks without waiting: what is final is answered by Outcome, in the order of the handles, then Nothing follows in
	// any case.
	Poll bool `codec:"p,omitempty"`
}

// Unblock takes a wait of an execution back.
type Unblock struct {
	Execution string `codec:"e"`
	Number    int64  `codec:"n"`
}

// Terminated says that the processes of executions are gone, with their whole groups.
type Terminated struct {
	Executions []string `codec:"e"`
}

// Renew asks for the lease to be renewed.
type Renew struct {
	Seq uint64 `codec:"s"`
}

// Welcome answers Hello; it counts as the answer to a renewal.
type Welcome struct {
	Term      uint64 `codec:"t"`
	Workspace string `codec:"w"`
	// FenceMS is T_fence.
	FenceMS int64 `codec:"f"`
}

// Assign gives an execution to the agent.
type Assign struct {
	Execution string        `codec:"e"`
	Workspace string        `codec:"w"`
	Module    string        `codec:"m"`
	Target    string        `codec:"t"`
	Arguments []state.Value `codec:"a,omitempty"`
	TimeoutMS int64         `codec:"o,omitempty"`
	Root      bool          `codec:"r,omitempty"`
	// Durable asks to count equal calls.
	Durable bool `codec:"d,omitempty"`
}

// Abort has a process killed.
type Abort struct {
	Execution string `codec:"e"`
}

// Outcome is the final result that waiters of an execution see, or the response to an input. Unknown means that there is no
// such execution or input.
type Outcome struct {
	Execution string          `codec:"e"` // or input
	Result    *state.Result   `codec:"r,omitempty"`
	Unknown   bool            `codec:"u,omitempty"`
	Response  *state.Response `codec:"p,omitempty"` // of an input
}

// Nothing ends the answer to a polling Select.
type Nothing struct {
	Execution string `codec:"e"`
	Number    int64  `codec:"n"`
}

// Fenced tells an agent that its session is lost: it kills everything and opens a new one.
type Fenced struct {
	Reason string `codec:"r"`
}

// Refused tells an agent that there is no place for its session now, and why: it asks again after a while.
type Refused struct {
	Reason string `codec:"r"`
}

// size of the frame on the wire, about; it only has to bound memory.
func (f *Frame) size() int {
	n := 128
	switch {
	case f.Request != nil:
		n += len(f.Request.Body)
	case f.Assign != nil:
		for _, v := range f.Assign.Arguments {
			n += len(v.Data)
		}
	case f.Outcome != nil && f.Outcome.Result != nil && f.Outcome.Result.Value != nil:
		n += len(f.Outcome.Result.Value.Data)
	case f.Outcome != nil && f.Outcome.Response != nil && f.Outcome.Response.Value != nil:
		n += len(f.Outcome.Response.Value.Data)
	case f.Hello != nil:
		n += 64 * (len(f.Hello.Held) + len(f.Hello.Open.Targets))
	}
	return n
}

// frameHandle is the encoding of frames; unknown fields of newer versions are dropped.
var frameHandle = func() *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{WriteExt: true}
	h.TimeNotBuiltin = true
	return h
}()

func encodeFrames(frames []*Frame) ([]byte, error) {
	var out []byte
	if err := codec.NewEncoderBytes(&out, frameHandle).Encode(frames); err != nil {
		return nil, fmt.Errorf("encode frames: %w", err)
	}
	return out, nil
}

func decodeFrames(data []byte) (frames []*Frame, err error) {
	if err := codec.NewDecoderBytes(data, frameHandle).Decode(&frames); err != nil {
		return nil, fmt.Errorf("decode frames: %w", err)
	}
	if len(frames) == 0 || slices.Contains(frames, nil) {
		return nil, errors.New("decode frames: a message without frames, or with an empty one")
	}
	return frames, nil
}
