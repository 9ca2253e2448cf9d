package gossip

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/memberlist"
)

// A node that restarts on another port conflicts with its own past until the
// past is declared dead, so only a conflict that lasts is two live nodes.
const (
	conflictLasts  = 6 * time.Second
	conflictForget = 30 * time.Second
	reclaimAfter   = 100 * time.Millisecond // memberlist's 0 would never give a dead node's id to another address
	reassertEvery  = 250 * time.Millisecond
	reassertFor    = 4 * time.Second
)

// ConflictError says that two live nodes use one id.
type ConflictError struct {
	ID              string
	Addr, OtherAddr string // gossip addresses: the one in the list here, and the one refused
	Boot, OtherBoot string
	Self            bool // this node is one of the two
}

// Error says what to do about it.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("two live nodes use the id %s, one at %s and one at %s: stop one of them, and give a copied node an empty data directory", e.ID, e.Addr, e.OtherAddr)
}

func conflictOf(existing, other *memberlist.Node, self string) *ConflictError {
	e := &ConflictError{
		ID:   existing.Name,
		Addr: nodeAddr(existing), OtherAddr: nodeAddr(other),
		Self: existing.Name == self,
	}
	if m, err := decodeMeta(existing.Meta); err == nil {
		e.Boot = m.Boot
	}
	if m, err := decodeMeta(other.Meta); err == nil {
		e.OtherBoot = m.Boot
	}
	return e
}

func nodeAddr(n *memberlist.Node) string {
	return net.JoinHostPort(n.Addr.String(), strconv.Itoa(int(n.Port)))
}

// conflicts is owned by the run loop. Others refuse a node at a new address
// until they have given up its past, and do not ask again: so a node repeats
// that it is alive for a while after its start and after each refusal.
type conflicts struct {
	seen     map[string]*sighting // by id and both addresses
	reassert time.Time            // until when to repeat it
}

func (c *conflicts) due(now time.Time) bool { return now.Before(c.reassert) }

type sighting struct {
	first, last time.Time
	told        bool
}

// note records a conflict and returns it when it is time to tell.
func (c *conflicts) note(e *ConflictError, now time.Time) error {
	for k, s := range c.seen {
		if now.Sub(s.last) > conflictForget {
			delete(c.seen, k)
		}
	}
	key := e.ID + " " + e.Addr + " " + e.OtherAddr
	s := c.seen[key]
	if s == nil {
		s = &sighting{first: now}
		c.seen[key] = s
	}
	s.last = now
	if e.Self && !s.told {
		c.reassert = now.Add(reassertFor)
	}
	if s.told || now.Sub(s.first) < conflictLasts {
		return nil
	}
	s.told = true
	return e
}
