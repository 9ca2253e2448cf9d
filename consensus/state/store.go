package state

import (
	"context"
	"fmt"
	"sync"

	"github.com/hashicorp/go-memdb"
)

// Store is one node's replica of the state. Apply and Restore are called by the Raft host alone, one at a time; all
// else may be called from anywhere.
type Store struct {
	mu sync.RWMutex // guards the next four: db is replaced by Restore
	db *memdb.MemDB
	// digest is the XOR of the shares of all rows: equal on all replicas of one index.
	digest uint64
	// advanced is closed and replaced whenever the index moves.
	advanced chan struct{}
	packed   *packIndex // likewise replaced
}

// New gives an empty store at index 0.
func New() *Store {
	s := &Store{advanced: make(chan struct{}), packed: newPackIndex()}
	s.db = newDB()
	return s
}

func newDB() *memdb.MemDB {
	db, err := memdb.NewMemDB(schema())
	if err != nil {
		panic(fmt.Sprintf("schema: %v", err)) // a bug in tables.go, met by every test
	}
	txn := db.Txn(true)
	if err := txn.Insert("meta", &Meta{}); err != nil {
		panic(err)
	}
	txn.Commit()
	return db
}

// View gives the committed state as it is now.
func (s *Store) View() *View {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return &View{txn: s.db.Txn(false), packed: s.packed}
}

// Index of the last effects entry applied.
func (s *Store) Index() uint64 { return s.View().Index() }

// Digest of the state with the index that it belongs to.
func (s *Store) Digest() (index, digest uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return (&View{txn: s.db.Txn(false)}).Index(), s.digest
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
	txn := s.db.Txn(true)
	defer txn.Abort() // does nothing after Commit
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
	if err := txn.Insert("meta", &next); err != nil {
		return fmt.Errorf("apply entry %d: %w", next.Index, err)
	}
	txn.Commit()
	s.digest = digest
	close(s.advanced)
	s.advanced = make(chan struct{})
	return nil
}

// applyEffect puts or deletes one row and gives the change of the digest.
func applyEffect(txn *memdb.Txn, effect Effect, packed *packIndex) (uint64, error) {
	if len(effect.Row) == 0 {
		old, err := txn.First(effect.Table.name(), "id", string(effect.Key))
		if err != nil || old == nil {
			return 0, fmt.Errorf("delete from %v: row not found (%v)", effect.Table, err)
		}
		if effect.Table == TablePacks {
			packed.drop(string(effect.Key))
		}
		return old.(Row).common().share, txn.Delete(effect.Table.name(), old)
	}
	row, err := effect.row()
	if err != nil {
		return 0, err
	}
	if p, ok := row.(*Pack); ok {
		packed.add(p)
	}
	change := row.common().share
	old, err := txn.First(effect.Table.name(), "id", row.key())
	if err != nil {
		return 0, fmt.Errorf("read %v: %w", effect.Table, err)
	}
	if old != nil {
		change ^= old.(Row).common().share
	}
	return change, txn.Insert(effect.Table.name(), row)
}

// WaitIndex returns once the index has been reached, or with ctx's error.
func (s *Store) WaitIndex(ctx context.Context, index uint64) error {
	for {
		s.mu.RLock()
		at, ch := (&View{txn: s.db.Txn(false)}).Index(), s.advanced
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
