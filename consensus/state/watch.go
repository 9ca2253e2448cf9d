package state

import (
	"context"
	"strings"
	"sync"
)

// remembered is how many changes of the past are known: a watch of what was read before those fires at once.
const remembered = 1 << 13

// topic is what can be watched: the rows whose keys in an index begin with the same part, up to the first NUL, or all of an index.
type topic struct {
	index int
	part  string
	all   bool
}

// topicOf is the topic of a key.
func topicOf(index int, key string) topic {
	part, _, _ := strings.Cut(key, "\x00")
	return topic{index: index, part: part}
}

// topicOfAll is the topic that has all keys with a prefix.
func topicOfAll(index int, prefix string) topic {
	part, _, whole := strings.Cut(prefix, "\x00")
	if !whole {
		return topic{index: index, all: true}
	}
	return topic{index: index, part: part}
}

// Watch is a memory of what was read, to wait until some of it changes.
type Watch struct {
	watches *watches
	since   uint64 // the index of what was read
	topics  map[topic]bool
}

func (w *Watch) add(t topic) {
	if w != nil {
		w.topics[t] = true
	}
}

// Wait returns nil when something that was read has changed, or may have, else ctx's error.
func (w *Watch) Wait(ctx context.Context) error {
	bell := w.watches.hang(w)
	defer w.watches.unhang(w, bell)
	select {
	case <-bell:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// watches are those who wait for changes.
type watches struct {
	mu sync.Mutex // guards the rest
	// past is a ring of what changed, the oldest at next once it is full.
	past []touched
	next int
	// forgotten is the last index of which not all changes are in past.
	forgotten uint64
	// bells have room for one, so that ringing never waits.
	bells map[topic]map[chan struct{}]bool
}

type touched struct {
	topic topic
	index uint64 // of the state
}

func newWatches() *watches { return &watches{bells: map[topic]map[chan struct{}]bool{}} }

// hang gives a channel that is rung at the next change of what was read, or has been already.
func (w *watches) hang(of *Watch) chan struct{} {
	bell := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed(of) {
		bell <- struct{}{}
		return bell
	}
	for t := range of.topics {
		if w.bells[t] == nil {
			w.bells[t] = map[chan struct{}]bool{}
		}
		w.bells[t][bell] = true
	}
	return bell
}

func (w *watches) unhang(of *Watch, bell chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for t := range of.topics {
		if delete(w.bells[t], bell); len(w.bells[t]) == 0 {
			delete(w.bells, t)
		}
	}
}

// changed tells whether something has changed since it was read, or may have. mu is held.
func (w *watches) changed(of *Watch) bool {
	if of.since < w.forgotten {
		return true
	}
	for i := range w.past {
		at := w.past[(w.next-1-i+2*len(w.past))%len(w.past)]
		if at.index <= of.since {
			return false
		}
		if of.topics[at.topic] || of.topics[topic{index: at.topic.index, all: true}] {
			return true
		}
	}
	return false
}

// touch rings for what has changed at an index of the state.
func (w *watches) touch(index uint64, topics []topic) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range topics {
		if len(w.past) < remembered {
			w.past = append(w.past, touched{t, index})
			w.next = len(w.past) % remembered
		} else {
			w.forgotten = w.past[w.next].index
			w.past[w.next] = touched{t, index}
			w.next = (w.next + 1) % remembered
		}
		w.ring(t)
		w.ring(topic{index: t.index, all: true})
	}
}

// forget rings for everything: the state is another one.
func (w *watches) forget(index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.past, w.next, w.forgotten = nil, 0, index
	for t := range w.bells {
		w.ring(t)
	}
}

// ring rings the bells of a topic. mu is held.
func (w *watches) ring(t topic) {
	for bell := range w.bells[t] {
		select {
		case bell <- struct{}{}:
		default: // it rings
		}
	}
}
