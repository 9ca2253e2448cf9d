package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// WorkerStream says how to open the stream of a worker: the URL of the WebSocket, what to send along, and with what. The
// header is the caller's.
func (c *Client) WorkerStream() (at string, header http.Header, hc *http.Client) {
	header = http.Header{}
	c.identify(header)
	if hc = c.HTTPClient; hc == nil {
		hc = http.DefaultClient
	}
	return c.Base + "/api/worker", header, hc
}

// Refusal reads the node's reply to a request that was not made by a Client's own method. It closes nothing.
func Refusal(res *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20)) // what came says enough
	return decodeError(res, body)
}

// PostLogs hands over log lines, encoded entries of journal. The batch's id makes a repeat harmless.
func (c *Client) PostLogs(ctx context.Context, batch string, messages []json.RawMessage) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/logs", body: map[string]any{"batch": batch, "messages": messages}})
	return err
}

// PostMetrics hands over points and definitions of metrics, encoded entries of journal, likewise.
func (c *Client) PostMetrics(ctx context.Context, batch string, entries []json.RawMessage) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/metrics", body: map[string]any{"batch": batch, "entries": entries}})
	return err
}

// UploadBlob stores a blob under its key, the SHA-256 of the content, as long as ctx allows. It tries once.
func (c *Client) UploadBlob(ctx context.Context, key string, content io.Reader) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, c.Base+"/blobs/"+url.PathEscape(key), content)
	if err != nil {
		return fmt.Errorf("request failed: %w", err)
	}
	res, err := c.roundTrip(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// OpenBlob reads a blob as a stream; the caller closes it.
func (c *Client) OpenBlob(ctx context.Context, key string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Base+"/blobs/"+url.PathEscape(key), nil)
	if err != nil {
		return nil, fmt.Errorf("request failed: %w", err)
	}
	res, err := c.roundTrip(req)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// HoldBlobs keeps blobs from being collected for an hour, until a row refers to them. not_found for one that the mesh does not have.
func (c *Client) HoldBlobs(ctx context.Context, keys []string) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/api/hold_blobs", body: map[string]any{"keys": keys}, idempotent: true})
	return err
}

// Backup reads a backup of the whole mesh as a stream; the caller closes it, and has to look whether it is whole. Of what the backup base
// has, listed in the blob without, the contents are left out; both may be "".
func (c *Client) Backup(ctx context.Context, base, baseName, without string) (io.ReadCloser, error) {
	q := url.Values{}
	for name, value := range map[string]string{"base": base, "baseName": baseName, "without": without} {
		if value != "" {
			q.Set(name, value)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Base+"/api/backup?"+q.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("request failed: %w", err)
	}
	res, err := c.roundTrip(req)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}
