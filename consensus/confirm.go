package consensus

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Confirmation is what a majority of the voters said after it was asked for.
type Confirmation struct {
	Term   uint64      // this node led in Term after ConfirmTerm was called
	Clocks []time.Time // the wall clocks of the voters that answered, this node's included if it votes
}

// confirmer asks a majority of the voters whether a term is still theirs (rules A5). One round is under way at a time;
// callers that arrive meanwhile share the next one, so every yes that counts for a caller was given after it called:
// a voter that says "my term is T" after the call has not yet voted for a later leader, and no later leader is elected
// without one of that majority.
type confirmer struct {
	self    string
	leading func() (term uint64, ok bool)
	voters  func() []string
	ask     func(ctx context.Context, id string, term uint64) (answer, error)
	timeout time.Duration // of one round

	wake chan struct{} // capacity 1
	wg   sync.WaitGroup

	mu      sync.Mutex // guards the rest
	waiting []chan confirmed
	closed  bool
}

type confirmed struct {
	Confirmation
	err error
}

// start runs rounds until ctx ends.
func (c *confirmer) start(ctx context.Context) {
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		for {
			select {
			case <-c.wake:
				c.serve(ctx)
			case <-ctx.Done():
				c.mu.Lock()
				c.closed = true
				c.mu.Unlock()
				c.answer(confirmed{err: ErrStopped})
				return
			}
		}
	}()
}

func (c *confirmer) take() []chan confirmed {
	c.mu.Lock()
	defer c.mu.Unlock()
	callers := c.waiting
	c.waiting = nil
	return callers
}

func (c *confirmer) answer(r confirmed) {
	for _, ch := range c.take() {
		ch <- r
	}
}

// serve takes the callers first and asks then: this order is the whole rule.
func (c *confirmer) serve(ctx context.Context) {
	callers := c.take()
	if len(callers) == 0 {
		return
	}
	conf, err := c.round(ctx)
	for _, ch := range callers {
		ch <- confirmed{conf, err}
	}
}

// confirm waits for a round that begins after it was called.
func (c *confirmer) confirm(ctx context.Context) (Confirmation, error) {
	ch := make(chan confirmed, 1)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return Confirmation{}, ErrStopped
	}
	c.waiting = append(c.waiting, ch)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
	select {
	case r := <-ch:
		return r.Confirmation, r.err
	case <-ctx.Done():
		return Confirmation{}, fmt.Errorf("%w: %w", ErrNoQuorum, ctx.Err())
	}
}

func (c *confirmer) round(ctx context.Context) (Confirmation, error) {
	term, ok := c.leading()
	if !ok {
		return Confirmation{}, ErrNotLeader
	}
	voters := c.voters()
	need := len(voters)/2 + 1
	conf := Confirmation{Term: term}
	answers := make(chan answer, len(voters))
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	open := 0
	for _, id := range voters {
		if id == c.self {
			conf.Clocks = append(conf.Clocks, time.Now())
			continue
		}
		open++
		c.wg.Add(1)
		go func() {
			defer c.wg.Done()
			a, err := c.ask(ctx, id, term)
			if err != nil {
				a = answer{}
			}
			answers <- a
		}()
	}
	for ; len(conf.Clocks) < need && len(conf.Clocks)+open >= need; open-- {
		a := <-answers
		if a.Term > term {
			return Confirmation{}, ErrNotLeader
		}
		if a.Yes && a.Term == term {
			conf.Clocks = append(conf.Clocks, time.Unix(0, a.Wall))
		}
	}
	if len(conf.Clocks) < need {
		return Confirmation{}, ErrNoQuorum
	}
	if now, ok := c.leading(); !ok || now != term {
		return Confirmation{}, ErrNotLeader
	}
	return conf, nil
}
