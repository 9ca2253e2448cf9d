// Package blob keeps values by the SHA-256 of their content, on this node and on enough others.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"regexp"
)

var (
	// ErrNotFound: nobody who could be asked has it.
	ErrNotFound = errors.New("blob not found")
	// ErrUnavailable: nobody who answered has it, and some did not answer.
	ErrUnavailable = errors.New("blob cannot be fetched now")
	// ErrBadKey: not 64 lower-case hexadecimal digits.
	ErrBadKey = errors.New("blob key is malformed, it must be 64 lower-case hexadecimal digits")
	// ErrHashMismatch: the bytes are not those that the key names.
	ErrHashMismatch = errors.New("blob content does not match its key")
	// ErrShort: too few nodes hold a copy.
	ErrShort = errors.New("blob has too few copies")
	// ErrFull: a disk has no room for it.
	ErrFull = errors.New("the disk is full")
)

// Store keeps blobs. Keys are the lower-case hexadecimal SHA-256 of the content.
type Store interface {
	// Put returns after the content is as durable as the store makes it.
	Put(ctx context.Context, r io.Reader) (key string, size int64, err error)
	// PutKey is Put for content that must have this key, else ErrHashMismatch.
	PutKey(ctx context.Context, key string, r io.Reader) error
	// Open checks the content against the key before it gives a byte of it.
	Open(ctx context.Context, key string) (io.ReadCloser, int64, error)
	// Has tells whether Open would find something.
	Has(ctx context.Context, key string) (bool, error)
}

var keyPattern = regexp.MustCompile(`\A[0-9a-f]{64}\z`)

// CheckKey returns ErrBadKey for anything that is not a key.
func CheckKey(key string) error {
	if !keyPattern.MatchString(key) {
		return fmt.Errorf("%w: %.80q", ErrBadKey, key)
	}
	return nil
}

// KeyOf is the key of content.
func KeyOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func notFound(key string) error { return fmt.Errorf("%w: %s", ErrNotFound, key) }

func mismatch(key, got string) error {
	return fmt.Errorf("%w: %s has the content of %s", ErrHashMismatch, key, got)
}

// copyHash copies until the end or until ctx is over.
func copyHash(ctx context.Context, w io.Writer, r io.Reader) (key string, size int64, err error) {
	h := sha256.New()
	size, err = io.Copy(&tee{w, h}, &reader{ctx, r})
	if err != nil {
		return "", size, err
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}

type tee struct {
	w io.Writer
	h hash.Hash
}

func (t *tee) Write(b []byte) (int, error) {
	n, err := t.w.Write(b)
	t.h.Write(b[:n]) // never fails
	return n, err
}

// reader ends with its context. It hides other methods of r on purpose.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}
