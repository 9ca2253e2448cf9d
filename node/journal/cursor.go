package journal

import (
	"encoding/base64"
	"encoding/json"
	"errors"
)

// ErrBadCursor is returned for a cursor that no journal made.
var ErrBadCursor = errors.New("the log cursor is malformed: pass the cursor of an earlier answer, or none")

// Cursor says how far each node's journal has been read, and which entries were shown. It is opaque, may be used with any
// node, and is empty at the beginning.
type Cursor string

// Position is the place of the next entry to read in one journal.
type Position struct {
	Segment uint64 `json:"s"`
	Offset  int64  `json:"o"`
	Index   int    `json:"i"` // in the record at Offset
}

// Cover says which entries of an origin a journal has passed on the way to the one at hand, that one included: From to To
// without a hole. All but To did not match the query.
type Cover struct {
	Origin string `json:"w"`
	From   uint64 `json:"f"`
	To     uint64 `json:"t"`
}

const maxCursor = 64 << 10

// progress is what a cursor holds: positions by journal, numbers by origin.
type progress struct {
	Positions map[string]Position `json:"p"`
	Seen      map[string]numbers  `json:"n"`
}

func (c Cursor) decode() (progress, error) {
	p := progress{}
	if c != "" {
		if len(c) > maxCursor {
			return p, ErrBadCursor
		}
		b, err := base64.RawURLEncoding.DecodeString(string(c))
		if err != nil || json.Unmarshal(b, &p) != nil {
			return p, ErrBadCursor
		}
	}
	for _, at := range p.Positions {
		if at.Offset < 0 || at.Index < 0 {
			return p, ErrBadCursor
		}
	}
	for _, n := range p.Seen {
		if !n.valid() {
			return p, ErrBadCursor
		}
	}
	if p.Positions == nil {
		p.Positions = map[string]Position{}
	}
	if p.Seen == nil {
		p.Seen = map[string]numbers{}
	}
	return p, nil
}

func (p progress) see(c Cover) { p.Seen[c.Origin] = p.Seen[c.Origin].add(c.From, c.To) }

func (p progress) encode() Cursor {
	b, err := json.Marshal(p)
	if err != nil { // cannot be: strings and numbers
		return ""
	}
	return Cursor(base64.RawURLEncoding.EncodeToString(b))
}

// Page is an answer: of one journal, or merged from several. It travels between nodes as JSON.
type Page struct {
	Entries []Entry `json:"entries"`
	Cursor  Cursor  `json:"cursor,omitempty"` // pass it as After; empty when nothing was passed
	More    bool    `json:"more,omitempty"`   // the limit ended the page, not the log

	// Of one journal only: whose it is, and of each entry the position after it and what was passed.
	Journal   string     `json:"journal,omitempty"`
	Positions []Position `json:"positions,omitempty"`
	Covers    []Cover    `json:"covers,omitempty"`
}

// whole tells whether each entry has its position and its cover.
func (p Page) whole() bool {
	return len(p.Positions) == len(p.Entries) && len(p.Covers) == len(p.Entries)
}
