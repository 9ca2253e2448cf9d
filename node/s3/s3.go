// Package s3 reaches buckets of servers that speak S3, by the variables that other tools know too.
package s3

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// ErrNotFound: there is no such object.
var ErrNotFound = errors.New("object not found")

// Bucket is one, or what is below a prefix in it. The server is that of AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, Amazon's without, in
// AWS_REGION; the keys are those of AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, of ~/.aws/credentials, or of the role
// of the machine.
type Bucket struct {
	client       *minio.Client
	name, prefix string
}

// Is tells whether a text names something in S3.
func Is(place string) bool { return strings.HasPrefix(place, "s3://") }

// Split takes s3://BUCKET/REST apart.
func Split(place string) (bucket, rest string, err error) {
	bucket, rest, _ = strings.Cut(strings.TrimPrefix(place, "s3://"), "/")
	if !Is(place) || bucket == "" {
		return "", "", fmt.Errorf("%s names no bucket: write it like s3://bucket/name", place)
	}
	return bucket, rest, nil
}

// Open makes a client of a bucket; nothing is asked yet. prefix is "" or ends with a slash.
func Open(bucket, prefix string) (*Bucket, error) {
	text := first(os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"), "https://s3.amazonaws.com")
	endpoint, err := url.Parse(text)
	if err != nil || endpoint.Host == "" || endpoint.Scheme != "http" && endpoint.Scheme != "https" {
		return nil, errors.New("AWS_ENDPOINT_URL is no address: write it like https://s3.example.com")
	}
	client, err := minio.New(endpoint.Host, &minio.Options{
		Creds: credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{Client: http.DefaultClient}}),
		Secure: endpoint.Scheme == "https", Region: first(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")),
	})
	if err != nil {
		return nil, fmt.Errorf("cannot reach S3 at %s: %w", text, err)
	}
	return &Bucket{client, bucket, prefix}, nil
}

// first gives the first text that is not empty.
func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// failed says in one sentence what became of an object.
func (b *Bucket) failed(what, key string, err error) error {
	r := minio.ToErrorResponse(err)
	if r.Code != "" && r.StatusCode != 0 {
		err = fmt.Errorf("%s answers %s: %s", b.client.EndpointURL().Host, r.Code, r.Message)
	}
	if r.StatusCode == http.StatusNotFound {
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return fmt.Errorf("cannot %s s3://%s/%s%s: %w", what, b.name, b.prefix, key, err)
}

// Get reads an object; ErrNotFound, wrapped, when there is none.
func (b *Bucket) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	r, err := b.client.GetObject(ctx, b.name, b.prefix+key, minio.GetObjectOptions{})
	if err != nil {
		return nil, b.failed("read", key, err)
	}
	if _, err := r.Stat(); err != nil { // asks for the first time
		return nil, errors.Join(b.failed("read", key, err), r.Close())
	}
	return r, nil
}

// Has tells whether there is an object.
func (b *Bucket) Has(ctx context.Context, key string) (bool, error) {
	_, err := b.client.StatObject(ctx, b.name, b.prefix+key, minio.StatObjectOptions{})
	if err = b.errorOf("look for", key, err); errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (b *Bucket) errorOf(what, key string, err error) error {
	if err == nil {
		return nil
	}
	return b.failed(what, key, err)
}

// partSize of an object of unknown size, which has at most 10,000: 640 GiB. A part is held in memory on its way.
const partSize = 64 << 20

// Put writes an object, which is there only if r ends without an error. size is -1 when it is not known.
func (b *Bucket) Put(ctx context.Context, key string, size int64, r io.Reader) error {
	if size < 0 { // what turns out to be empty needs its size said
		buf := bufio.NewReader(r)
		if _, err := buf.Peek(1); errors.Is(err, io.EOF) {
			size = 0
		} else if err != nil {
			return fmt.Errorf("cannot write s3://%s/%s%s: %w", b.name, b.prefix, key, err)
		}
		r = buf
	}
	// MD5 of each part instead of a signature of each piece: not every server takes those apart.
	_, err := b.client.PutObject(ctx, b.name, b.prefix+key, r, size, minio.PutObjectOptions{
		ContentType: "application/octet-stream", PartSize: partSize, NumThreads: 1, SendContentMd5: true, DisableContentSha256: true})
	return b.errorOf("write", key, err)
}

// Keys walks the objects, and when each was written last. A walk that cannot go on ends with an error.
func (b *Bucket) Keys(ctx context.Context) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // ends the listing
		for o := range b.client.ListObjects(ctx, b.name, minio.ListObjectsOptions{Prefix: b.prefix, Recursive: true}) {
			if o.Err != nil {
				yield(Object{}, b.failed("list", "", o.Err))
				return
			}
			if !yield(Object{strings.TrimPrefix(o.Key, b.prefix), o.LastModified}, nil) {
				return
			}
		}
	}
}

// Object is one of a bucket.
type Object struct {
	Key     string
	Written time.Time // by the server's clock
}

// Remove removes an object, if there is one.
func (b *Bucket) Remove(ctx context.Context, key string) error {
	return b.errorOf("remove", key, b.client.RemoveObject(ctx, b.name, b.prefix+key, minio.RemoveObjectOptions{}))
}
