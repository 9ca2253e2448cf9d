package state

import (
	"fmt"
	"iter"

	"github.com/hashicorp/go-memdb"
)

// View reads the state as of one index. It is a plain pointer into immutable trees: cheap to take, never changing,
// safe for concurrent readers.
type View struct {
	txn *memdb.Txn
	// watch collects what was read, for Changed; nil when nobody watches.
	watch memdb.WatchSet
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
	watching.watch = memdb.NewWatchSet()
	return &watching
}

// Changed gives the set to wait on: it fires when anything that was read through a Watching view has changed since.
func (v *View) Changed() memdb.WatchSet { return v.watch }

func one[T Row](v *View, t Table, index, key string) T {
	ch, obj, err := v.txn.FirstWatch(t.name(), index, key)
	if obj == nil && v.beside != nil {
		if r := one[Row](v.beside, t, index, key); r != nil {
			return r.(T)
		}
	}
	return found[T](v, t, ch, obj, err)
}

func first[T Row](v *View, t Table, index, prefix string) T {
	for r := range walk[T](v, t, index, prefix, "") {
		return r
	}
	var none T
	return none
}

func last[T Row](v *View, t Table, index, prefix string) T {
	ch, obj, err := v.txn.LastWatch(t.name(), index+"_prefix", prefix)
	if obj == nil && v.beside != nil {
		if r := last[Row](v.beside, t, index, prefix); r != nil {
			return r.(T)
		}
	}
	return found[T](v, t, ch, obj, err)
}

func found[T Row](v *View, t Table, ch <-chan struct{}, obj any, err error) T {
	var none T
	if err != nil {
		panic(fmt.Sprintf("read %v: %v", t, err)) // a schema that does not fit the code: a bug, never data
	}
	if v.watch != nil {
		v.watch.Add(ch)
	}
	if obj == nil {
		return none
	}
	return obj.(T)
}

// walk goes through the rows whose index key starts with prefix, from the key `from` on ("" = from the first).
func walk[T Row](v *View, t Table, index, prefix, from string) iter.Seq[T] {
	return func(yield func(T) bool) {
		var it memdb.ResultIterator
		var err error
		if from == "" {
			it, err = v.txn.Get(t.name(), index+"_prefix", prefix)
		} else {
			it, err = v.txn.LowerBound(t.name(), index, from)
		}
		if err != nil {
			panic(fmt.Sprintf("walk %v: %v", t, err))
		}
		if v.watch != nil && from == "" {
			v.watch.Add(it.WatchCh())
		}
		key := keyOf(t, index)
		for obj := it.Next(); obj != nil; obj = it.Next() {
			if from != "" && !hasPrefix(key, obj.(Row), prefix) {
				break
			}
			if !yield(obj.(T)) {
				return
			}
		}
		if v.beside != nil {
			without(v, t, walk[T](v.beside, t, index, prefix, from))(yield)
		}
	}
}

// walkBack goes backwards through the rows of an index whose keys are prefix + be8(number) + id, from those below
// (before, id) on; before 0 starts at the end.
func walkBack[T Row](v *View, t Table, index, prefix string, before int64, id string) iter.Seq[T] {
	return func(yield func(T) bool) {
		bound := prefix + "\xff"
		if before > 0 {
			bound = prefix + be8(before) + id
		}
		it, err := v.txn.ReverseLowerBound(t.name(), index, bound)
		if err != nil {
			panic(fmt.Sprintf("walk back %v: %v", t, err))
		}
		key := keyOf(t, index)
		for obj := it.Next(); obj != nil; obj = it.Next() {
			if !hasPrefix(key, obj.(Row), prefix) {
				break
			}
			if k, _ := key(obj.(Row)); k == bound {
				continue
			}
			if !yield(obj.(T)) {
				return
			}
		}
		if v.beside != nil {
			without(v, t, walkBack[T](v.beside, t, index, prefix, before, id))(yield)
		}
	}
}

func hasPrefix(key func(Row) (string, bool), r Row, prefix string) bool {
	k, _ := key(r)
	return len(k) >= len(prefix) && k[:len(prefix)] == prefix
}

func keyOf(t Table, name string) func(Row) (string, bool) {
	for _, ix := range known.byNumber[t].indexes {
		if ix.name == name {
			return ix.key
		}
	}
	return func(r Row) (string, bool) { return r.key(), true }
}
