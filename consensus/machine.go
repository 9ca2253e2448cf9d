package consensus

import (
	"io"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// Machine is what committed entries are applied to. Apply, Freeze and Restore are called from one goroutine only.
type Machine interface {
	// Apply changes the state as the entry says. nil means applied; state.ErrRefused means that nothing was changed
	// and that every other replica refuses the entry too; any other error means that this node cannot apply it, and
	// the node halts without going past the entry.
	Apply(entry []byte) error
	// Index is the index of the last entry applied: the one index of the product, unrelated to Raft's own.
	Index() uint64
	// Freeze only takes a pointer; the work is in WriteTo, which runs beside later calls of Apply.
	Freeze() io.WriterTo
	// Restore replaces everything by what WriteTo wrote; it verifies a checksum of its own and changes nothing on error.
	Restore(r io.Reader) error
}

// ErrRefused answers an entry that was made on another state than the one it met.
var ErrRefused = state.ErrRefused

// StoreMachine makes a Machine of the replicated tables.
func StoreMachine(s *state.Store) Machine { return storeMachine{s} }

type storeMachine struct{ *state.Store }

var _ Machine = storeMachine{}

func (m storeMachine) Freeze() io.WriterTo { return m.Store.Freeze() }
