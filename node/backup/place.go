package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// A place is where a backup lies: a file, or an object s3://BUCKET/KEY. How S3 is reached say the variables that other tools know:
// AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL (Amazon's without), AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
// the file ~/.aws/credentials, or the role of the machine.

// Remote tells whether a place is an object.
func Remote(place string) bool { return strings.HasPrefix(place, "s3://") }

// Open reads a backup from its place.
func Open(ctx context.Context, place string) (io.ReadCloser, error) {
	if !Remote(place) {
		f, err := os.Open(place)
		if err != nil {
			return nil, fmt.Errorf("cannot read the backup: %w", err)
		}
		return f, nil
	}
	o, err := objectAt(place)
	if err != nil {
		return nil, err
	}
	r, err := o.client.GetObject(ctx, o.bucket, o.key, minio.GetObjectOptions{})
	if err == nil {
		_, err = r.Stat() // asks for the first time
	}
	if err != nil {
		return nil, o.failed("read", err)
	}
	return r, nil
}

// Exists tells whether something is at a place.
func Exists(ctx context.Context, place string) (bool, error) {
	if !Remote(place) {
		_, err := os.Lstat(place)
		return err == nil, nil
	}
	o, err := objectAt(place)
	if err != nil {
		return false, err
	}
	_, err = o.client.StatObject(ctx, o.bucket, o.key, minio.StatObjectOptions{})
	if err != nil && minio.ToErrorResponse(err).StatusCode == http.StatusNotFound {
		return false, nil
	}
	if err != nil {
		return false, o.failed("look for", err)
	}
	return true, nil
}

// partSize of an object, which has at most 10,000: 640 GiB. Each is held in memory on its way.
const partSize = 64 << 20

// Upload writes an object, which is there only if r ends without an error.
func Upload(ctx context.Context, place string, r io.Reader) error {
	o, err := objectAt(place)
	if err != nil {
		return err
	}
	_, err = o.client.PutObject(ctx, o.bucket, o.key, r, -1, minio.PutObjectOptions{ContentType: "application/zstd", PartSize: partSize, NumThreads: 1, SendContentMd5: true, DisableContentSha256: true})
	if err != nil {
		return o.failed("write", err)
	}
	return nil
}

// object is one in S3.
type object struct {
	client      *minio.Client
	bucket, key string
}

// failed says in one sentence what became of it.
func (o *object) failed(what string, err error) error {
	if r := minio.ToErrorResponse(err); r.Code != "" && r.StatusCode != 0 {
		err = fmt.Errorf("%s answers %s: %s", o.client.EndpointURL().Host, r.Code, r.Message)
	}
	return fmt.Errorf("cannot %s s3://%s/%s: %w", what, o.bucket, o.key, err)
}

func objectAt(place string) (*object, error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(place, "s3://"), "/")
	if bucket == "" || key == "" || strings.HasSuffix(key, "/") {
		return nil, fmt.Errorf("%s names no object: write it like s3://bucket/monday.backup", place)
	}
	text := first(os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"), "https://s3.amazonaws.com")
	endpoint, err := url.Parse(text)
	if err != nil || endpoint.Host == "" || endpoint.Scheme != "http" && endpoint.Scheme != "https" {
		return nil, errors.New("AWS_ENDPOINT_URL is no address: write it like https://s3.example.com")
	}
	client, err := minio.New(endpoint.Host, &minio.Options{
		Creds: credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{Client: http.DefaultClient}}),
		Secure: endpoint.Scheme == "https", Region: first(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), ""),
	})
	if err != nil {
		return nil, fmt.Errorf("cannot reach S3 at %s: %w", text, err)
	}
	return &object{client, bucket, key}, nil
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
