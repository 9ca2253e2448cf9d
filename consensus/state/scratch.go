package state

import (
	"errors"
	"fmt"
)

// Scratch is a private clone of a committed state on which a batch of decisions is tried (rules A2). It is used by one
// goroutine; the state that it was taken from is never touched.
type Scratch struct {
	txn     *txn
	packed  *packIndex
	base    uint64
	effects []Effect
	// at is where each row's effect stands in effects, so that a row that is put twice is in the entry once.
	at map[rowID]int
	// born are the rows that the base did not have: deleting one leaves no effect at all.
	born  map[rowID]bool
	bytes int
}

// ErrBatchFull undoes a decision that would fit an entry of its own but not this one any more.
var ErrBatchFull = errors.New("the batch is full")

type rowID struct {
	table Table
	key   string
}

// Scratch clones the committed state.
func (s *Store) Scratch() *Scratch {
	s.mu.RLock()
	defer s.mu.RUnlock()
	scratch := &Scratch{txn: writing(s.trees), packed: s.packed, at: map[rowID]int{}, born: map[rowID]bool{}}
	scratch.base = scratch.View().Index()
	return scratch
}

// View reads the scratch: the committed state with the accepted decisions so far. It goes along with further ones, but a walk
// through rows that has begun does not meet them.
func (s *Scratch) View() *View { return &View{txn: s.txn, packed: s.packed} }

// Bytes is about the size of the entry so far.
func (s *Scratch) Bytes() int { return s.bytes }

// Empty tells whether nothing has changed.
func (s *Scratch) Empty() bool { return len(s.effects) == 0 }

// Entry gives the accepted decisions as one entry with the given log time.
func (s *Scratch) Entry(now int64) *Entry {
	e := &Entry{Base: s.base, Time: now}
	for _, effect := range s.effects {
		if effect.Table != 0 {
			e.Effects = append(e.Effects, effect)
		}
	}
	return e
}

// Try runs one decision: kept when it returns nil, undone without trace when it returns an error or panics (the panic is passed on as
// a *Panic).
func (s *Scratch) Try(decide func(*Tx) error) (err error) {
	s.txn.begin()
	defer func() {
		if p := recover(); p != nil {
			err = &Panic{Value: p}
		}
		if err != nil {
			s.txn.undo()
		}
	}()
	if err := decide(&Tx{View: View{txn: s.txn, packed: s.packed}}); err != nil {
		return err
	}
	effects, err := effectsOf(s.txn.tracked.list)
	if err != nil {
		return err
	}
	size := 0
	for _, e := range effects {
		size += e.Size()
	}
	if size > MaxEntry-entryHead {
		return &TooLarge{Bytes: size}
	}
	if s.bytes+size > MaxEntry-entryHead {
		return ErrBatchFull
	}
	s.add(effects)
	return nil
}

func (s *Scratch) add(effects []idEffect) {
	for _, e := range effects {
		i, seen := s.at[e.id]
		if !seen {
			i = len(s.effects)
			s.at[e.id], s.born[e.id] = i, e.created
			s.effects = append(s.effects, Effect{})
		}
		if len(e.Row) == 0 && s.born[e.id] {
			e.Effect = Effect{} // made and unmade within the batch
		}
		s.bytes += e.Size() - s.effects[i].Size()
		s.effects[i] = e.Effect
	}
}

type idEffect struct {
	Effect
	id      rowID
	created bool
}

func effectsOf(changes []change) ([]idEffect, error) {
	out := make([]idEffect, 0, len(changes))
	for _, c := range changes {
		if c.before == nil && c.after == nil {
			continue // it was changed once more later, or made and unmade
		}
		if c.after == nil {
			old := c.before
			out = append(out, idEffect{Effect{Table: old.table(), Key: []byte(old.key())}, rowID{old.table(), old.key()}, false})
			continue
		}
		row := c.after
		body, err := encode(row)
		if err != nil {
			return nil, err
		}
		out = append(out, idEffect{Effect{Table: row.table(), Row: body}, rowID{row.table(), row.key()}, c.before == nil})
	}
	return out, nil
}

// Panic is a bug that a decision ran into.
type Panic struct{ Value any }

func (p *Panic) Error() string { return fmt.Sprintf("decision panicked: %v", p.Value) }

// TooLarge refuses a decision whose effects would not fit an entry.
type TooLarge struct{ Bytes int }

func (t *TooLarge) Error() string {
	return fmt.Sprintf("the change takes %d bytes, the limit of one is %d", t.Bytes, MaxEntry)
}

// Tx is one decision being made: reads see its own writes.
type Tx struct{ View }

// Put writes a row. The row must not be changed afterwards.
func (t *Tx) Put(r Row) {
	if p, ok := r.(*Pack); ok {
		t.packed.add(p)
	}
	t.txn.put(r)
}

// Delete removes a row that is there.
func (t *Tx) Delete(r Row) {
	if !t.txn.remove(r) {
		panic(fmt.Sprintf("delete %v: row not found", r.table()))
	}
}
