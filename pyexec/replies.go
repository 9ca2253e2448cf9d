package pyexec

import (
	"encoding/json"
	"errors"
	"os"
	"sync"
)

// replies writes to one executor. Answers to requests leave in the order of the requests, except those to selects,
// which leave when they are known: a blocked select must hold nothing up, not even the submit it waits for. mu guards
// the fields below it; the writing goroutine runs only while there is something to write.
type replies struct {
	f *os.File

	mu      sync.Mutex
	order   []*slot // ordered requests without a written answer
	queue   [][]byte
	writing bool
	closed  bool
}

// slot is the place of one answer.
type slot struct {
	r     *replies
	id    int64
	code  string
	queue bool
	line  []byte
	once  sync.Once
}

func newReplies(f *os.File) *replies {
	return &replies{f: f}
}

// ordered keeps a place in the order of answers.
func (r *replies) ordered(id int64, code string) *slot {
	s := &slot{r: r, id: id, code: code, queue: true}
	r.mu.Lock()
	r.order = append(r.order, s)
	r.mu.Unlock()
	return s
}

// free makes a place that waits for nobody.
func (r *replies) free(id int64, code string) *slot { return &slot{r: r, id: id, code: code} }

type replyWire struct {
	ID     int64      `json:"id"`
	Result any        `json:"result"`
	Error  *errorCode `json:"error,omitempty"`
}

type errorCode struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// answer is called once; later calls do nothing.
func (s *slot) answer(result any, err error) {
	s.once.Do(func() {
		w := replyWire{ID: s.id, Result: result}
		if err != nil {
			w.Result, w.Error = nil, &errorCode{Code: s.code, Message: err.Error()}
			var re *RequestError
			if errors.As(err, &re) {
				w.Error.Code, w.Error.Message = re.Code, re.Message
			}
		}
		line, err := json.Marshal(w)
		if err != nil {
			line, _ = json.Marshal(replyWire{ID: s.id, Error: &errorCode{Code: s.code, Message: "the reply is not JSON: " + err.Error()}})
		}
		s.r.settle(s, append(line, '\n'))
	})
}

func (r *replies) settle(s *slot, line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !s.queue {
		r.push(line)
		return
	}
	s.line = line
	for len(r.order) > 0 && r.order[0].line != nil {
		r.push(r.order[0].line)
		r.order[0] = nil
		r.order = r.order[1:]
	}
}

// send writes a command.
func (r *replies) send(line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.push(line)
}

// push is called with mu held.
func (r *replies) push(line []byte) {
	if r.closed {
		return
	}
	r.queue = append(r.queue, line)
	if !r.writing {
		r.writing = true
		go r.write()
	}
}

func (r *replies) write() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) > 0 && !r.closed {
		batch := r.queue
		r.queue = nil
		r.mu.Unlock()
		var err error
		for _, line := range batch {
			if _, err = r.f.Write(line); err != nil {
				break
			}
		}
		r.mu.Lock()
		if err != nil { // the executor is gone or does not want more; its end is reported elsewhere
			r.queue = nil
			break
		}
	}
	r.writing = false
}

// close ends the executor's input; what is still queued is dropped.
func (r *replies) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		r.queue, r.order = nil, nil
		r.f.Close()
	}
}
