package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"

	"github.com/cespare/xxhash/v2"
)

// A segment is a sequence of records, each holding entries of one run:
//
//	"CJR1" | payload length (4) | CRC-32C (4) | xxhash of the run id (8) | payload
//
// Numbers are little endian; the CRC covers the length, the hash and the
// payload, which is the JSON of batch. The magic is where a reader finds its
// way again after a damaged record.
const (
	headerLen  = 20
	maxPayload = 4 * maxEntry
)

var (
	magic      = []byte("CJR1")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

type batch struct {
	Run     string            `json:"run"`
	Entries []json.RawMessage `json:"entries"`
}

func runHash(run string) uint64 { return xxhash.Sum64String(run) }

// appendRecord encodes entries of one run.
func appendRecord(b []byte, run string, entries []json.RawMessage) ([]byte, error) {
	payload, err := json.Marshal(batch{Run: run, Entries: entries})
	if err != nil {
		return b, fmt.Errorf("cannot encode log entries of run %s: %w", run, err)
	}
	start := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, runHash(run))
	b = append(b, payload...)
	binary.LittleEndian.PutUint32(b[start+8:], checksum(b[start:]))
	return b, nil
}

func checksum(rec []byte) uint32 {
	sum := crc32.Update(0, castagnoli, rec[4:8])
	return crc32.Update(sum, castagnoli, rec[12:])
}

// record is one that was found whole.
type record struct {
	off     int64 // in the segment
	size    int64
	run     uint64
	payload []byte
}

// recordAt checks the record at the start of b.
func recordAt(b []byte) (record, bool) {
	if len(b) < headerLen || !bytes.Equal(b[:4], magic) {
		return record{}, false
	}
	n := int(binary.LittleEndian.Uint32(b[4:]))
	if n > maxPayload || headerLen+n > len(b) {
		return record{}, false
	}
	b = b[:headerLen+n]
	if checksum(b) != binary.LittleEndian.Uint32(b[8:]) {
		return record{}, false
	}
	return record{size: int64(len(b)), run: binary.LittleEndian.Uint64(b[12:]), payload: b[headerLen:]}, true
}

// scan calls found for each whole record of b, which begins at offset base of
// its segment, until found says no. It returns where the last whole record
// ended, and how many damaged places it jumped over; what follows the last
// whole record is a torn tail and not counted.
func scan(b []byte, base int64, found func(record) bool) (end int64, damaged int) {
	pos := 0
	bad := false
	for pos < len(b) {
		if r, ok := recordAt(b[pos:]); ok {
			if bad {
				damaged++
				bad = false
			}
			r.off = base + int64(pos)
			pos += int(r.size)
			end = base + int64(pos)
			if !found(r) {
				return end, damaged
			}
			continue
		}
		bad = true
		next := bytes.Index(b[pos+1:], magic)
		if next < 0 {
			break
		}
		pos += 1 + next
	}
	return end, damaged
}

// entriesOf decodes a record, nil if it is of another run whose hash is the same.
func entriesOf(r record, run string) ([]Entry, error) {
	var b struct {
		Run     string  `json:"run"`
		Entries []Entry `json:"entries"`
	}
	if err := json.Unmarshal(r.payload, &b); err != nil {
		return nil, fmt.Errorf("cannot read a log record of run %s: %w", run, err)
	}
	if b.Run != run {
		return nil, nil
	}
	for i := range b.Entries {
		b.Entries[i].RunID = run
	}
	return b.Entries, nil
}
