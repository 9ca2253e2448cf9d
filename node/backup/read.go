package backup

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Parts are told of the parts of a backup, in their order. Each may be nil. An error ends the reading.
type Parts struct {
	Info  func(Info) error
	State func(size int64, r io.Reader) error
	// Keys of all blobs that the state names.
	Keys func(keys []string) error
	// Blob's content has been checked by nobody yet.
	Blob func(key string, size int64, r io.Reader) error
}

// Contents is what a whole backup holds.
type Contents struct {
	Info
	StateBytes int64 `json:"stateBytes"`
	Blobs      int   `json:"blobs"` // that the state names
	Stored     int   `json:"stored"`
	BlobBytes  int64 `json:"blobBytes"` // of those that are stored
}

const maxInfo = 1 << 20

// Read reads a whole backup. Damage, or a missing end, is ErrDamaged, wrapped; the parts may have been told of something by then. The
// content of every blob is held against its key.
func Read(r io.Reader, p Parts) (Contents, error) {
	zip, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
	if err != nil {
		return Contents{}, fmt.Errorf("read backup: %w", err)
	}
	defer zip.Close()
	b := &reader{tar: tar.NewReader(zip), parts: p, sum: sha256.New()}
	for _, step := range []func() error{b.info, b.state, b.keys, b.blobs} {
		if err := step(); err != nil {
			return b.Contents, err
		}
	}
	return b.Contents, nil
}

type reader struct {
	Contents
	tar   *tar.Reader
	parts Parts
	sum   hash.Hash
}

func damaged(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", ErrDamaged)
	}
	return fmt.Errorf("%w: %s: %w", ErrDamaged, what, err)
}

// entry opens the next one, which must have this name.
func (b *reader) entry(name string) (*tar.Header, error) {
	head, err := b.tar.Next()
	if err != nil {
		return nil, damaged("its list of parts", err)
	}
	if head.Name != name {
		return nil, fmt.Errorf("%w: it has %.80q where %s should be", ErrDamaged, head.Name, name)
	}
	return head, nil
}

func (b *reader) info() error {
	if _, err := b.entry(nameInfo); err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(io.TeeReader(b.tar, b.sum), maxInfo))
	if err == nil {
		err = json.Unmarshal(text, &b.Info)
	}
	if err != nil {
		return damaged(nameInfo, err)
	}
	if b.Format != format {
		return fmt.Errorf("the backup has the format %d, which this version does not know: restore it with a newer one", b.Format)
	}
	if b.parts.Info == nil {
		return nil
	}
	return b.parts.Info(b.Info)
}

func (b *reader) state() error {
	head, err := b.entry(nameState)
	if err != nil {
		return err
	}
	b.StateBytes = head.Size
	in := io.TeeReader(b.tar, b.sum)
	if b.parts.State != nil {
		if err := b.parts.State(head.Size, in); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return damaged(nameState, err)
	}
	return nil
}

func (b *reader) keys() error {
	if _, err := b.entry(nameKeys); err != nil {
		return err
	}
	var keys []string
	lines := bufio.NewScanner(io.TeeReader(b.tar, b.sum))
	for lines.Scan() {
		keys = append(keys, lines.Text())
	}
	if err := lines.Err(); err != nil {
		return damaged(nameKeys, err)
	}
	b.Blobs = len(keys)
	if b.parts.Keys == nil {
		return nil
	}
	return b.parts.Keys(keys)
}

// blobs reads contents up to the end.
func (b *reader) blobs() error {
	for {
		head, err := b.tar.Next()
		if err != nil {
			return damaged("its list of parts", err)
		}
		key, blob := strings.CutPrefix(head.Name, dirBlobs)
		if !blob {
			return b.finish(head)
		}
		b.Stored++
		b.BlobBytes += head.Size
		sum := sha256.New()
		in := io.TeeReader(b.tar, sum)
		if b.parts.Blob != nil {
			if err := b.parts.Blob(key, head.Size, in); err != nil {
				return err
			}
		}
		if _, err := io.Copy(io.Discard, in); err != nil {
			return damaged(head.Name, err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != key {
			return fmt.Errorf("%w: the blob %.80s has the content of %s", ErrDamaged, key, got)
		}
	}
}

func (b *reader) finish(head *tar.Header) error {
	var e end
	text, err := io.ReadAll(io.LimitReader(b.tar, maxInfo))
	if err == nil && head.Name == nameEnd {
		err = json.Unmarshal(text, &e)
	}
	switch {
	case err != nil:
		return damaged(nameEnd, err)
	case head.Name != nameEnd:
		return fmt.Errorf("%w: it has %.80q where %s should be", ErrDamaged, head.Name, nameEnd)
	case e.SHA256 != hex.EncodeToString(b.sum.Sum(nil)):
		return fmt.Errorf("%w: its checksum does not fit its content", ErrDamaged)
	case e.Contents != b.Stored:
		return fmt.Errorf("%w: it has the contents of %d blobs, not of %d", ErrDamaged, b.Stored, e.Contents)
	}
	if _, err := b.tar.Next(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it goes on behind its end", ErrDamaged)
	}
	return nil
}
