package state

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// A snapshot is a stream:
//
//	"CFXSNAP1"
//	records:  table (1 byte, never 0) | share (8, LE) | length (4, LE) | row (msgpack)
//	footer:   0 | digest (8, LE) | number of records (8, LE) | crc64/ECMA of all bytes before it (8, LE)
const snapshotMagic = "CFXSNAP1"

// ErrDamaged means that a snapshot's bytes are not those that were written.
var ErrDamaged = errors.New("snapshot is damaged")

// crcTable is built once and only read.
var crcTable = crc64.MakeTable(crc64.ECMA)

// Frozen is the state at one index, to be written whenever there is time: taking it copies a pointer.
type Frozen struct {
	trees  []*tree
	digest uint64
}

// Freeze takes the state as it is now.
func (s *Store) Freeze() *Frozen {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return &Frozen{trees: s.trees, digest: s.digest}
}

// View reads it.
func (f *Frozen) View() *View { return &View{txn: reading(f.trees)} }

// WriteTo writes the snapshot.
func (f *Frozen) WriteTo(w io.Writer) (int64, error) {
	sum := crc64.New(crcTable)
	buf := bufio.NewWriterSize(w, 1<<16)
	out := &counter{w: io.MultiWriter(buf, sum)}
	_, err := io.WriteString(out, snapshotMagic)
	records, write := uint64(0), recordWriter(out)
	for _, s := range specs {
		tr := f.trees[s.number.tree("id")]
		if tr == nil || err != nil {
			continue
		}
		tr.Scan(func(e entry) bool {
			err = write(s.number, e.row)
			records++
			return err == nil
		})
	}
	if err != nil {
		return out.n, fmt.Errorf("write snapshot: %w", err)
	}
	footer := make([]byte, 17, 25)
	binary.LittleEndian.PutUint64(footer[1:], f.digest)
	binary.LittleEndian.PutUint64(footer[9:], records)
	if _, err := out.Write(footer); err != nil {
		return out.n, fmt.Errorf("write snapshot: %w", err)
	}
	if _, err := buf.Write(binary.LittleEndian.AppendUint64(nil, sum.Sum64())); err != nil {
		return out.n, fmt.Errorf("write snapshot: %w", err)
	}
	return out.n + 8, buf.Flush()
}

// recordWriter gives a function that writes one row; what it needs for that it makes once.
func recordWriter(w io.Writer) func(Table, Row) error {
	var record bytes.Buffer
	encoder, head := codec.NewEncoder(&record, msgpack), make([]byte, 13)
	return func(t Table, r Row) error {
		record.Reset()
		record.Write(head)
		if err := encoder.Encode(r); err != nil {
			return fmt.Errorf("encode %T: %w", r, err)
		}
		b := record.Bytes()
		b[0] = byte(t)
		binary.LittleEndian.PutUint64(b[1:], r.common().share)
		binary.LittleEndian.PutUint32(b[9:], uint32(len(b)-len(head)))
		_, err := w.Write(b)
		return err
	}
}

// Restore replaces the whole state by a snapshot. On an error the state is as it was.
func (s *Store) Restore(r io.Reader) error {
	sum := crc64.New(crcTable)
	src := bufio.NewReaderSize(r, 1<<16)
	in := io.TeeReader(src, sum)
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != snapshotMagic {
		return fmt.Errorf("%w: it does not begin as a snapshot does", ErrDamaged)
	}
	txn := newTrees()
	digest, err := restoreRecords(in, txn)
	if err != nil {
		return err
	}
	want := make([]byte, 8)
	if _, err := io.ReadFull(src, want); err != nil || binary.LittleEndian.Uint64(want) != sum.Sum64() {
		return fmt.Errorf("%w: its checksum does not fit its content", ErrDamaged)
	}
	packed := indexPacks(txn)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trees, s.digest, s.packed = txn.trees, digest, packed
	s.watches.forget((&View{txn: reading(s.trees)}).Index())
	close(s.advanced)
	s.advanced = make(chan struct{})
	return nil
}

func restoreRecords(in io.Reader, txn *txn) (uint64, error) {
	var digest, records uint64
	var head [17]byte
	for {
		if _, err := io.ReadFull(in, head[:1]); err != nil {
			return 0, fmt.Errorf("%w: it ends too early", ErrDamaged)
		}
		if head[0] == 0 {
			break
		}
		if _, err := io.ReadFull(in, head[1:13]); err != nil {
			return 0, fmt.Errorf("%w: it ends too early", ErrDamaged)
		}
		n := binary.LittleEndian.Uint32(head[9:])
		if n > MaxEntry {
			return 0, fmt.Errorf("%w: a row of %d bytes", ErrDamaged, n)
		}
		effect := Effect{Table: Table(head[0]), Row: make([]byte, n)}
		if _, err := io.ReadFull(in, effect.Row); err != nil {
			return 0, fmt.Errorf("%w: it ends too early", ErrDamaged)
		}
		row, err := effect.row()
		if err != nil {
			return 0, err
		}
		row.common().share = binary.LittleEndian.Uint64(head[1:])
		digest ^= row.common().share
		records++
		txn.put(row)
	}
	if _, err := io.ReadFull(in, head[1:]); err != nil {
		return 0, fmt.Errorf("%w: it ends too early", ErrDamaged)
	}
	if binary.LittleEndian.Uint64(head[1:]) != digest || binary.LittleEndian.Uint64(head[9:]) != records {
		return 0, fmt.Errorf("%w: its rows do not add up to its digest", ErrDamaged)
	}
	return digest, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
