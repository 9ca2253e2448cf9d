package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"sync"
	"time"
)

// Lease is for how long what was written stays, whoever refers to it or not: until then the row that names it must have been
// proposed. It is twice what writers may count on, an hour (rules A20).
const Lease = 2 * time.Hour

// leases says which blobs were written within the last Lease of this process's life. Of what was written before it began nothing is
// known, so all that is here is leased at the start. Time is monotonic: a clock that jumps ends no lease.
type leases struct {
	mu      sync.Mutex // guards the rest, and is held while a blob is removed
	now     func() time.Time
	start   time.Time
	written map[string]time.Time
	pruned  time.Time
}

func newLeases() *leases {
	now := time.Now()
	return &leases{now: time.Now, start: now, written: map[string]time.Time{}, pruned: now}
}

// renew leases a blob from now on.
func (l *leases) renew(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.written[key] = now
	if now.Sub(l.pruned) < Lease/4 {
		return
	}
	l.pruned = now
	for key, at := range l.written {
		if now.Sub(at) >= Lease {
			delete(l.written, key)
		}
	}
}

// Age makes all leases older by d, as time does. For tests.
func (l *Local) Age(d time.Duration) {
	l.leases.mu.Lock()
	defer l.leases.mu.Unlock()
	l.leases.start = l.leases.start.Add(-d)
	for key, at := range l.leases.written {
		l.leases.written[key] = at.Add(-d)
	}
}

// over tells whether a blob's lease has ended. mu is held.
func (l *leases) over(key string) bool {
	at, ok := l.written[key]
	if !ok {
		at = l.start
	}
	return l.now().Sub(at) >= Lease
}

// leased tells whether a blob's lease is not over.
func (l *Local) leased(key string) bool {
	l.leases.mu.Lock()
	defer l.leases.mu.Unlock()
	return !l.leases.over(key)
}

// Unleased walks the keys of what is here and is not leased.
func (l *Local) Unleased() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for key, err := range l.Keys() {
			l.leases.mu.Lock()
			over := err != nil || l.leases.over(key)
			l.leases.mu.Unlock()
			if over && !yield(key, err) {
				return
			}
		}
	}
}

// Remove removes a blob that nothing refers to, unless it is leased: somebody may be about to refer to it. Whoever has it open
// reads on.
func (l *Local) Remove(_ context.Context, key string) (removed bool, err error) {
	if err := CheckKey(key); err != nil {
		return false, err
	}
	l.leases.mu.Lock()
	defer l.leases.mu.Unlock()
	if !l.leases.over(key) {
		return false, nil
	}
	_, file := place(key)
	err = l.root.Remove(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot remove blob %s: %w", key, err)
	}
	return true, nil
}
