package journal

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

var errTornPage = errors.New("a page of a journal says not of each entry where it stands")

// candidate is an entry that was not shown yet.
type candidate struct {
	Cover
	entry Entry
	last  bool // of a page that has more: what follows there may come next
}

// Merge joins the pages of several journals that answered one query with the same After; an entry that several of them hold
// comes once. It orders by timestamp; within one origin, and so within one execution, the order of the numbers is kept
// whatever its clock did. The first limit entries remain; 0 is all. A journal that gave no page is read on from where After
// stands. A page without entries may have More: then only entries shown before were passed.
func Merge(limit int, after Cursor, pages ...Page) (Page, error) {
	read, err := after.decode()
	if err != nil {
		return Page{}, err
	}
	for _, p := range pages {
		if !p.whole() {
			return Page{}, errTornPage
		}
	}
	pages = slices.Clone(pages)
	slices.SortStableFunc(pages, func(a, b Page) int { return strings.Compare(a.Journal, b.Journal) })
	streams, stale := unseen(read, pages)
	more := slices.ContainsFunc(pages, func(p Page) bool { return p.More })
	out := Page{Entries: []Entry{}, More: more}
	for !stale {
		i := next(read, streams, more)
		if i < 0 {
			break
		}
		if limit > 0 && len(out.Entries) == limit {
			out.More = true
			break
		}
		c := streams[i][0]
		streams[i] = streams[i][1:]
		out.Entries = append(out.Entries, c.entry)
		read.see(c.Cover)
		if c.last {
			break
		}
	}
	moved := false
	for _, p := range pages {
		k := 0
		for k < len(p.Covers) && read.Seen[p.Covers[k].Origin].has(p.Covers[k].To) {
			k++
		}
		if k > 0 {
			read.Positions[p.Journal], moved = p.Positions[k-1], true
		}
	}
	if moved || len(out.Entries) > 0 {
		out.Cursor = read.encode()
	}
	return out, nil
}

// unseen sorts what was not shown yet by origin and number. stale: a page that has more holds nothing new, so what follows
// in it has to be read before anything is shown.
func unseen(read progress, pages []Page) (streams [][]candidate, stale bool) {
	byOrigin := map[string]map[uint64]*candidate{}
	for _, p := range pages {
		var newest *candidate
		for k, c := range p.Covers {
			if read.Seen[c.Origin].has(c.To) {
				continue
			}
			known := byOrigin[c.Origin]
			if known == nil {
				known = map[uint64]*candidate{}
				byOrigin[c.Origin] = known
			}
			if known[c.To] == nil {
				known[c.To] = &candidate{Cover: c, entry: p.Entries[k]}
			}
			newest = known[c.To]
			newest.From = min(newest.From, c.From)
		}
		if p.More && newest == nil {
			stale = true
		} else if p.More {
			newest.last = true
		}
	}
	for _, known := range byOrigin {
		var s []candidate
		for _, c := range known {
			s = append(s, *c)
		}
		slices.SortFunc(s, func(a, b candidate) int { return cmp.Compare(a.To, b.To) })
		streams = append(streams, s)
	}
	slices.SortFunc(streams, func(a, b []candidate) int { return strings.Compare(a[0].Origin, b[0].Origin) })
	return streams, stale
}

// next chooses the stream whose head comes next, -1 when all are empty: the earliest. While a journal has more, one before
// which numbers are missing waits for the others, as they may follow there.
func next(read progress, streams [][]candidate, more bool) int {
	best, bestWaits := -1, false
	for i, s := range streams {
		if len(s) == 0 {
			continue
		}
		seen := read.Seen[s[0].Origin]
		waits := more && len(seen) > 0 && !seen.has(s[0].From) && !seen.has(s[0].From-1)
		if best < 0 || bestWaits && !waits ||
			bestWaits == waits && s[0].entry.Timestamp < streams[best][0].entry.Timestamp {
			best, bestWaits = i, waits
		}
	}
	return best
}
