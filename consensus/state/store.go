package state

import (
	"context"
	"fmt"
	"sync"
)

// Store is one node's replica of the state. Apply and Restore are called by the Raft host alone, one at a time; all
// else may be called from anywhere.
type Store struct {
	mu    sync.RWMutex // guards the next four, which are replaced and never changed in place
	trees []*tree
	// digest is the XOR of the shares of all rows: equal on all replicas of one index.
	digest uint64
	// advanced is closed and replaced whenever the index moves.
	advanced chan struct{}
	packed   *packIndex
	watches  *watches
}

// New gives an empty store at index 0.
func New() *Store {
	return &Store{trees: newTrees().trees, advanced: make(chan struct{}), packed: newPackIndex(), watches: newWatches()}
}

// newTrees are those of index 0.
func newTrees() *txn {
	t := writing(make([]*tree, known.trees))
	t.put(&Meta{})
	return t
}

// View gives the committed state as it is now.
func (s *Store) View() *View {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return &View{txn: reading(s.trees), packed: s.packed, watches: s.watches}
}

// Index of the last effects entry applied.
func (s *Store) Index() uint64 { return s.View().Index() }

// Digest of the state with the index that it belongs to.
func (s *Store) Digest() (index, digest uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return (&View{txn: reading(s.trees)}).Index(), s.digest
}

// Apply changes the state as the entry says: blindly, as a function of the entry and the state alone. ErrRefused means
// that nothing was changed; any other error means that this node cannot apply the entry and must halt.
func (s *Store) Apply(data []byte) error {
	e, err := DecodeEntry(data)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var touched []topic
	txn := writing(s.trees)
	txn.touched = &touched
	meta := (&View{txn: txn}).Meta()
	if meta.Index != e.Base {
		return ErrRefused
	}
	digest := s.digest
	for _, effect := range e.Effects {
		d, err := applyEffect(txn, effect, s.packed)
		if err != nil {
			return err
		}
		digest ^= d
	}
	next := *meta
	next.Index, next.Time = e.Base+1, e.Time
	txn.put(&next)
	s.trees, s.digest = txn.trees, digest
	s.watches.touch(next.Index, touched)
	close(s.advanced)
	s.advanced = make(chan struct{})
	return nil
}

// applyEffect puts or deletes one row and gives the change of the digest.
func applyEffect(txn *txn, effect Effect, packed *packIndex) (uint64, error) {
	if len(effect.Row) == 0 {
		old := txn.get(effect.Table.tree("id"), string(effect.Key))
		if old == nil {
			return 0, fmt.Errorf("delete from %v: row not found", effect.Table)
		}
		if effect.Table == TablePacks {
			packed.drop(string(effect.Key))
		}
		txn.remove(old)
		return old.common().share, nil
	}
	row, err := effect.row()
	if err != nil {
		return 0, err
	}
	if p, ok := row.(*Pack); ok {
		packed.add(p)
	}
	change := row.common().share
	if old := txn.put(row); old != nil {
		change ^= old.common().share
	}
	return change, nil
}

// WaitIndex returns once the index has been reached, or with ctx's error.
func (s *Store) WaitIndex(ctx context.Context, index uint64) error {
	for {
		s.mu.RLock()
		at, ch := (&View{txn: reading(s.trees)}).Index(), s.advanced
		s.mu.RUnlock()
		if at >= index {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return fmt.Errorf("wait for index %d, at %d: %w", index, at, ctx.Err())
		}
	}
}

// Advanced is closed when the index has moved on from what it was at the call.
func (s *Store) Advanced() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.advanced
}
