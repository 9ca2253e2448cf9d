package state

import (
	"slices"
	"sync"
	"unsafe"

	"github.com/tidwall/btree"
)

// entry is a row at its place in an index.
type entry struct {
	key string
	row Row
}

// tree is one index of one table. Copying one costs nothing: the nodes are copied when they are changed.
type tree = btree.BTreeG[entry]

// degree is half of the entries of a node at most: larger nodes take less memory, smaller ones cost less to change.
const degree = 16

func newTree() *tree {
	return btree.NewBTreeGOptions(func(a, b entry) bool { return a.key < b.key }, btree.Options{Degree: degree, NoLocks: true})
}

// copying guards the copying of trees that several may copy at once; reading them meanwhile is safe.
var copying sync.Mutex

// txn reads the trees of all indexes, by their numbers (tables.go), and changes its own copies of them. Once these are read by others
// they must not be changed any more.
type txn struct {
	trees []*tree // nil where there are no rows
	// own are those that only this transaction changes and nobody walks through; nil for one that only reads.
	own     []bool
	tracked *changes // since begin; nil if nobody asks what was changed
	touched *[]topic // likewise
}

// reading gives a transaction that changes nothing.
func reading(trees []*tree) *txn { return &txn{trees: trees} }

// writing gives one that changes copies.
func writing(trees []*tree) *txn {
	own := make([]*tree, len(trees))
	copy(own, trees)
	return &txn{trees: own, own: make([]bool, len(trees))}
}

// place is a row's key in an index; ok is false where it has none.
type place struct {
	key string
	ok  bool
}

// places are the keys of a row, in one text: they are what there is most of in memory, and each text by itself is one more for the
// garbage collector to look at.
func (s spec) places(r Row) (at [maxIndexes]place) {
	at[0] = place{r.key(), true}
	size := len(at[0].key)
	for i, ix := range s.indexes {
		at[1+i].key, at[1+i].ok = ix.key(r)
		size += len(at[1+i].key)
	}
	all := make([]byte, 0, size)
	for _, p := range at[:1+len(s.indexes)] {
		all = append(all, p.key...)
	}
	text := unsafe.String(unsafe.SliceData(all), len(all)) // nobody changes it any more
	for i := range at[:1+len(s.indexes)] {
		n := len(at[i].key)
		at[i].key, text = text[:n], text[n:]
	}
	return at
}

// get gives the row at a key; nil for none.
func (t *txn) get(index int, key string) Row {
	tr := t.trees[index]
	if tr == nil {
		return nil
	}
	e, _ := tr.Get(entry{key: key})
	return e.row
}

// walked gives a tree to walk through, nil for an empty one. What is changed meanwhile is not met.
func (t *txn) walked(index int) *tree {
	if t.own != nil {
		t.own[index] = false
	}
	return t.trees[index]
}

// changed gives a tree to change.
func (t *txn) changed(index int) *tree {
	switch {
	case t.trees[index] == nil:
		t.trees[index] = newTree()
	case !t.own[index]:
		copying.Lock()
		t.trees[index] = t.trees[index].Copy()
		copying.Unlock()
	}
	t.own[index] = true
	return t.trees[index]
}

// put puts a row into all of its indexes, in the place of the one with its key, which it gives; nil for none.
func (t *txn) put(r Row) (old Row) {
	s := known.byNumber[r.table()]
	at := s.places(r)
	before := t.set(s.first, at[0].key, r)
	for i, ix := range s.indexes {
		if before != nil {
			if was, had := ix.key(before); had && (!at[1+i].ok || was != at[1+i].key) {
				t.unset(s.first+1+i, was)
			}
		}
		if at[1+i].ok {
			t.set(s.first+1+i, at[1+i].key, r)
		}
	}
	t.tracked.note(r, before, r)
	return before
}

// set puts a row into one index; it gives the one that was there.
func (t *txn) set(index int, key string, r Row) (old Row) {
	if t.touched != nil {
		*t.touched = append(*t.touched, topicOf(index, key))
	}
	before, _ := t.changed(index).Set(entry{key, r})
	t.tracked.moved(index, key, before.row)
	return before.row
}

func (t *txn) unset(index int, key string) (old Row) {
	if t.touched != nil {
		*t.touched = append(*t.touched, topicOf(index, key))
	}
	before, _ := t.changed(index).Delete(entry{key: key})
	t.tracked.moved(index, key, before.row)
	return before.row
}

// begin begins to track changes.
func (t *txn) begin() { t.tracked = &changes{at: map[rowID]int{}} }

// undo undoes what was changed since begin.
func (t *txn) undo() {
	for _, p := range slices.Backward(t.tracked.places) {
		if p.before == nil {
			t.changed(p.index).Delete(entry{key: p.key})
		} else {
			t.changed(p.index).Set(entry{p.key, p.before})
		}
	}
}

// remove removes a row from all of its indexes; false if it is not there.
func (t *txn) remove(r Row) bool {
	s := known.byNumber[r.table()]
	if t.get(s.first, r.key()) == nil {
		return false
	}
	before := t.unset(s.first, r.key())
	for i, ix := range s.indexes {
		if was, had := ix.key(before); had {
			t.unset(s.first+1+i, was)
		}
	}
	t.tracked.note(r, before, nil)
	return true
}

// change is what became of one row; before is nil for a new one, after for one that is gone.
type change struct{ before, after Row }

// changes are those of a transaction, each where its row was changed last, and what was in each place before, in order.
type changes struct {
	at     map[rowID]int
	list   []change
	places []moved
}

// moved says which row was at a place of an index before; nil for none.
type moved struct {
	index  int
	key    string
	before Row
}

func (c *changes) moved(index int, key string, before Row) {
	if c != nil {
		c.places = append(c.places, moved{index, key, before})
	}
}

// note takes a change of a row.
func (c *changes) note(r, before, after Row) {
	if c == nil {
		return
	}
	id := rowID{r.table(), r.key()}
	if i, again := c.at[id]; again {
		before, c.list[i] = c.list[i].before, change{}
	}
	c.at[id] = len(c.list)
	c.list = append(c.list, change{before, after})
}
