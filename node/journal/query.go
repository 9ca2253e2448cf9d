package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

const (
	// MaxPage is the most entries one page holds.
	MaxPage      = 1000
	maxPageBytes = 8 << 20
)

// Kind is what of a journal of metrics is asked for.
type Kind string

// The kinds of entries; "" is all.
const (
	Points      Kind = "points"
	Definitions Kind = "definitions"
)

// Query asks for entries of one run.
type Query struct {
	RunID       string   `json:"runId"`
	ExecutionID string   `json:"executionId,omitempty"` // empty: all
	Workspaces  []string `json:"workspaces,omitempty"`  // empty: all
	After       Cursor   `json:"after,omitempty"`
	From        int64    `json:"from,omitempty"`  // ms; earlier ones are left out
	Level       int      `json:"level,omitempty"` // lower ones are left out
	Grep        string   `json:"grep,omitempty"`  // regular expression (RE2); lines without a match are left out
	Kind        Kind     `json:"kind,omitempty"`
	Keys        []string `json:"keys,omitempty"`  // of metrics; empty: all
	Limit       int      `json:"limit,omitempty"` // 0 or above MaxPage: MaxPage
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
	f, err := newFilter(q)
	if err != nil {
		return Page{}, err
	}
	start := read.Positions[j.id]
	parts, err := j.stretches(q.RunID, start)
	if err != nil {
		return Page{}, err
	}
	r := reader{filter: f, start: start, room: maxPageBytes, passed: map[string]Cover{},
		page: Page{Entries: []Entry{}, Journal: j.id}}
	for _, part := range parts {
		if err := j.readStretch(&r, part); err != nil {
			return Page{}, err
		}
		if r.page.More {
			break
		}
	}
	if n := len(r.page.Positions); n > 0 {
		read.Positions[j.id] = r.page.Positions[n-1]
		for _, c := range r.page.Covers {
			read.see(c)
		}
		r.page.Cursor = read.encode()
	}
	return r.page, nil
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

// reader gathers a page.
type reader struct {
	filter
	start  Position
	room   int              // bytes
	passed map[string]Cover // by origin: what was read since its last entry on the page
	page   Page
}

// take adds an entry to the page if it matches; false when the page is full.
func (r *reader) take(e Entry, at Position) bool {
	c := identityOf(e, r.page.Journal, at)
	before, known := r.passed[c.Origin]
	if known && before.To+1 == c.To {
		c.From = before.From
	}
	if !r.matches(e) {
		r.passed[c.Origin] = c
		return true
	}
	if len(r.page.Entries) == r.Limit || r.room <= 0 {
		r.page.More = true
		return false
	}
	r.passed[c.Origin] = Cover{c.Origin, c.To + 1, c.To}
	r.page.Entries = append(r.page.Entries, e)
	r.page.Positions = append(r.page.Positions, at)
	r.page.Covers = append(r.page.Covers, c)
	return true
}

// identityOf tells entries apart. One that was never numbered is known by where it stands.
func identityOf(e Entry, journal string, at Position) Cover {
	if e.Origin != "" {
		return Cover{e.Origin, e.Seq, e.Seq}
	}
	seq := uint64(at.Offset)<<24 + uint64(at.Index)
	return Cover{fmt.Sprintf("@%s.%d", journal, at.Segment), seq, seq}
}

func (j *Journal) readStretch(r *reader, part stretch) error {
	b, err := readRange(part)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // dropped meanwhile
	}
	if err != nil {
		return err
	}
	hash := runHash(r.RunID)
	var bad error
	_, damaged := scan(b, part.from, func(rec record) bool {
		if rec.run != hash {
			return true
		}
		entries, err := entriesOf(rec, r.RunID)
		if err != nil {
			bad = err
			return true
		}
		skip := 0
		if part.seq == r.start.Segment && rec.off == r.start.Offset {
			skip = r.start.Index
		}
		for i := skip; i < len(entries); i++ {
			if !r.take(entries[i], Position{part.seq, rec.off, i + 1}) {
				return false
			}
		}
		r.room -= len(rec.payload)
		return true
	})
	if bad != nil {
		damaged++
	}
	if damaged > 0 {
		j.log.Warn("damaged log records were left out of an answer", "file", part.path, "places", damaged, "run", r.RunID)
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
