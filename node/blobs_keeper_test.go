package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// s3Server is a server that speaks S3, with a bucket, which the variables of this process lead to.
func s3Server(t *testing.T) *s3mem.Backend {
	t.Helper()
	store := s3mem.New()
	if err := store.CreateBucket("bucket"); err != nil {
		t.Fatal(err)
	}
	serveS3(t, store)
	return store
}

// serveS3 serves what the variables of this process then lead to.
func serveS3(t *testing.T, store *s3mem.Backend) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(gofakes3.New(store).Server())
	t.Cleanup(srv.Close)
	for name, value := range map[string]string{"AWS_ENDPOINT_URL": srv.URL, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "here"} {
		t.Setenv(name, value)
	}
	return srv
}

// objects are the names of what is in the bucket.
func objects(t *testing.T, store *s3mem.Backend) (names []string) {
	t.Helper()
	list, err := store.ListBucket("bucket", nil, gofakes3.ListBucketPage{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list.Contents {
		names = append(names, o.Key)
	}
	return names
}

func part(place string) *bucketPart { return &bucketPart{place, func() string { return "C" }} }

// What is named comes into the archive once; what is not goes when it is old; what is of others stays.
func TestTheArchiveHasWhatIsNamed(t *testing.T) {
	store := s3Server(t)
	content, named := map[string]string{}, map[string]bool{}
	for _, text := range []string{"one", "two", "three"} {
		key := blob.KeyOf([]byte(text))
		content[key], named[key] = text, true
	}
	opened := 0
	whole := true
	a := &keeper{bucket: part("s3://bucket/some/where/"), now: time.Now,
		named: func(context.Context) (map[string]bool, uint64, bool, error) { return maps.Clone(named), 7, whole, nil },
		local: func(context.Context, string) (bool, error) { return true, nil },
		open: func(_ context.Context, key string) (io.ReadCloser, int64, error) {
			opened++
			return io.NopCloser(strings.NewReader(content[key])), int64(len(content[key])), nil
		}}
	round := func(copied, removed int) {
		t.Helper()
		did, err := a.round(t.Context())
		if did != (moved{copied: copied, removed: removed}) || err != nil {
			t.Errorf("%+v, %v; want %d copied and %d removed", did, err, copied, removed)
		}
	}
	if _, err := store.PutObject("bucket", "some/where/C/README", nil, strings.NewReader("x"), 1, nil); err != nil {
		t.Fatal(err)
	}
	round(3, 0)
	round(0, 0)
	if got := objects(t, store); len(got) != 4 || !strings.HasPrefix(got[1], "some/where/C/") || len(got[1]) != len("some/where/C/aa/bb/")+60 {
		t.Errorf("%q", got)
	}
	a.known = nil // another leader
	round(0, 0)
	if opened != 3 {
		t.Errorf("%d blobs were read for 3", opened)
	}
	gone := blob.KeyOf([]byte("two"))
	delete(named, gone)
	a.known = nil
	round(0, 0) // not named, and young
	a.now = func() time.Time { return time.Now().Add(keepAge + time.Minute) }
	a.known, whole = nil, false
	round(0, 0) // the logs of a node may name it
	a.known, whole = nil, true
	round(0, 1)
	if got := objects(t, store); len(got) != 3 || slices.Contains(got, "some/where/C/"+bucketName(gone)) {
		t.Errorf("%q", got)
	}
	named[gone] = true
	round(1, 0) // it is named again
	for key, text := range content {
		r, err := a.bucket.get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != text {
			t.Errorf("%q %v, want %q", got, err, text)
		}
		_ = r.Close()
	}
	if _, err := a.bucket.get(t.Context(), blob.KeyOf([]byte("none"))); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("%v", err)
	}
	a.bucket.cluster = func() string { return "" }
	if _, err := a.round(t.Context()); err == nil {
		t.Error("a node of no mesh writes into the bucket")
	}
}

// A node that has lost a value reads it from the archive, and has it again.
func TestWhatNoNodeHasIsInTheArchive(t *testing.T) {
	s3Server(t)
	n := startNode(t, "one", func(c *Config) { c.BlobArchive, c.keepEvery = "s3://bucket", 20*time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	text := []byte(`"` + strings.Repeat("v", 10_000) + `"`)
	value := argument(t, n, text)
	for {
		r, err := n.buckets.Get(ctx, value.BlobKey)
		if err == nil {
			_ = r.Close()
			break
		}
		if !pause(ctx, 20*time.Millisecond) {
			t.Fatal(err)
		}
	}
	file := filepath.Join(n.dir.Path(), "blobs", value.BlobKey[:2], value.BlobKey[2:4], value.BlobKey[4:])
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if has, err := n.blobs.Has(ctx, value.BlobKey); !has || err != nil {
		t.Errorf("%t %v", has, err)
	}
	r, _, err := n.blobs.Open(ctx, value.BlobKey)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("it is not here again: %v", err)
	}
}
