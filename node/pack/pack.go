// Package pack is the file in which finished runs are kept: their rows, compressed, and a directory of them.
package pack

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/klauspost/compress/zstd"
)

// A pack is a file:
//
//	"CFXPACK1"
//	blocks      zstd frames; a block has the sections of some runs, a section the rows of one:
//	            table (uvarint) | length (uvarint) | row, as in a log entry
//	directory   a zstd frame of JSON, an array of Summary in the order in which the runs were created
//	footer      offset of the directory (8, LE) | its length (8, LE) | "CFXPACK1"
const magic = "CFXPACK1"

const (
	footerSize = 16 + len(magic)
	// blockSize is about what a block has before it is compressed; a larger run has a block of its own.
	blockSize = 256 << 10
	// maxMemory is what a block or the directory may take when it is read.
	maxMemory = 1 << 30
)

// ErrDamaged: the bytes are not those of a pack.
var ErrDamaged = errors.New("pack is damaged")

// Summary is what the directory says of a run: what lists show, and where its rows are.
type Summary struct {
	Run       string `json:"run"`
	Module    string `json:"module"`
	Target    string `json:"target"`
	CreatedAt int64  `json:"createdAt"` // log time, milliseconds
	// CompletedAt and Outcome are those of the root at the end of its attempts and links; Outcome is a result type's name.
	CompletedAt int64  `json:"completedAt"`
	Outcome     string `json:"outcome"`
	Steps       int    `json:"steps"`
	// Digest of the rows (state.RowsDigest).
	Digest uint64 `json:"digest"`
	// Block and BlockSize say where its block is in the file; At and Size where it is in the block's content.
	Block     int64 `json:"block"`
	BlockSize int64 `json:"blockSize"`
	At        int   `json:"at"`
	Size      int   `json:"size"`
}

// Writer writes a pack.
type Writer struct {
	w       io.Writer
	n       int64
	enc     *zstd.Encoder
	block   []byte
	runs    []Summary
	written int // of runs, in blocks that are written
	err     error
}

// NewWriter begins one. Nothing is in it before Close has returned.
func NewWriter(w io.Writer) *Writer {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	p := &Writer{w: w, enc: enc, err: err}
	p.write([]byte(magic))
	return p
}

func (p *Writer) write(data []byte) {
	if p.err == nil {
		var n int
		n, p.err = p.w.Write(data)
		p.n += int64(n)
	}
}

// Add writes a run. Of the summary the fields from Digest on are filled in.
func (p *Writer) Add(s Summary, rows []state.Effect) {
	s.At, s.Digest = len(p.block), state.RowsDigest(rows)
	for _, e := range rows {
		p.block = binary.AppendUvarint(p.block, uint64(e.Table))
		p.block = binary.AppendUvarint(p.block, uint64(len(e.Row)))
		p.block = append(p.block, e.Row...)
	}
	s.Size = len(p.block) - s.At
	p.runs = append(p.runs, s)
	if len(p.block) >= blockSize {
		p.endBlock()
	}
}

// endBlock writes the runs that were added since the last block.
func (p *Writer) endBlock() {
	if len(p.block) == 0 || p.err != nil {
		return
	}
	at := p.n
	p.write(p.enc.EncodeAll(p.block, nil))
	for i := p.written; i < len(p.runs); i++ {
		p.runs[i].Block, p.runs[i].BlockSize = at, p.n-at
	}
	p.written, p.block = len(p.runs), p.block[:0]
}

// Close writes the rest.
func (p *Writer) Close() error {
	p.endBlock()
	slices.SortStableFunc(p.runs, func(a, b Summary) int {
		return cmpCreated(a.CreatedAt, a.Run, b.CreatedAt, b.Run)
	})
	directory, err := json.Marshal(p.runs)
	if p.err = errors.Join(p.err, err); p.err != nil {
		return fmt.Errorf("write pack: %w", p.err)
	}
	at := p.n
	p.write(p.enc.EncodeAll(directory, nil))
	footer := binary.LittleEndian.AppendUint64(nil, uint64(at))
	footer = binary.LittleEndian.AppendUint64(footer, uint64(p.n-at))
	p.write(append(footer, magic...))
	if p.err != nil {
		return fmt.Errorf("write pack: %w", p.err)
	}
	return nil
}

func cmpCreated(at int64, id string, otherAt int64, otherID string) int {
	switch {
	case at < otherAt:
		return -1
	case at > otherAt:
		return 1
	}
	return strings.Compare(id, otherID)
}

// Reader reads a pack. It may be used by several goroutines.
type Reader struct {
	r    io.ReaderAt
	runs []Summary
	at   map[string]int // in runs
}

// Open reads the directory of a pack of the given size. Whether the bytes are those that were written is for whoever keeps them
// to know; damage to what is read is an error in any case.
func Open(r io.ReaderAt, size int64) (*Reader, error) {
	footer := make([]byte, footerSize)
	if size < int64(footerSize+len(magic)) {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrDamaged, size)
	}
	if _, err := r.ReadAt(footer, size-int64(footerSize)); err != nil {
		return nil, fmt.Errorf("read pack: %w", err)
	}
	at, n := binary.LittleEndian.Uint64(footer), binary.LittleEndian.Uint64(footer[8:])
	if string(footer[16:]) != magic || at > uint64(size) || n > uint64(size) || at+n != uint64(size)-uint64(footerSize) {
		return nil, fmt.Errorf("%w: it does not end as a pack does", ErrDamaged)
	}
	directory, err := frame(r, int64(at), int64(n))
	if err != nil {
		return nil, err
	}
	p := &Reader{r: r, at: map[string]int{}}
	if err := json.Unmarshal(directory, &p.runs); err != nil {
		return nil, fmt.Errorf("%w: its directory: %w", ErrDamaged, err)
	}
	for i, s := range p.runs {
		if s.Block < 0 || s.BlockSize < 0 || s.Block > size || s.BlockSize > size-s.Block {
			return nil, fmt.Errorf("%w: run %s lies outside", ErrDamaged, s.Run)
		}
		p.at[s.Run] = i
	}
	return p, nil
}

// frame reads and decompresses a part of the file.
func frame(r io.ReaderAt, at, size int64) ([]byte, error) {
	packed := make([]byte, size)
	if _, err := r.ReadAt(packed, at); err != nil {
		return nil, fmt.Errorf("read pack: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxMemory))
	if err != nil {
		return nil, fmt.Errorf("read pack: %w", err)
	}
	defer dec.Close()
	content, err := dec.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return content, nil
}

// Runs are the runs in it, the oldest first. The caller must not change them.
func (p *Reader) Runs() []Summary { return p.runs }

// Rows are the rows of a run; ok is false when it is not in the pack.
func (p *Reader) Rows(run string) (rows []state.Effect, s Summary, ok bool, err error) {
	i, ok := p.at[run]
	if !ok {
		return nil, Summary{}, false, nil
	}
	s = p.runs[i]
	block, err := frame(p.r, s.Block, s.BlockSize)
	if err != nil {
		return nil, s, true, err
	}
	if s.At < 0 || s.Size < 0 || s.At > len(block) || s.Size > len(block)-s.At {
		return nil, s, true, fmt.Errorf("%w: run %s lies outside its block", ErrDamaged, run)
	}
	rows, err = decode(block[s.At : s.At+s.Size])
	if err == nil && state.RowsDigest(rows) != s.Digest {
		err = fmt.Errorf("%w: the rows of run %s are not those that were written", ErrDamaged, run)
	}
	return rows, s, true, err
}

func decode(section []byte) (rows []state.Effect, err error) {
	in := bytes.NewReader(section)
	for in.Len() > 0 {
		table, err := binary.ReadUvarint(in)
		if err != nil || table == 0 || table > 255 {
			return nil, fmt.Errorf("%w: a row of no table", ErrDamaged)
		}
		n, err := binary.ReadUvarint(in)
		if err != nil || n > uint64(in.Len()) {
			return nil, fmt.Errorf("%w: a row ends too early", ErrDamaged)
		}
		at := len(section) - in.Len()
		rows = append(rows, state.Effect{Table: state.Table(table), Row: section[at : at+int(n)]})
		_, _ = in.Seek(int64(n), io.SeekCurrent)
	}
	return rows, nil
}
