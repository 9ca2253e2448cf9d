package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/node/s3"
)

// bucketPart is where one mesh's blobs are in a bucket. Each mesh has a part of its own, by its cluster id, so that none removes
// another's.
type bucketPart struct {
	place   string // s3://BUCKET[/PREFIX]
	cluster func() string
}

// open gives the part; an error while the node belongs to no mesh.
func (p *bucketPart) open() (*s3.Bucket, error) {
	name, prefix, err := s3.Split(p.place)
	if err != nil {
		return nil, err
	}
	cluster := p.cluster()
	if cluster == "" {
		return nil, fmt.Errorf("blobs in %s are those of a mesh, and this node belongs to none yet", p.place)
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	return s3.Open(name, prefix+cluster+"/")
}

// bucketName is the name of a blob there, as in Coflux 0.11: aa/bb/rest.
func bucketName(key string) string { return key[:2] + "/" + key[2:4] + "/" + key[4:] }

// get reads a blob; blob.ErrNotFound, wrapped, when it is not there.
func (p *bucketPart) get(ctx context.Context, key string) (io.ReadCloser, error) {
	b, err := p.open()
	if err != nil {
		return nil, err
	}
	r, err := b.Get(ctx, bucketName(key))
	if errors.Is(err, s3.ErrNotFound) {
		err = fmt.Errorf("%w: %w", blob.ErrNotFound, err)
	}
	return r, err
}

func (p *bucketPart) has(ctx context.Context, key string) (bool, error) {
	b, err := p.open()
	if err != nil {
		return false, err
	}
	return b.Has(ctx, bucketName(key))
}

// buckets are the places of blobs beyond the nodes.
type buckets struct {
	stores  []*bucketPart // in order: the first is written, all are read
	archive *bucketPart   // nil for none
}

// newBuckets gives nil for a node without any.
func newBuckets(cfg Config, cluster func() string) *buckets {
	b := &buckets{}
	for _, place := range cfg.BlobStores {
		b.stores = append(b.stores, &bucketPart{strings.TrimRight(place, "/"), cluster})
	}
	if cfg.BlobArchive != "" {
		b.archive = &bucketPart{cfg.BlobArchive, cluster}
	}
	if len(b.all()) == 0 {
		return nil
	}
	return b
}

// first is the store that is written; "" for none.
func (b *buckets) first() string {
	if b == nil || len(b.stores) == 0 {
		return ""
	}
	return b.stores[0].place
}

// all are the places in the order in which they are read.
func (b *buckets) all() []*bucketPart {
	all := append([]*bucketPart(nil), b.stores...)
	if b.archive != nil {
		all = append(all, b.archive)
	}
	return all
}

// Get implements blob.Beyond.
func (b *buckets) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	return getFrom(ctx, b.all(), key)
}

// Keeps implements blob.Beyond: the first store does.
func (b *buckets) Keeps(ctx context.Context, key string) (bool, error) {
	if len(b.stores) == 0 {
		return false, nil
	}
	return b.stores[0].has(ctx, key)
}

// getFrom reads a blob from the first place that has it. blob.ErrNotFound, wrapped, only if each says that it has none.
func getFrom(ctx context.Context, places []*bucketPart, key string) (io.ReadCloser, error) {
	missing, failed := fmt.Errorf("%w: %s", blob.ErrNotFound, key), []error(nil)
	for _, p := range places {
		r, err := p.get(ctx, key)
		if err == nil {
			return r, nil
		}
		if !errors.Is(err, blob.ErrNotFound) {
			failed = append(failed, err)
		}
	}
	if len(failed) > 0 {
		return nil, errors.Join(failed...)
	}
	return nil, missing
}
