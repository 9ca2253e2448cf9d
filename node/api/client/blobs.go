package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
)

// Blob reads a blob.
func (c *Client) Blob(ctx context.Context, key string) ([]byte, error) {
	rep, err := c.do(ctx, call{method: http.MethodGet, path: "/blobs/" + url.PathEscape(key), accept: "*/*", idempotent: true})
	if err != nil {
		return nil, err
	}
	return rep.body, nil
}

// HasBlob reports whether the mesh holds a blob.
func (c *Client) HasBlob(ctx context.Context, key string) (bool, error) {
	_, err := c.do(ctx, call{method: http.MethodHead, path: "/blobs/" + url.PathEscape(key), idempotent: true})
	var refused *Error
	if err != nil {
		if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
			return false, nil
		}
		return false, err
	}
	return true, nil
}

// PutBlob stores content and returns its key, the SHA-256.
func (c *Client) PutBlob(ctx context.Context, content []byte) (string, error) {
	sum := sha256.Sum256(content)
	key := hex.EncodeToString(sum[:])
	if content == nil {
		content = []byte{}
	}
	_, err := c.do(ctx, call{method: http.MethodPut, path: "/blobs/" + key, body: content, idempotent: true})
	return key, err
}
