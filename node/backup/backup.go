// Package backup is the file in which a whole mesh is saved: its state, and the blobs that the state names.
package backup

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A backup is a tar archive, compressed with zstd:
//
//	backup.json    Info
//	state          the replicated tables, as a snapshot (consensus/state)
//	blobs.txt      the keys of all blobs that the state names, in their order, a line each
//	blobs/KEY      their contents, but for those that the base has
//	end.json       the checksum of the first three and the number of contents: without it the file is not whole
const format = 1

const (
	nameInfo  = "backup.json"
	nameState = "state"
	nameKeys  = "blobs.txt"
	nameEnd   = "end.json"
	dirBlobs  = "blobs/"
)

// ErrDamaged: the bytes are not those of a whole backup.
var ErrDamaged = errors.New("the backup is damaged")

// Info says what a backup is of.
type Info struct {
	Format int    `json:"format"`
	ID     string `json:"id"` // a ULID
	// Base is the id of the backup that has the contents which this one leaves out, BaseName what its file was called; "" for none.
	Base      string `json:"base,omitempty"`
	BaseName  string `json:"baseName,omitempty"`
	ClusterID string `json:"clusterId"`
	Index     uint64 `json:"index"`   // of the state
	SavedAt   int64  `json:"savedAt"` // wall clock, ms
	Version   string `json:"version"`
	// Of the state, for people.
	Workspaces int `json:"workspaces"`
	Runs       int `json:"runs"`       // in the tables
	PackedRuns int `json:"packedRuns"` // in packs
	Assets     int `json:"assets"`
}

// end is what makes a backup whole.
type end struct {
	SHA256   string `json:"sha256"`
	Contents int    `json:"contents"`
}

// Writer writes a backup.
type Writer struct {
	out  *gate
	zip  *zstd.Encoder
	tar  *tar.Writer
	sum  hash.Hash
	end  end
	time time.Time
}

// NewWriter begins one.
func NewWriter(w io.Writer, info Info) (*Writer, error) {
	out := &gate{w: w}
	zip, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2))
	if err != nil {
		return nil, fmt.Errorf("write backup: %w", err)
	}
	b := &Writer{out: out, zip: zip, tar: tar.NewWriter(zip), sum: sha256.New(), time: time.UnixMilli(info.SavedAt)}
	info.Format = format
	text, err := json.MarshalIndent(info, "", "  ")
	if err == nil {
		err = b.part(nameInfo, int64(len(text)), strings.NewReader(string(text)), b.sum)
	}
	if err != nil {
		b.Abort()
	}
	return b, err
}

// Abort gives a backup up that will not be whole. Nothing is written from then on: compression goes on beside its caller.
func (b *Writer) Abort() {
	b.out.shut()
	_ = b.zip.Close() // waits for what is under way
}

// gate passes on what is written until it is shut.
type gate struct {
	mu     sync.Mutex // guards the rest
	w      io.Writer
	closed bool
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return len(p), nil
	}
	return g.w.Write(p)
}

// part writes one entry; sum may be nil.
func (b *Writer) part(name string, size int64, r io.Reader, sum hash.Hash) error {
	if err := b.tar.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: b.time, Format: tar.FormatPAX}); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	if sum != nil {
		r = io.TeeReader(r, sum)
	}
	n, err := io.Copy(b.tar, r)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("write %s into the backup: %w", name, err)
	}
	return nil
}

// State writes the snapshot. It comes first, the keys next.
func (b *Writer) State(size int64, r io.Reader) error { return b.part(nameState, size, r, b.sum) }

// Keys writes which blobs the state names.
func (b *Writer) Keys(keys []string) error {
	var text strings.Builder
	for _, key := range keys {
		text.WriteString(key + "\n")
	}
	return b.part(nameKeys, int64(text.Len()), strings.NewReader(text.String()), b.sum)
}

// Blob writes the content of one.
func (b *Writer) Blob(key string, size int64, r io.Reader) error {
	b.end.Contents++
	return b.part(dirBlobs+key, size, r, nil)
}

// Close makes it whole.
func (b *Writer) Close() error {
	b.end.SHA256 = hex.EncodeToString(b.sum.Sum(nil))
	text, err := json.Marshal(b.end)
	if err == nil {
		err = b.part(nameEnd, int64(len(text)), strings.NewReader(string(text)), nil)
	}
	if err == nil {
		err = b.tar.Close()
	}
	if err := errors.Join(err, b.zip.Close()); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	return nil
}
