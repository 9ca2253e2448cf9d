package node

import (
	"context"
	"sync"
	"time"
)

// simNet is what lies between the nodes of a simulated cluster beside Raft's own net: who is cut off from whom and who is
// frozen. What is on its way is kept and arrives when the way is open again, as under TCP.
type simNet struct {
	mu      sync.Mutex // guards the rest
	cuts    map[[2]string]bool
	frozen  map[string]bool
	changed chan struct{} // closed and replaced at every change
	latency time.Duration
}

func newSimNet() *simNet {
	return &simNet{cuts: map[[2]string]bool{}, frozen: map[string]bool{}, changed: make(chan struct{}), latency: 200 * time.Microsecond}
}

func (n *simNet) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.changed)
	n.changed = make(chan struct{})
}

// delay is how long a frame takes.
func (n *simNet) delay() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.latency
}

// until blocks until ok, which is asked under the lock; false when done came first.
func (n *simNet) until(done <-chan struct{}, ok func() bool) bool {
	for {
		n.mu.Lock()
		good, changed := ok(), n.changed
		n.mu.Unlock()
		if good {
			return true
		}
		select {
		case <-changed:
		case <-done:
			return false
		}
	}
}

// socketFrames is what a socket takes for a process that does not read, about.
const socketFrames = 64

// open tells whether frames from one end reach the other now.
func (n *simNet) open(from, to *simEnd) bool {
	if from.pipe.hung || n.cuts[[2]string{from.node.name, to.node.name}] || n.frozen[from.node.name] {
		return false
	}
	return !n.frozen[to.node.name] || to.in.waiting() < socketFrames
}

func (q *frameQueue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.frames)
}

// thawed blocks while a node is frozen.
func (n *simNet) thawed(done <-chan struct{}, name string) bool {
	return n.until(done, func() bool { return !n.frozen[name] })
}

// simPipe is a stream between the agent of one node and the leader on another.
type simPipe struct {
	net     *simNet
	ends    [2]*simEnd // agent, leader
	encoded bool       // frames travel in their encoding
	hung    bool       // nothing arrives any more, ever; guarded by net.mu
	dead    chan struct{}
	once    sync.Once
	wg      sync.WaitGroup
}

// simEnd is one end of it.
type simEnd struct {
	pipe    *simPipe
	node    *simNode
	out, in *frameQueue
}

var _ stream = (*simEnd)(nil)

func newSimPipe(n *simNet, agent, leader *simNode, encoded bool) *simPipe {
	p := &simPipe{net: n, encoded: encoded, dead: make(chan struct{})}
	for i, node := range []*simNode{agent, leader} {
		p.ends[i] = &simEnd{pipe: p, node: node, out: newFrameQueue(), in: newFrameQueue()}
	}
	p.wg.Go(func() { p.pump(p.ends[0], p.ends[1]) })
	p.wg.Go(func() { p.pump(p.ends[1], p.ends[0]) })
	return p
}

// pump carries frames one way. The end of one side reaches the other like a frame: not while the way is cut.
func (p *simPipe) pump(from, to *simEnd) {
	for {
		frames, err := from.out.take(context.Background())
		if err == nil {
			time.Sleep(p.net.delay())
		}
		if !p.net.until(p.dead, func() bool { return p.net.open(from, to) }) {
			return
		}
		if err != nil {
			from.in.close()
			to.in.close()
			to.out.close()
			return
		}
		if p.encoded {
			data, err := encodeFrames(frames)
			if err == nil {
				frames, err = decodeFrames(data)
			}
			if err != nil {
				panic(err)
			}
		}
		for _, f := range frames {
			to.in.put(f)
		}
	}
}

// sever ends both sides at once.
func (p *simPipe) sever() {
	p.once.Do(func() { close(p.dead) })
	for _, e := range p.ends {
		e.cut()
	}
}

func (e *simEnd) send(f *Frame) { e.out.put(f) }

func (e *simEnd) recv(ctx context.Context) ([]*Frame, error) {
	frames, err := e.in.take(ctx)
	// What came while the node was frozen is read when it runs again.
	if !e.pipe.net.thawed(e.node.gone, e.node.name) {
		return nil, errStreamCut
	}
	return frames, err
}

func (e *simEnd) cut() { e.out.close(); e.in.close() }

func (e *simEnd) done() <-chan struct{} { return e.out.end }
