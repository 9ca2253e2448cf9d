package journal

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// ErrBadCursor is returned for a cursor that no journal made.
var ErrBadCursor = errors.New("the log cursor is malformed: pass the cursor of an earlier answer, or none")

// Cursor says how far each node's journal has been read. It is opaque, may be
// used with any node, and is empty at the beginning.
type Cursor string

// Position is the place of the next entry to read in one journal.
type Position struct {
	Segment uint64 `json:"s"`
	Offset  int64  `json:"o"`
	Index   int    `json:"i"` // in the record at Offset
}

const maxCursor = 64 << 10

func (c Cursor) decode() (map[string]Position, error) {
	m := map[string]Position{}
	if c == "" {
		return m, nil
	}
	if len(c) > maxCursor {
		return nil, ErrBadCursor
	}
	b, err := base64.RawURLEncoding.DecodeString(string(c))
	if err != nil {
		return nil, ErrBadCursor
	}
	if err := json.Unmarshal(b, &m); err != nil || m == nil {
		return nil, ErrBadCursor
	}
	for _, p := range m {
		if p.Offset < 0 || p.Index < 0 {
			return nil, ErrBadCursor
		}
	}
	return m, nil
}

func encodeCursor(m map[string]Position) Cursor {
	b, err := json.Marshal(m)
	if err != nil { // cannot be: strings and numbers
		return ""
	}
	return Cursor(base64.RawURLEncoding.EncodeToString(b))
}

// Page is an answer: of one journal, or merged from several. It travels
// between nodes as JSON.
type Page struct {
	Entries []Entry `json:"entries"`
	Cursor  Cursor  `json:"cursor,omitempty"` // pass it as After; empty when nothing was found
	More    bool    `json:"more,omitempty"`   // the limit ended the page, not the log

	// Of one journal only: whose it is, and the position after each entry.
	Journal   string     `json:"journal,omitempty"`
	Positions []Position `json:"positions,omitempty"`
}

// Merge joins the pages of several journals that answered one query with the
// same After. It orders by timestamp; within one journal, and so within one
// execution, the order of arrival is kept whatever its clock did. The first
// limit entries remain; a journal that gave no page is read on from where
// After stands.
func Merge(limit int, after Cursor, pages ...Page) (Page, error) {
	read, err := after.decode()
	if err != nil {
		return Page{}, err
	}
	pages = slices.Clone(pages)
	slices.SortStableFunc(pages, func(a, b Page) int { return strings.Compare(a.Journal, b.Journal) })
	next := make([]int, len(pages))
	out := Page{Entries: []Entry{}}
	for {
		best := -1
		for i, p := range pages {
			if next[i] == len(p.Entries) {
				continue
			}
			if best < 0 || p.Entries[next[i]].Timestamp < pages[best].Entries[next[best]].Timestamp {
				best = i
			}
		}
		if best < 0 {
			break
		}
		if limit > 0 && len(out.Entries) == limit {
			out.More = true
			break
		}
		p, k := pages[best], next[best]
		out.Entries = append(out.Entries, p.Entries[k])
		if k < len(p.Positions) {
			read[p.Journal] = p.Positions[k]
		}
		next[best]++
		if next[best] == len(p.Entries) && p.More { // what follows in this journal may be older than the others' next
			out.More = true
			break
		}
	}
	if len(out.Entries) > 0 {
		out.Cursor = encodeCursor(read)
	}
	return out, nil
}
