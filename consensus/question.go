package consensus

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// A connection that begins with 'Q' carries questions one way and answers the other, each as
//
//	uint32 length, big endian | that many bytes of JSON
//
// Answers name the question by Seq and may come in any order. A question is answered without waiting for anything but,
// where a promise is made, one write to the disk.

// What can be asked.
const (
	askTerm    = "term"    // is your term still T? (rules A5)
	askStatus  = "status"  // how far are you, and in which term?
	askSeen    = "seen"    // what have you seen of me? (sights.go)
	askAdopt   = "adopt"   // will you belong to this cluster?
	askRemoved = "removed" // you were removed from this cluster
	askPromise = "promise" // do you promise to let From create this cluster? (rules A11)
	askGivenUp = "givenup" // have you given up the creation of this cluster for good?
	askWithout = "without" // how does your cluster stand without this one of its ids? (quarantine.go)
)

const maxFrame = 64 << 10

type question struct {
	Seq     uint64 `json:"seq"`
	Kind    string `json:"kind"`
	Cluster string `json:"cluster,omitempty"` // the cluster that is spoken of: the asker's own, or the one to be created
	From    string `json:"from"`
	To      string `json:"to"`
	Term    uint64 `json:"term,omitempty"`
	Expect  int    `json:"expect,omitempty"`
	Without string `json:"without,omitempty"` // the id that is not counted
}

type answer struct {
	Seq     uint64  `json:"seq"`
	Err     string  `json:"err,omitempty"`
	Yes     bool    `json:"yes,omitempty"`
	Node    string  `json:"node"`
	Cluster string  `json:"cluster,omitempty"`
	Term    uint64  `json:"term,omitempty"`
	Wall    int64   `json:"wall,omitempty"` // unix nanoseconds
	Status  *status `json:"status,omitempty"`
	Promise promise `json:"promise,omitzero"` // to whom the promise went instead
	View    *view   `json:"view,omitempty"`
	Seen    sight   `json:"seen,omitzero"`
}

// status is how far a server is.
type status struct {
	Boot     string `json:"boot"`
	HasState bool   `json:"hasState,omitempty"`
	logEnd
	Contact int64 `json:"contact"` // milliseconds since the leader was last heard; -1 = never

	Mute   bool     `json:"mute,omitempty"`   // it asks what was seen of it, and takes no part yet
	Former []string `json:"former,omitempty"` // ids that it had before and gave up as damaged
}

// logEnd is the last entry of a log.
type logEnd struct {
	LastIndex uint64 `json:"lastIndex"`
	LastTerm  uint64 `json:"lastTerm"`
}

// after tells whether the log goes further than another, as Raft compares them for votes.
func (e logEnd) after(o logEnd) bool {
	return e.LastTerm > o.LastTerm || (e.LastTerm == o.LastTerm && e.LastIndex > o.LastIndex)
}

func writeFrame(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(body) > maxFrame {
		return fmt.Errorf("a frame of %d bytes is too long", len(body))
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body))), body...))
	return err
}

func readFrame(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return fmt.Errorf("a frame of %d bytes is too long", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	return json.Unmarshal(body, v)
}

// answerer serves the questions that arrive.
type answerer struct {
	sub    net.Listener
	reply  func(question) answer
	logger hclog.Logger
	wg     sync.WaitGroup

	mu     sync.Mutex // guards the rest
	conns  map[net.Conn]struct{}
	closed bool
}

func (a *answerer) start() {
	a.conns = map[net.Conn]struct{}{}
	a.wg.Add(1)
	go func() {
		defer a.wg.Done()
		for {
			c, err := a.sub.Accept()
			if err != nil {
				return
			}
			a.mu.Lock()
			if a.closed {
				c.Close()
			} else {
				a.conns[c] = struct{}{}
				a.wg.Add(1)
				go a.serve(c)
			}
			a.mu.Unlock()
		}
	}()
}

func (a *answerer) stop() {
	a.mu.Lock()
	a.closed = true
	for c := range a.conns {
		c.Close()
	}
	a.mu.Unlock()
	a.sub.Close()
	a.wg.Wait()
}

func (a *answerer) serve(c net.Conn) {
	defer a.wg.Done()
	defer func() {
		c.Close()
		a.mu.Lock()
		delete(a.conns, c)
		a.mu.Unlock()
	}()
	r := bufio.NewReader(c)
	for {
		var q question
		if err := readFrame(r, &q); err != nil {
			return
		}
		ans := a.reply(q)
		ans.Seq = q.Seq
		c.SetWriteDeadline(time.Now().Add(5 * time.Second))
		if err := writeFrame(c, ans); err != nil {
			a.logger.Debug("an answer was not taken", "error", err)
			return
		}
	}
}
