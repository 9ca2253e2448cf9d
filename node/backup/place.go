package backup

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/coflux-mesh/coflux/node/s3"
)

// A place is where a backup lies: a file, or an object s3://BUCKET/KEY (s3.Bucket says how it is reached).

// Remote tells whether a place is an object.
func Remote(place string) bool { return s3.Is(place) }

// Open reads a backup from its place.
func Open(ctx context.Context, place string) (io.ReadCloser, error) {
	if !Remote(place) {
		f, err := os.Open(place)
		if err != nil {
			return nil, fmt.Errorf("cannot read the backup: %w", err)
		}
		return f, nil
	}
	bucket, key, err := objectAt(place)
	if err != nil {
		return nil, err
	}
	return bucket.Get(ctx, key)
}

// Exists tells whether something is at a place.
func Exists(ctx context.Context, place string) (bool, error) {
	if !Remote(place) {
		_, err := os.Lstat(place)
		return err == nil, nil
	}
	bucket, key, err := objectAt(place)
	if err != nil {
		return false, err
	}
	return bucket.Has(ctx, key)
}

// Upload writes an object, which is there only if r ends without an error.
func Upload(ctx context.Context, place string, r io.Reader) error {
	bucket, key, err := objectAt(place)
	if err != nil {
		return err
	}
	return bucket.Put(ctx, key, -1, r)
}

func objectAt(place string) (bucket *s3.Bucket, key string, err error) {
	name, key, err := s3.Split(place)
	if err == nil && (key == "" || strings.HasSuffix(key, "/")) {
		err = fmt.Errorf("%s names no object: write it like s3://bucket/monday.backup", place)
	}
	if err == nil {
		bucket, err = s3.Open(name, "")
	}
	return bucket, key, err
}
