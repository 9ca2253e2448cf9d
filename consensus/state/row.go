package state

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/hashicorp/go-msgpack/v2/codec"
)

// Row is one row of a table. A row that was put is never changed: copy it, change the copy, put that.
type Row interface {
	// table is the number of the row's table (tables.go).
	table() Table
	// key is the primary key, unique within the table and ordered bytewise as the table is meant to be walked.
	key() string
	common() *rowCommon
}

// sharer is a row with texts that many rows have, which are kept in memory once.
type sharer interface {
	shared(share func(text *string))
}

// rowCommon is what every row carries beside its own fields. Embedded in each row type.
type rowCommon struct {
	// share is this row's part of the state digest. Set when the row is applied or restored.
	share uint64
	// unknown keeps the fields that a newer version wrote and this one does not know, so that a row which this
	// version reads, snapshots or rewrites loses nothing (rolling upgrades).
	unknown map[string]any
}

func (c *rowCommon) common() *rowCommon { return c }

// CodecMissingField keeps a field that this version does not know.
func (c *rowCommon) CodecMissingField(field []byte, value any) bool {
	if c.unknown == nil {
		c.unknown = map[string]any{}
	}
	c.unknown[string(field)] = value
	return true
}

// CodecMissingFields gives the kept fields back when the row is written.
func (c *rowCommon) CodecMissingFields() map[string]any { return c.unknown }

// handle is the one encoding of rows, entries and snapshots: msgpack, maps with sorted keys. Times are plain
// int64 milliseconds everywhere, so the msgpack time extension (TimeNotBuiltin) never matters.
func handle() *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{WriteExt: true}
	h.Canonical = true
	h.TimeNotBuiltin = true
	h.RawToString = false
	return h
}

var msgpack = handle()

func encode(v any) ([]byte, error) {
	var out []byte
	if err := codec.NewEncoderBytes(&out, msgpack).Encode(v); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return out, nil
}

func decode(data []byte, v any) error {
	if err := codec.NewDecoderBytes(data, msgpack).Decode(v); err != nil {
		return fmt.Errorf("decode %T: %w", v, err)
	}
	return nil
}

// share is a row's part of the digest: the XOR of all shares is the digest of the state.
func share(t Table, encoded []byte) uint64 {
	d := xxhash.New()
	_, _ = d.Write([]byte{byte(t)})
	_, _ = d.Write(encoded)
	return d.Sum64()
}

// be8 and be4 write numbers so that bytewise order is numeric order (non-negative numbers only).
func be8(n int64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n))
	return string(b[:])
}

func be4(n int) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(n))
	return string(b[:])
}

// join builds a compound key of texts. NUL cannot occur in ids and names, so no two lists give one key.
func join(parts ...string) string {
	n := 0
	for _, p := range parts {
		n += len(p) + 1
	}
	b := make([]byte, 0, n)
	for _, p := range parts {
		b = append(append(b, p...), 0)
	}
	return string(b)
}
