package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// Retire drops the segments that are no longer written, were last written before a time, and hold only entries of runs that
// are gone. A segment with one run that is not stays whole. It reads until the first such run of each segment, so it is made
// for once in an hour or so.
func (j *Journal) Retire(before time.Time, gone func(run string) bool) (dropped int, err error) {
	for s := range shards {
		for _, g := range j.ended(s) {
			over, err := isOver(g.path, before, gone)
			if err != nil {
				return dropped, err
			}
			if !over {
				continue
			}
			if err := j.drop(s, g); err != nil {
				return dropped, err
			}
			dropped++
		}
	}
	return dropped, nil
}

// ended lists the segments of a shard that are no longer written. The newest of all stays: its number must not be given
// again after a restart.
func (j *Journal) ended(shard int) (out []*segment) {
	j.filesMu.Lock()
	defer j.filesMu.Unlock()
	newest := uint64(0)
	for _, segs := range j.shards {
		if len(segs) > 0 {
			newest = max(newest, segs[len(segs)-1].seq)
		}
	}
	for _, g := range j.shards[shard] {
		if g.file == nil && g.seq != newest {
			out = append(out, g)
		}
	}
	return out
}

// isOver tells whether nothing in a segment is wanted. What is damaged nobody can read.
func isOver(path string, before time.Time, gone func(run string) bool) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // dropped meanwhile
	}
	if err != nil {
		return false, fmt.Errorf("cannot look at log segment: %w", err)
	}
	if !info.ModTime().Before(before) {
		return false, nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot read log segment: %w", err)
	}
	over, asked := true, map[uint64]bool{}
	scan(b, 0, func(r record) bool {
		var head struct {
			Run string `json:"run"`
		}
		if asked[r.run] || json.Unmarshal(r.payload, &head) != nil {
			return true
		}
		asked[r.run] = true
		over = gone(head.Run)
		return over
	})
	return over, nil
}

func (j *Journal) drop(shard int, g *segment) error {
	j.filesMu.Lock()
	defer j.filesMu.Unlock()
	i := slices.Index(j.shards[shard], g)
	if i < 0 {
		return nil // the cap was faster
	}
	if err := os.Remove(g.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot drop a log segment: %w", err)
	}
	j.shards[shard] = slices.Delete(slices.Clone(j.shards[shard]), i, i+1)
	j.total -= g.size
	j.droppedSegments.Add(1)
	return nil
}
