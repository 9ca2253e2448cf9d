package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const shards = 16

// span is where the records of one run are in a segment.
type span struct{ first, end int64 }

// segment is one append-only file. Numbers grow over all shards and are never
// used again; each process writes to segments of its own, so a position stays
// true over restarts.
type segment struct {
	seq   uint64
	path  string
	size  int64
	index map[uint64]span // nil: not read yet
	blobs blobKeys        // complete once index is read
	file  *os.File        // open while it is written
}

func shardOf(run string) int { return int(runHash(run) % shards) }

func (j *Journal) shardDir(shard int) string {
	return filepath.Join(j.dir, fmt.Sprintf("%02x", shard))
}

// load lists the segments and cuts the torn tail that a killed process left.
func (j *Journal) load() error {
	for s := range shards {
		dir := j.shardDir(s)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("cannot make the journal's directory: %w", err)
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("cannot list the journal's segments: %w", err)
		}
		for _, f := range files {
			seq, err := strconv.ParseUint(strings.TrimSuffix(f.Name(), ".log"), 10, 64)
			if err != nil || !strings.HasSuffix(f.Name(), ".log") {
				continue // not ours
			}
			info, err := f.Info()
			if err != nil {
				return fmt.Errorf("cannot list the journal's segments: %w", err)
			}
			j.shards[s] = append(j.shards[s], &segment{seq: seq, path: filepath.Join(dir, f.Name()), size: info.Size()})
			j.nextSeq = max(j.nextSeq, seq+1)
		}
		segs := j.shards[s]
		slices.SortFunc(segs, func(a, b *segment) int { return cmp.Compare(a.seq, b.seq) })
		if len(segs) > 0 {
			if err := j.cutTail(segs[len(segs)-1]); err != nil {
				return err
			}
		}
		for _, g := range segs {
			j.total += g.size
		}
	}
	return nil
}

func (j *Journal) cutTail(g *segment) error {
	index, blobs, end, damaged, err := readIndex(g.path)
	if err != nil {
		return err
	}
	if end < g.size {
		j.log.Warn("cut the torn end of a log segment", "file", g.path, "bytes", g.size-end)
		if err := os.Truncate(g.path, end); err != nil {
			return fmt.Errorf("cannot cut the torn end of log segment %s: %w", g.path, err)
		}
		g.size = end
	}
	g.index, g.blobs = index, blobs
	j.countDamage(g.path, damaged)
	return nil
}

func (j *Journal) countDamage(path string, damaged int) {
	if damaged == 0 {
		return
	}
	j.damaged.Add(int64(damaged))
	j.log.Warn("a log segment is damaged, what can be read of it is kept", "file", path, "places", damaged)
}

// readIndex reads a whole segment.
func readIndex(path string) (index map[uint64]span, blobs blobKeys, end int64, damaged int, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, blobs, 0, 0, fmt.Errorf("cannot read log segment: %w", err)
	}
	index = map[uint64]span{}
	end, damaged = scan(b, 0, func(r record) bool {
		note(index, r.run, r.off, r.size)
		blobs.add(blobsOfRecord(r.payload))
		return true
	})
	return index, blobs, end, damaged, nil
}

func note(index map[uint64]span, run uint64, off, size int64) {
	s, ok := index[run]
	if !ok {
		s.first = off
	}
	s.end = off + size
	index[run] = s
}

// active returns the segment that a shard is written to. Writer only.
func (j *Journal) active(shard int) (*segment, error) {
	j.filesMu.Lock()
	defer j.filesMu.Unlock()
	if n := len(j.shards[shard]); n > 0 {
		if g := j.shards[shard][n-1]; g.file != nil {
			if g.size < j.segmentSize {
				return g, nil
			}
			if err := closeSegment(g); err != nil {
				return nil, err
			}
		}
	}
	seq := j.nextSeq
	path := filepath.Join(j.shardDir(shard), fmt.Sprintf("%016d.log", seq))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot begin a log segment: %w", err)
	}
	j.nextSeq++
	g := &segment{seq: seq, path: path, file: f, index: map[uint64]span{}}
	j.shards[shard] = append(j.shards[shard], g)
	return g, nil
}

// closeSegment makes it durable; until then its end survives a killed process
// but not a power cut.
func closeSegment(g *segment) error {
	f := g.file
	g.file = nil
	if f == nil {
		return nil
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("cannot end log segment %s: %w", g.path, err)
	}
	return nil
}

// dropOldest keeps the journal below its cap. Writer only.
func (j *Journal) dropOldest() error {
	j.filesMu.Lock()
	defer j.filesMu.Unlock()
	for j.total > j.maxBytes {
		oldest := -1
		for s, segs := range j.shards {
			if len(segs) > 0 && (oldest < 0 || segs[0].seq < j.shards[oldest][0].seq) {
				oldest = s
			}
		}
		if oldest < 0 {
			return nil
		}
		g := j.shards[oldest][0]
		err := closeSegment(g)
		if rm := os.Remove(g.path); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			return errors.Join(err, fmt.Errorf("cannot drop the oldest log segment: %w", rm))
		}
		j.shards[oldest] = j.shards[oldest][1:]
		j.total -= g.size
		j.droppedSegments.Add(1)
		if err != nil {
			return err
		}
	}
	return nil
}
