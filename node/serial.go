package node

import "sync"

// serial runs functions one after another, in the order in which they came, on a goroutine that exists only while there
// is something to run. The zero value is ready.
type serial struct {
	mu      sync.Mutex // guards the rest
	queue   []func()
	running bool
}

// do queues f; it never blocks.
func (s *serial) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, f)
	if !s.running {
		s.running = true
		go s.run()
	}
}

func (s *serial) run() {
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.running = false
			s.mu.Unlock()
			return
		}
		f := s.queue[0]
		s.queue = s.queue[1:]
		s.mu.Unlock()
		f()
	}
}
