package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/node/s3"
)

const (
	// archiveEvery is how often a leader looks for blobs that are not in the archive yet.
	archiveEvery = 5 * time.Minute
	// archiveList is how often it lists what is there, and removes what nothing names and is older than archiveAge.
	archiveList = 6 * time.Hour
	archiveAge  = 24 * time.Hour
)

// archive keeps copies of blobs in a bucket, beside those of the nodes: what the nodes promise they keep without it. Each mesh has a
// part of the bucket of its own, by its cluster id, so that none removes another's.
type archive struct {
	place   string // s3://BUCKET[/PREFIX]
	cluster func() string
}

// bucket is where this mesh's blobs are; an error while the node belongs to no mesh.
func (a *archive) bucket() (*s3.Bucket, error) {
	name, prefix, err := s3.Split(a.place)
	if err != nil {
		return nil, err
	}
	cluster := a.cluster()
	if cluster == "" {
		return nil, errors.New("the archive is that of a mesh, and this node belongs to none yet")
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	return s3.Open(name, prefix+cluster+"/")
}

// archived is the name of a blob there, as in Coflux 0.11: aa/bb/rest.
func archived(key string) string { return key[:2] + "/" + key[2:4] + "/" + key[4:] }

// Get implements blob.Archive.
func (a *archive) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	b, err := a.bucket()
	if err != nil {
		return nil, err
	}
	r, err := b.Get(ctx, archived(key))
	if errors.Is(err, s3.ErrNotFound) {
		err = fmt.Errorf("%w: %w", blob.ErrNotFound, err)
	}
	return r, err
}

// archiver copies what the state names while this node leads.
type archiver struct {
	*archive
	// named gives the keys of all blobs that the state names.
	named func(ctx context.Context) (map[string]bool, error)
	open  func(ctx context.Context, key string) (io.ReadCloser, int64, error)
	now   func() time.Time

	known  map[string]bool // what is there; nil = not listed yet
	listed time.Time
}

// round copies what is missing, and now and then removes what is not named.
func (a *archiver) round(ctx context.Context) (copied, removed int, err error) {
	b, err := a.bucket()
	if err != nil {
		return 0, 0, err
	}
	var old []string
	list := a.known == nil || a.now().Sub(a.listed) >= archiveList
	if list {
		a.known = map[string]bool{}
		for o, err := range b.Keys(ctx) {
			if err != nil {
				a.known = nil
				return 0, 0, err
			}
			key := strings.ReplaceAll(o.Key, "/", "")
			if blob.CheckKey(key) != nil || archived(key) != o.Key {
				continue // nothing of ours
			}
			a.known[key] = true
			if a.now().Sub(o.Written) >= archiveAge {
				old = append(old, key)
			}
		}
		a.listed = a.now()
	}
	named, err := a.named(ctx)
	if err != nil {
		return 0, 0, err
	}
	for key := range named {
		if a.known[key] {
			continue
		}
		if err := a.copy(ctx, b, key); err != nil {
			return copied, 0, err
		}
		a.known[key] = true
		copied++
	}
	for _, key := range old {
		if named[key] {
			continue
		}
		if err := b.Remove(ctx, archived(key)); err != nil {
			return copied, removed, err
		}
		delete(a.known, key)
		removed++
	}
	return copied, removed, nil
}

func (a *archiver) copy(ctx context.Context, b *s3.Bucket, key string) error {
	r, size, err := a.open(ctx, key)
	if err != nil {
		return err
	}
	defer r.Close()
	return b.Put(ctx, archived(key), size, r)
}

// archiveBlobs runs the archiver while this node leads.
func (n *Node) archiveBlobs(ctx context.Context) {
	var a *archiver
	for pause(ctx, cmp.Or(n.cfg.archiveEvery, archiveEvery)) {
		if n.coord.leader() == nil {
			a = nil // another one leads, and removes
			continue
		}
		if a == nil {
			a = &archiver{archive: n.archive, named: n.named, open: n.blobs.Open, now: time.Now}
		}
		switch copied, removed, err := a.round(ctx); {
		case err != nil && ctx.Err() == nil:
			n.log.Warn("blobs are not copied to the archive now", "copied", copied, "removed", removed, "error", err)
		case copied+removed > 0:
			n.log.Info("the archive has all blobs", "copied", copied, "removed", removed)
		}
	}
}

// named are the keys of all blobs that the state names.
func (n *Node) named(ctx context.Context) (map[string]bool, error) {
	view, err := n.router.Linear(ctx)
	if err != nil {
		return nil, err
	}
	return n.namedBy(ctx, view)
}

func (n *Node) namedBy(ctx context.Context, view *state.View) (map[string]bool, error) {
	named := map[string]bool{}
	c := &collector{refs: n.packs.refs, list: n.assetList}
	_, err := c.keep(ctx, view, nil, func(key string) { named[key] = true })
	return named, err
}
