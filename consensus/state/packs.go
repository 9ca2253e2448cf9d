package state

import (
	"iter"
	"sort"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// Pack is a blob with finished runs of one workspace whose rows have left the tables.
type Pack struct {
	rowCommon
	ID        string `codec:"id"`
	Workspace string `codec:"w"`
	// BlobKey and Size of the file (node/pack has its format); no key when all its runs were removed.
	BlobKey string `codec:"k,omitempty"`
	Size    int64  `codec:"s,omitempty"`
	// First and Last are when the oldest and the newest of its runs were created, log time in milliseconds.
	First int64 `codec:"f"`
	Last  int64 `codec:"l"`
	// Runs are the ids of the runs that are in it and not in the tables, sorted, each with a line's end. The file may have
	// more.
	Runs string `codec:"r,omitempty"`
	// Removed, likewise, are the runs that it had and that retention has removed: their ids are not given again.
	Removed string `codec:"x,omitempty"`
	// Targets are the workflows of its runs, `module/target`, sorted; none when there are too many to list.
	Targets []string `codec:"t,omitempty"`
	// RefsKey is a blob with the keys of the blobs that its runs refer to, "" when there are none.
	RefsKey string `codec:"b,omitempty"`
}

func (*Pack) table() Table  { return TablePacks }
func (p *Pack) key() string { return p.ID }

// Has tells whether the run is to be read from it.
func (p *Pack) Has(run string) bool { return hasLine(p.Runs, run) }

// Lost tells whether it had the run, which was removed.
func (p *Pack) Lost(run string) bool { return hasLine(p.Removed, run) }

// List walks the runs that are to be read from it.
func (p *Pack) List() iter.Seq[string] { return strings.FieldsSeq(p.Runs) }

// Gone lists the runs that it had and that were removed.
func (p *Pack) Gone() []string { return strings.Fields(p.Removed) }

// Count of the runs that are to be read from it.
func (p *Pack) Count() int { return strings.Count(p.Runs, "\n") }

// hasLine looks a line up in sorted text.
func hasLine(text, line string) bool {
	i := sort.Search(len(text), func(i int) bool { return lineAt(text, i) >= line })
	return i < len(text) && lineAt(text, i) == line
}

// lineAt is the line around a place in the text.
func lineAt(text string, i int) string {
	start := strings.LastIndexByte(text[:i], '\n') + 1
	return text[start : start+strings.IndexByte(text[start:], '\n')]
}

// Lines is the sorted text of ids, each once.
func Lines(ids ...string) string {
	sort.Strings(ids)
	var b strings.Builder
	for i, id := range ids {
		if i == 0 || id != ids[i-1] {
			b.WriteString(id)
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// Pack reads a pack, nil when there is none.
func (v *View) Pack(id string) *Pack { return one[*Pack](v, TablePacks, "id", id) }

// Packs walks all packs.
func (v *View) Packs() iter.Seq[*Pack] { return walk[*Pack](v, TablePacks, "id", "", "") }

// AnyPacks is one of the packs, nil when there is none.
func (v *View) AnyPacks() *Pack { return first[*Pack](v, TablePacks, "id", "") }

// PacksOf walks the packs of a workspace, from the one with the newest run on.
func (v *View) PacksOf(workspace string) iter.Seq[*Pack] {
	return walkBack[*Pack](v, TablePacks, "last", join(workspace), 0, "")
}

// Packed finds the pack that has a run, or had it before it was removed; nil when none has.
func (v *View) Packed(run string) *Pack {
	id, known := v.packed.find(run)
	if !known {
		return nil
	}
	if p := v.Pack(id); p != nil && (p.Has(run) || p.Lost(run)) {
		return p
	}
	for p := range v.Packs() { // it has moved, before this view or after it
		if p.Has(run) || p.Lost(run) {
			return p
		}
	}
	return nil
}

// Kept is the value of a packed execution that later calls with its cache key may be given.
type Kept struct {
	rowCommon
	Workspace string `codec:"w"`
	Key       string `codec:"k"`
	// Execution has the value; CreatedAt and CompletedAt are its own, log time in milliseconds.
	Execution   string `codec:"e"`
	CreatedAt   int64  `codec:"c"`
	CompletedAt int64  `codec:"o"`
	Value       Value  `codec:"v"`
}

func (*Kept) table() Table  { return TableKept }
func (k *Kept) key() string { return join(k.Workspace, k.Key) + be8(k.CreatedAt) + k.Execution }

// Kept walks the values that are kept for a cache key in a workspace, newest first.
func (v *View) Kept(workspace, key string) iter.Seq[*Kept] {
	return walkBack[*Kept](v, TableKept, "id", join(workspace, key), 0, "")
}

// OldestKept walks the kept values, the oldest first.
func (v *View) OldestKept() iter.Seq[*Kept] { return walk[*Kept](v, TableKept, "age", "", "") }

// packIndex says where to look for a packed run: a hint that the rows of a view confirm or not. It is made of the rows of
// table packs and is no part of the state. It names each run that was ever packed once, and forgets none: older views may need
// it. What it says of a run that has moved, or for whom a decision was thrown away, costs a search.
type packIndex struct {
	mu    sync.RWMutex // guards all below
	packs []string
	free  []int32          // places in packs whose pack is gone
	place map[string]int32 // in packs, by id
	runs  map[uint64]int32 // place of the pack, by hash of the run's id
}

func newPackIndex() *packIndex {
	return &packIndex{place: map[string]int32{}, runs: map[uint64]int32{}}
}

func (x *packIndex) find(run string) (pack string, known bool) {
	if x == nil {
		return "", false
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	if i, ok := x.runs[xxhash.Sum64String(run)]; ok {
		return x.packs[i], true
	}
	return "", false
}

func (x *packIndex) add(p *Pack) {
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	i, ok := x.place[p.ID]
	if !ok {
		if n := len(x.free); n > 0 {
			i, x.free = x.free[n-1], x.free[:n-1]
			x.packs[i] = p.ID
		} else {
			i = int32(len(x.packs))
			x.packs = append(x.packs, p.ID)
		}
		x.place[p.ID] = i
	}
	for _, text := range []string{p.Runs, p.Removed} {
		for run := range strings.FieldsSeq(text) {
			x.runs[xxhash.Sum64String(run)] = i
		}
	}
}

// drop gives the place of a pack that is gone to the next one: packs are merged for ever.
func (x *packIndex) drop(pack string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i, ok := x.place[pack]; ok {
		delete(x.place, pack)
		x.packs[i] = ""
		x.free = append(x.free, i)
	}
}

// indexPacks makes the index of a restored state.
func indexPacks(txn *txn) *packIndex {
	x := newPackIndex()
	for p := range (&View{txn: txn}).Packs() {
		x.add(p)
	}
	return x
}
