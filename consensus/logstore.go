package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// Store is what Raft keeps its log and its few stable values in.
type Store interface {
	raft.LogStore
	raft.StableStore
}

// checkedStore is a Store that notices damage. bbolt returns flipped bits as good entries, so every entry carries
//
//	Extensions = 0x01 | crc32c(index, term, type, data), big endian
//
// written where an entry is first stored and verified wherever it is stored again (a follower thus checks the leader's
// bytes) or read; and every stable value is followed by its crc32c. It also decides what a failed operation means:
// a full disk refuses the write, anything else stops the node, because after a failed fsync nobody knows what is on
// the disk.
type checkedStore struct {
	under   Store
	file    string // named in errors
	halt    func(error)
	broken  atomic.Pointer[DamageError]
	running atomic.Bool   // false while opening: errors are returned, nothing is halted
	closing chan struct{} // ends the wait for space
}

var _ Store = (*checkedStore)(nil)

const crcVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func logSum(l *raft.Log) uint32 {
	var head [17]byte
	binary.BigEndian.PutUint64(head[0:], l.Index)
	binary.BigEndian.PutUint64(head[8:], l.Term)
	head[16] = byte(l.Type)
	return crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, l.Data)
}

func seal(l *raft.Log) []byte {
	return binary.BigEndian.AppendUint32([]byte{crcVersion}, logSum(l))
}

func sealed(l *raft.Log) bool {
	return len(l.Extensions) == 5 && l.Extensions[0] == crcVersion && binary.BigEndian.Uint32(l.Extensions[1:]) == logSum(l)
}

func (s *checkedStore) FirstIndex() (i uint64, err error) {
	err = s.guard("read the first index", func() (e error) { i, e = s.under.FirstIndex(); return })
	return i, err
}

func (s *checkedStore) LastIndex() (i uint64, err error) {
	err = s.guard("read the last index", func() (e error) { i, e = s.under.LastIndex(); return })
	return i, err
}

func (s *checkedStore) GetLog(index uint64, l *raft.Log) error {
	return s.guard("read an entry", func() error {
		if err := s.under.GetLog(index, l); err != nil {
			if errors.Is(err, raft.ErrLogNotFound) {
				return err
			}
			return s.damage(fmt.Sprintf("entry %d can not be read", index), err)
		}
		if l.Index != index || !sealed(l) {
			return s.damage(fmt.Sprintf("entry %d does not fit its checksum", index), nil)
		}
		return nil
	})
}

func (s *checkedStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

func (s *checkedStore) StoreLogs(logs []*raft.Log) error {
	for _, l := range logs {
		if len(l.Extensions) == 0 {
			l.Extensions = seal(l)
		} else if !sealed(l) {
			return fmt.Errorf("entry %d arrived damaged: it does not fit the checksum its leader gave it", l.Index)
		}
	}
	return s.guard("store entries", func() error { return s.under.StoreLogs(logs) })
}

func (s *checkedStore) DeleteRange(from, to uint64) error {
	return s.guard("delete entries", func() error { return s.under.DeleteRange(from, to) })
}

func (s *checkedStore) Set(key, val []byte) error {
	return s.stubborn("store "+string(key), func() error {
		return s.under.Set(key, binary.BigEndian.AppendUint32(append([]byte(nil), val...), crc32.Checksum(val, castagnoli)))
	})
}

func (s *checkedStore) Get(key []byte) (val []byte, err error) {
	err = s.guard("read "+string(key), func() error {
		raw, err := s.under.Get(key)
		if err != nil {
			return err // Raft knows a missing value by the very text of the error
		}
		n := len(raw) - 4
		if n < 0 || binary.BigEndian.Uint32(raw[n:]) != crc32.Checksum(raw[:n], castagnoli) {
			return s.damage(fmt.Sprintf("the value %s does not fit its checksum", key), nil)
		}
		val = raw[:n]
		return nil
	})
	return val, err
}

func (s *checkedStore) SetUint64(key []byte, val uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, val))
}

func (s *checkedStore) GetUint64(key []byte) (uint64, error) {
	raw, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(raw) != 8 {
		return 0, s.guard("read "+string(key), func() error { return s.damage(fmt.Sprintf("the value %s is no number", key), nil) })
	}
	return binary.BigEndian.Uint64(raw), nil
}

func (s *checkedStore) damage(reason string, err error) error {
	return &DamageError{File: s.file, Reason: reason, Err: err}
}

// guard runs one operation. A fault in bbolt's mapped memory (a truncated file) and its panics become a DamageError.
// Damage and failed writes end the calling goroutine once the node runs, because Raft answers them with a panic that
// nobody could recover.
func (s *checkedStore) guard(what string, op func() error) error {
	err := s.recovered(op)
	switch {
	case err == nil, errors.Is(err, raft.ErrLogNotFound), err.Error() == "not found", outOfSpace(err):
		return err
	}
	var damaged *DamageError
	if errors.As(err, &damaged) {
		s.broken.CompareAndSwap(nil, damaged)
	}
	if !s.running.Load() {
		return err
	}
	if damaged == nil {
		err = &HaltError{What: "it can not " + what + " in " + s.file, Err: err}
	}
	s.halt(err)
	runtime.Goexit()
	return nil
}

func (s *checkedStore) recovered(op func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = s.damage("the log store can not be read", fmt.Errorf("%v", r))
		}
	}()
	return op()
}

// stubborn waits for space: Raft panics when it can not record its term or its vote, and a node that can not record its
// vote must stay silent.
func (s *checkedStore) stubborn(what string, op func() error) error {
	for {
		err := s.guard(what, op)
		if err == nil || !outOfSpace(err) || !s.running.Load() {
			return err
		}
		select {
		case <-s.closing:
			runtime.Goexit()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func outOfSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
