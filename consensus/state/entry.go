package state

import (
	"errors"
	"fmt"
	"unique"
)

// entryVersion is the first byte of an encoded entry. A node that meets a higher one halts.
const entryVersion = 1

// entryHead is what an encoded entry takes beside its effects, at most.
const entryHead = 32

// MaxEntry is the hard cap of an encoded entry in bytes; what is larger is refused before it is proposed. BatchBytes is
// what a batch aims at (rules A19).
const (
	MaxEntry   = 512 << 10
	BatchBytes = 64 << 10
)

// ErrRefused answers an entry that was made on another state than the one it met: nothing was changed (rules A8).
var ErrRefused = errors.New("entry refused: it was made on another state than this one")

// Entry is what the log carries: the effects of one batch of decisions.
//
//	byte 0      version
//	byte 1...   msgpack array [base, time, effects], an effect being [table, row] or [table, nil, key]
type Entry struct {
	_struct bool `codec:",toarray"` //lint:ignore U1000 tells the codec to write an array
	// Base is the index of the state that the effects were decided on; the entry makes it Base+1.
	Base uint64
	// Time is the log time of the decisions, milliseconds.
	Time int64
	// Effects in the order in which they were made; at most one per row.
	Effects []Effect
}

// Effect puts a row or deletes one.
type Effect struct {
	_struct bool `codec:",toarray"` //lint:ignore U1000 tells the codec to write an array
	Table   Table
	// Row is the encoded row that is put; empty when the row with Key is deleted.
	Row []byte
	Key []byte
}

// Size of the effect in an entry, at most.
func (e Effect) Size() int {
	if e.Table == 0 {
		return 0 // made and unmade: not in the entry
	}
	return len(e.Row) + len(e.Key) + 12
}

// Encode writes the entry.
func (e *Entry) Encode() ([]byte, error) {
	body, err := encode(e)
	if err != nil {
		return nil, err
	}
	return append([]byte{entryVersion}, body...), nil
}

// DecodeEntry reads an entry. An error means that this node does not understand it and must halt without advancing.
func DecodeEntry(data []byte) (*Entry, error) {
	if len(data) == 0 || data[0] != entryVersion {
		return nil, fmt.Errorf("log entry of an unknown version: this node is too old for its mesh, upgrade it")
	}
	e := &Entry{}
	if err := decode(data[1:], e); err != nil {
		return nil, err
	}
	return e, nil
}

// row decodes the row of an effect and notes its share of the digest.
func (e Effect) row() (Row, error) {
	s, ok := known.byNumber[e.Table]
	if !ok {
		return nil, fmt.Errorf("log entry for %v: this node is too old for its mesh, upgrade it", e.Table)
	}
	r := s.empty()
	if err := decode(e.Row, r); err != nil {
		return nil, err
	}
	r.common().share = share(e.Table, e.Row)
	if s, ok := r.(sharer); ok {
		s.shared(func(text *string) { *text = unique.Make(*text).Value() })
	}
	return r, nil
}
