package state

import (
	"iter"
	"strings"
)

// View reads the state as of one index. It is a plain pointer into immutable trees: cheap to take, never changing,
// safe for concurrent readers.
type View struct {
	txn *txn
	// watch collects what is read, for Changed; nil when nobody watches.
	watch   *Watch
	watches *watches // nil where nobody can watch
	// packed says where packed runs may be; nil where nobody asks.
	packed *packIndex
	// beside has more rows, see Beside; nil for none.
	beside *View
}

// Index of the last effects entry that the view contains.
func (v *View) Index() uint64 { return v.Meta().Index }

// Time is the view's log time, milliseconds.
func (v *View) Time() int64 { return v.Meta().Time }

// Watching gives the same view with a memory of what is read through it; wait for a change with Changed.
func (v *View) Watching() *View {
	watching := *v
	watching.watch = &Watch{v.watches, v.Index(), map[topic]bool{}}
	return &watching
}

// Changed is to be waited on until anything that was read through a Watching view has changed since.
func (v *View) Changed() *Watch { return v.watch }

func one[T Row](v *View, t Table, index, key string) T {
	n := t.tree(index)
	v.watch.add(topicOf(n, key))
	r := v.txn.get(n, key)
	if r == nil && v.beside != nil {
		r = one[Row](v.beside, t, index, key)
	}
	return as[T](r)
}

// as gives the zero of T for no row.
func as[T Row](r Row) (row T) {
	if r != nil {
		row = r.(T)
	}
	return row
}

func first[T Row](v *View, t Table, index, prefix string) (row T) {
	for r := range walk[T](v, t, index, prefix, "") {
		return r
	}
	return row
}

func last[T Row](v *View, t Table, index, prefix string) (row T) {
	for r := range descend[T](v, t, index, prefix, prefix+"\xff") {
		return r
	}
	return row
}

// walk goes through the rows whose index key starts with prefix, from the key `from` on ("" = from the first).
func walk[T Row](v *View, t Table, index, prefix, from string) iter.Seq[T] {
	return func(yield func(T) bool) {
		n, more := t.tree(index), true
		v.watch.add(topicOfAll(n, prefix))
		if tr := v.txn.walked(n); tr != nil {
			tr.Ascend(entry{key: max(prefix, from)}, func(e entry) bool {
				if !strings.HasPrefix(e.key, prefix) {
					return false
				}
				more = yield(e.row.(T))
				return more
			})
		}
		if more && v.beside != nil {
			without(v, t, walk[T](v.beside, t, index, prefix, from))(yield)
		}
	}
}

// walkBack goes backwards through the rows of an index whose keys are prefix + be8(number) + id, from those below
// (before, id) on; before 0 starts at the end.
func walkBack[T Row](v *View, t Table, index, prefix string, before int64, id string) iter.Seq[T] {
	bound := prefix + "\xff"
	if before > 0 {
		bound = prefix + be8(before) + id
	}
	return descend[T](v, t, index, prefix, bound)
}

// descend goes backwards through the rows whose index key starts with prefix, from those below a key on. What follows a prefix in a
// key never begins with 0xff: it is text or a number that is not negative.
func descend[T Row](v *View, t Table, index, prefix, below string) iter.Seq[T] {
	return func(yield func(T) bool) {
		n, more := t.tree(index), true
		v.watch.add(topicOfAll(n, prefix))
		if tr := v.txn.walked(n); tr != nil {
			tr.Descend(entry{key: below}, func(e entry) bool {
				if e.key == below {
					return true
				}
				if !strings.HasPrefix(e.key, prefix) {
					return false
				}
				more = yield(e.row.(T))
				return more
			})
		}
		if more && v.beside != nil {
			without(v, t, descend[T](v.beside, t, index, prefix, below))(yield)
		}
	}
}
