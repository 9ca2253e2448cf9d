package gossip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// How often a node that found nobody asks again, and how often one that found
// somebody calls on the members it lost: after a partition each side has
// forgotten the other, and only a new join heals it.
const (
	joinFirst = 200 * time.Millisecond
	joinMax   = 5 * time.Second
	lostEvery = 10 * time.Second
	// For the first minute a node looks for lost members more often: when several start again at once they may find each other
	// and not those that went on.
	lostEarly, early = time.Second, time.Minute
)

// joinLoop asks the configured peers until somebody answers, and again
// whenever this node is alone.
func (g *Gossip) joinLoop(ctx context.Context) {
	defer g.wg.Done()
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = joinFirst, joinMax
	answered, turn := false, 0
	began := time.Now()
	for {
		pause := lostEvery
		if time.Since(began) < early {
			pause = lostEarly
		}
		if !answered || g.alone() {
			err := g.join(ctx, slices.Concat(g.cfg.Join, g.lost()))
			answered = err == nil
			if answered {
				wait.Reset()
			} else {
				pause = wait.NextBackOff()
				g.log.Info("no peer has answered yet, still trying", "join", g.cfg.Join, "again_in", pause, "error", err)
			}
		} else if peers := g.lost(); len(peers) > 0 {
			turn++
			if err := g.join(ctx, peers[turn%len(peers):][:1]); err == nil {
				g.log.Info("found a lost member again", "address", peers[turn%len(peers)])
			}
		}
		if !g.rest(ctx, pause) {
			return
		}
	}
}

// rest waits, but not longer than until this node is alone, and reports
// whether to go on.
func (g *Gossip) rest(ctx context.Context, pause time.Duration) bool {
	changed, cancel := g.Subscribe()
	defer cancel()
	was := g.alone()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-changed:
			if !was && g.alone() {
				return true
			}
		}
	}
}

func (g *Gossip) alone() bool { return len(g.Alive()) <= 1 }

// lost lists the gossip addresses of members that are gone, and those known from earlier where nobody was seen yet.
func (g *Gossip) lost() []string {
	var out []string
	here := map[string]bool{}
	for _, m := range g.Members() {
		here[m.GossipAddr] = true
		if m.State == Gone {
			out = append(out, m.GossipAddr)
		}
	}
	for _, addr := range g.cfg.Known {
		if !here[addr] {
			out = append(out, addr)
		}
	}
	return out
}

// join succeeds when another node than this one has answered.
func (g *Gossip) join(ctx context.Context, peers []string) error {
	if len(peers) == 0 {
		return nil
	}
	self, _ := g.Lookup(g.cfg.NodeID)
	var errs []error
	others := 0
	for _, peer := range peers {
		addrs, err := g.resolve(ctx, peer)
		if err != nil {
			errs = append(errs, err)
		}
		for _, addr := range addrs {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if addr == self.GossipAddr {
				continue
			}
			others++
			n, err := g.ml.Join([]string{addr})
			if err != nil {
				errs = append(errs, fmt.Errorf("cannot join the mesh at %s: %w", peer, err))
			} else if n > 0 && !g.alone() {
				return nil
			}
		}
	}
	if len(errs) == 0 && others == 0 && !g.alone() {
		return nil // this node is the one that all are told to join
	}
	if len(errs) == 0 {
		return errors.New("no other node was found at the addresses to join")
	}
	return errors.Join(errs...)
}

func (g *Gossip) resolve(ctx context.Context, peer string) ([]string, error) {
	host, port, err := net.SplitHostPort(peer)
	if err != nil {
		return nil, fmt.Errorf("cannot join %q: write it as host:port: %w", peer, err)
	}
	if net.ParseIP(host) != nil {
		return []string{peer}, nil
	}
	ips, err := g.lookup(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("cannot join %s: the name has no address now: %w", peer, err)
	}
	out := make([]string, 0, len(ips))
	for _, ip := range ips {
		out = append(out, net.JoinHostPort(ip, port))
	}
	return out, nil
}

// sync exchanges the whole state with one member, another one each time.
func (g *Gossip) sync(ctx context.Context) {
	var peers []string
	for _, m := range g.Members() {
		if m.State == Alive && !m.Self {
			peers = append(peers, m.GossipAddr)
		}
	}
	if len(peers) == 0 || ctx.Err() != nil {
		return
	}
	if _, err := g.ml.Join([]string{peers[rand.IntN(len(peers))]}); err != nil {
		g.log.Debug("a state sync failed, the next one may do better", "error", err)
	}
}
