package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/coder/websocket"
)

// Bounds of what waits in a stream to be sent. Past either the stream is cut and the agent reconciles: one slow agent
// never holds up the leader (rules A18).
const (
	maxQueuedFrames = 8_192
	maxQueuedBytes  = 16 << 20
)

// maxMessage bounds one message of a stream between nodes.
const maxMessage = 64 << 20

var errStreamCut = errors.New("the stream was cut")

// stream is one duplex connection between an agent and the leader. The node's own agent uses the same type over memory.
type stream interface {
	// send queues a frame without blocking. After a failure the stream is cut and send does nothing.
	send(*Frame)
	// recv gives the next frames; an error means that the stream is cut.
	recv(context.Context) ([]*Frame, error)
	// cut ends the stream; frames that were not sent yet are dropped.
	cut()
	// done is closed once the stream is cut.
	done() <-chan struct{}
}

// frameQueue is a bounded queue of frames; all that waits is taken at once.
type frameQueue struct {
	mu     sync.Mutex
	frames []*Frame
	bytes  int
	closed bool
	ready  chan struct{}
	end    chan struct{}
}

func newFrameQueue() *frameQueue {
	return &frameQueue{ready: make(chan struct{}, 1), end: make(chan struct{})}
}

func (q *frameQueue) put(f *Frame) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.frames = append(q.frames, f)
	q.bytes += f.size()
	if len(q.frames) > maxQueuedFrames || q.bytes > maxQueuedBytes {
		q.closeLocked()
		return
	}
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *frameQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closeLocked()
}

func (q *frameQueue) closeLocked() {
	if !q.closed {
		q.closed, q.frames = true, nil
		close(q.end)
	}
}

func (q *frameQueue) take(ctx context.Context) ([]*Frame, error) {
	for {
		q.mu.Lock()
		frames := q.frames
		q.frames, q.bytes = nil, 0
		q.mu.Unlock()
		if len(frames) > 0 {
			return frames, nil
		}
		select {
		case <-q.ready:
		case <-q.end:
			return nil, errStreamCut
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// pipeStream is one end of a stream within a process.
type pipeStream struct{ out, in *frameQueue }

var _ stream = (*pipeStream)(nil)

// newPipe gives the two ends of a stream within the process.
func newPipe() (agent, leader stream) {
	up, down := newFrameQueue(), newFrameQueue()
	return &pipeStream{out: up, in: down}, &pipeStream{out: down, in: up}
}

func (p *pipeStream) send(f *Frame) { p.out.put(f) }

func (p *pipeStream) recv(ctx context.Context) ([]*Frame, error) { return p.in.take(ctx) }

func (p *pipeStream) cut() { p.out.close(); p.in.close() }

func (p *pipeStream) done() <-chan struct{} { return p.out.end }

// socketStream is one end of a stream between two processes.
type socketStream struct {
	conn *websocket.Conn
	out  *frameQueue
	stop context.CancelFunc
	wg   sync.WaitGroup
}

var _ stream = (*socketStream)(nil)

func newSocketStream(conn *websocket.Conn) *socketStream {
	conn.SetReadLimit(maxMessage)
	ctx, cancel := context.WithCancel(context.Background())
	s := &socketStream{conn: conn, out: newFrameQueue(), stop: cancel}
	s.wg.Add(1)
	go s.write(ctx)
	return s
}

func (s *socketStream) write(ctx context.Context) {
	defer s.wg.Done()
	defer s.conn.CloseNow()
	defer s.out.close()
	for {
		frames, err := s.out.take(ctx)
		if err != nil {
			return
		}
		data, err := encodeFrames(frames)
		if err != nil || s.conn.Write(ctx, websocket.MessageBinary, data) != nil {
			return
		}
	}
}

func (s *socketStream) send(f *Frame) { s.out.put(f) }

func (s *socketStream) recv(ctx context.Context) ([]*Frame, error) {
	_, data, err := s.conn.Read(ctx)
	if err != nil {
		s.out.close()
		return nil, fmt.Errorf("%w: %v", errStreamCut, err)
	}
	return decodeFrames(data)
}

func (s *socketStream) cut() {
	s.out.close()
	s.stop()
	_ = s.conn.CloseNow()
	s.wg.Wait()
}

func (s *socketStream) done() <-chan struct{} { return s.out.end }

// dialStream opens a stream to the leader's peer port. A leader that hangs takes connections and answers nothing: it is
// not waited for longer than on an open stream.
func dialStream(ctx context.Context, client *http.Client, url string) (stream, error) {
	ctx, cancel := context.WithTimeout(ctx, stalled)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: client, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return nil, fmt.Errorf("open the stream to the leader: %w", err)
	}
	return newSocketStream(conn), nil
}
