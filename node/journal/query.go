package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

const (
	// MaxPage is the most entries one page holds.
	MaxPage      = 1000
	maxPageBytes = 8 << 20
)

// Query asks for entries of one run.
type Query struct {
	RunID       string   `json:"runId"`
	ExecutionID string   `json:"executionId,omitempty"` // empty: all
	Workspaces  []string `json:"workspaces,omitempty"`  // empty: all
	After       Cursor   `json:"after,omitempty"`
	From        int64    `json:"from,omitempty"`  // ms; earlier ones are left out
	Limit       int      `json:"limit,omitempty"` // 0 or above MaxPage: MaxPage
}

func (q Query) matches(e Entry) bool {
	return (q.ExecutionID == "" || e.ExecutionID == q.ExecutionID) &&
		(len(q.Workspaces) == 0 || slices.Contains(q.Workspaces, e.WorkspaceID)) &&
		e.Timestamp >= q.From
}

// stretch is a part of a segment that may hold records of the run.
type stretch struct {
	seq      uint64
	path     string
	from, to int64
}

// Query reads this journal, in the order of arrival. Entries that wait to be
// written are not seen yet.
func (j *Journal) Query(q Query) (Page, error) {
	if q.RunID == "" {
		return Page{}, errNoRun
	}
	if q.Limit <= 0 || q.Limit > MaxPage {
		q.Limit = MaxPage
	}
	read, err := q.After.decode()
	if err != nil {
		return Page{}, err
	}
	start := read[j.id]
	parts, err := j.stretches(q.RunID, start)
	if err != nil {
		return Page{}, err
	}
	page := Page{Entries: []Entry{}, Journal: j.id}
	room := maxPageBytes
	for _, part := range parts {
		if err := j.readStretch(&page, &room, q, start, part); err != nil {
			return Page{}, err
		}
		if page.More {
			break
		}
	}
	if n := len(page.Positions); n > 0 {
		read[j.id] = page.Positions[n-1]
		page.Cursor = encodeCursor(read)
	}
	return page, nil
}

// stretches finds where to read, after reading the indexes of old segments
// that nobody has asked for yet.
func (j *Journal) stretches(run string, start Position) ([]stretch, error) {
	shard, hash := shardOf(run), runHash(run)
	if err := j.indexShard(shard); err != nil {
		return nil, err
	}
	j.filesMu.Lock()
	defer j.filesMu.Unlock()
	var out []stretch
	for _, g := range j.shards[shard] {
		s, ok := g.index[hash]
		if !ok || g.seq < start.Segment {
			continue
		}
		if g.seq == start.Segment {
			s.first = max(s.first, start.Offset)
		}
		if s.first < s.end {
			out = append(out, stretch{g.seq, g.path, s.first, s.end})
		}
	}
	return out, nil
}

func (j *Journal) indexShard(shard int) error {
	j.filesMu.Lock()
	var missing []*segment
	for _, g := range j.shards[shard] {
		if g.index == nil {
			missing = append(missing, g)
		}
	}
	j.filesMu.Unlock()
	for _, g := range missing {
		index, blobs, _, damaged, err := readIndex(g.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // dropped meanwhile
		}
		if err != nil {
			return err
		}
		j.filesMu.Lock()
		first := g.index == nil
		if first {
			g.index, g.blobs = index, blobs
		}
		j.filesMu.Unlock()
		if first {
			j.countDamage(g.path, damaged)
		}
	}
	return nil
}

func (j *Journal) readStretch(page *Page, room *int, q Query, start Position, part stretch) error {
	b, err := readRange(part)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // dropped meanwhile
	}
	if err != nil {
		return err
	}
	hash := runHash(q.RunID)
	var bad error
	_, damaged := scan(b, part.from, func(r record) bool {
		if r.run != hash {
			return true
		}
		entries, err := entriesOf(r, q.RunID)
		if err != nil {
			bad = err
			return true
		}
		skip := 0
		if part.seq == start.Segment && r.off == start.Offset {
			skip = start.Index
		}
		for i := skip; i < len(entries); i++ {
			if !q.matches(entries[i]) {
				continue
			}
			if len(page.Entries) == q.Limit || *room <= 0 {
				page.More = true
				return false
			}
			page.Entries = append(page.Entries, entries[i])
			page.Positions = append(page.Positions, Position{part.seq, r.off, i + 1})
		}
		*room -= len(r.payload)
		return true
	})
	if bad != nil {
		damaged++
	}
	if damaged > 0 {
		j.log.Warn("damaged log records were left out of an answer", "file", part.path, "places", damaged, "run", q.RunID)
	}
	return nil
}

func readRange(part stretch) ([]byte, error) {
	f, err := os.Open(part.path)
	if err != nil {
		return nil, fmt.Errorf("cannot open log segment: %w", err)
	}
	b := make([]byte, part.to-part.from)
	n, err := f.ReadAt(b, part.from)
	if closeErr := f.Close(); err == nil || errors.Is(err, io.EOF) {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read log segment %s: %w", part.path, err)
	}
	return b[:n], nil
}
