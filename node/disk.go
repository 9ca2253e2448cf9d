package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// diskLook is how long a look at the disk holds.
const diskLook = 100 * time.Millisecond

// disk keeps room for the state: bulk (blobs, packs, log lines) is refused before it takes what is left.
type disk struct {
	node, dir string
	reserve   int64                 // bytes that stay free of bulk
	free      func() (int64, error) // bytes; statfs, but in tests

	mu   sync.Mutex // guards the next two
	left int64
	seen time.Time
}

func newDisk(node, dir string, reserve int64) *disk {
	return &disk{node: node, dir: dir, reserve: reserve, free: func() (int64, error) {
		var s unix.Statfs_t
		if err := unix.Statfs(dir, &s); err != nil {
			return 0, fmt.Errorf("cannot look at the disk of %s: %w", dir, err)
		}
		return int64(s.Bavail) * s.Bsize, nil
	}}
}

// room is an error, blob.ErrFull, when more bulk would not leave the reserve. What this node's own work needs may take half of it.
func (d *disk) room(own bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.seen) >= diskLook {
		left, err := d.free()
		if err != nil {
			return nil // whoever writes will see
		}
		d.left, d.seen = left, time.Now()
	}
	if d.left >= d.reserve || own && d.left >= d.reserve/2 {
		return nil
	}
	return fmt.Errorf("%w: node %s has %s left in %s and keeps %s (--disk-reserve) for the state", blob.ErrFull, d.node,
		humanize.IBytes(uint64(d.left)), d.dir, humanize.IBytes(uint64(d.reserve)))
}

// diskEvery is how often a leader looks at the disks of the voters.
const diskEvery = time.Second

// watchDisks has new runs be refused while too few voters have room, and hands the lead to one that has if this node has none.
func (l *leader) watchDisks() {
	var handed time.Time
	for pause(l.ctx, diskEvery) {
		full, others, self := l.disks(l.ctx)
		switch before := l.full.Swap(full); {
		case full && !before:
			l.log.Warn("too few voters have room on their disks: new runs are refused")
		case before && !full:
			l.log.Info("enough voters have room on their disks again: new runs are accepted")
		}
		if self != nil && others > 0 && time.Since(handed) > 10*time.Second {
			handed = time.Now()
			l.log.Warn("the lead is handed to a node that has room on its disk", "reason", self)
			if err := l.handOver(l.ctx); err != nil && l.ctx.Err() == nil {
				l.log.Warn("the lead could not be handed over", "error", err)
			}
		}
	}
}

// begins tells whether a request from outside makes more to do.
func begins(r scheduler.Request) bool {
	switch r.(type) {
	case *scheduler.SubmitRun, *scheduler.RerunStep:
		return true
	}
	return false
}

// voterDisks looks at the disks of the voters: whether those with room are too few, how many others have some, and why this node
// has none. A voter that does not answer is not called full.
func (n *Node) voterDisks(ctx context.Context) (full bool, others int, self error) {
	ctx, cancel := context.WithTimeout(ctx, diskEvery)
	defer cancel()
	self = n.disk.room(false)
	voters, without := 0, 0
	var mu sync.Mutex // guards without and others
	var wg sync.WaitGroup
	for _, s := range n.host.Servers() {
		if !s.Voter {
			continue
		}
		voters++
		if s.ID == n.dir.Identity().NodeID {
			if self != nil {
				without++
			}
			continue
		}
		wg.Go(func() {
			l, err := n.loadOf(ctx, s.ID)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
			case l.Full:
				without++
			default:
				others++
			}
		})
	}
	wg.Wait()
	return voters-without < voters/2+1, others, self
}

// loadOf asks another node how busy it is.
func (n *Node) loadOf(ctx context.Context, id string) (l load, err error) {
	rc, err := n.peers.get(ctx, id, rpcLoad, nil)
	if err != nil {
		return l, err
	}
	defer rc.Close()
	return l, json.NewDecoder(io.LimitReader(rc, 1<<10)).Decode(&l)
}
