package gossip

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist calls. Membership events and conflicts arrive
// under memberlist's node lock: nothing here calls back into it or waits.
type delegate struct{ g *Gossip }

var (
	_ memberlist.Delegate         = delegate{}
	_ memberlist.EventDelegate    = delegate{}
	_ memberlist.ConflictDelegate = delegate{}
	_ memberlist.PingDelegate     = delegate{}
)

// NodeMeta must not exceed the limit: memberlist panics. New and SetMeta have
// checked every part, so the empty answer is never given in practice.
func (d delegate) NodeMeta(limit int) []byte {
	b, err := d.g.currentMeta().encode()
	if err != nil || len(b) > limit {
		return nil
	}
	return b
}

// NotifyMsg runs in the packet loop: what does not fit into the queue is dropped.
func (d delegate) NotifyMsg(b []byte) {
	if len(b) > maxHint {
		return
	}
	select {
	case d.g.hintC <- bytes.Clone(b):
	default:
	}
}

func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.g.queue.GetBroadcasts(overhead, limit)
}

func (d delegate) LocalState(bool) []byte {
	d.g.mu.Lock()
	defer d.g.mu.Unlock()
	own := d.g.own
	if own.Hash == "" || (len(own.Gzip) > inlineManifest && d.g.cfg.Fetch != nil) {
		return nil
	}
	return encodeState(own)
}

func (d delegate) MergeRemoteState(b []byte, _ bool) {
	m, err := decodeState(b)
	if err != nil || !d.g.wants(m.ID, m.Hash) {
		return
	}
	if content, err := uncompress(m.Gzip, m.Hash); err == nil {
		d.g.store(m.ID, m.Hash, content)
	}
}

func (d delegate) NotifyJoin(n *memberlist.Node)   { d.g.upsert(n) }
func (d delegate) NotifyUpdate(n *memberlist.Node) { d.g.upsert(n) }
func (d delegate) NotifyLeave(n *memberlist.Node)  { d.g.gone(n.Name) }

func (d delegate) NotifyConflict(existing, other *memberlist.Node) {
	select {
	case d.g.conflictC <- conflictOf(existing, other, d.g.cfg.NodeID):
	default:
	}
}

func (d delegate) AckPayload() []byte { return nil }

func (d delegate) NotifyPingComplete(n *memberlist.Node, _ time.Duration, _ []byte) {
	d.g.answered(n.Name)
}

// maxHint bounds a user message; hints are the only ones there are.
const maxHint = 512

// hint tells others that a member did not answer this node.
type hint struct {
	Suspect string `json:"suspect"`
	Boot    string `json:"boot"`
	By      string `json:"by"`
	Seq     uint64 `json:"seq"` // of By's hints, growing also over its restarts: one arrives several times
}

func decodeHint(b []byte) (hint, bool) {
	var h hint
	if err := json.Unmarshal(b, &h); err != nil || h.Suspect == "" || h.By == "" {
		return hint{}, false
	}
	return h, true
}

// unanswered is called by memberlist each time a direct probe of a member got
// no answer in time, before it asks others; memberlist keeps its own suspicion
// to itself, so this is where it becomes visible.
func (g *Gossip) unanswered(id string) bool {
	m, _ := g.Lookup(id)
	h := hint{Suspect: id, Boot: m.Boot, By: g.cfg.NodeID, Seq: g.hintSeq.Add(1)}
	if b, err := json.Marshal(h); err == nil && len(b) <= maxHint {
		g.queue.QueueBroadcast(&broadcast{key: id, msg: b})
	}
	g.doubt(id, g.cfg.NodeID)
	return false // do not disable the fallback ping over TCP
}

// takeHint counts each hint of another member once. Run loop only.
func (g *Gossip) takeHint(b []byte, seen map[string]uint64) {
	h, ok := decodeHint(b)
	if !ok || h.By == g.cfg.NodeID {
		return
	}
	if _, known := g.Lookup(h.By); !known || h.Seq <= seen[h.By] {
		return
	}
	seen[h.By] = h.Seq
	if m, known := g.Lookup(h.Suspect); known && m.Boot == h.Boot {
		g.doubt(h.Suspect, h.By)
	}
}

// broadcast is a message that replaces an older one about the same member.
type broadcast struct {
	key string
	msg []byte
}

var _ memberlist.NamedBroadcast = (*broadcast)(nil)

func (b *broadcast) Name() string { return b.key }
func (b *broadcast) Invalidates(o memberlist.Broadcast) bool {
	other, ok := o.(*broadcast)
	return ok && other.key == b.key
}
func (b *broadcast) Message() []byte { return b.msg }
func (b *broadcast) Finished()       {}
