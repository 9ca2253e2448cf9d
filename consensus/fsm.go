package consensus

import (
	"errors"
	"io"
	"runtime"

	"github.com/hashicorp/raft"
)

// applied is the only response that means success: Raft answers a proposal with a nil response when the goroutine that
// applies entries ends in the middle of one.
type applied struct{ err error }

// fsm hands committed entries to the Machine. It decides nothing.
type fsm struct {
	machine Machine
	halt    func(error)
}

var (
	_ raft.FSM                = (*fsm)(nil)
	_ raft.ConfigurationStore = (*fsm)(nil)
)

// Apply ends this goroutine for good when the machine can not apply an entry: nothing after the entry is applied, and
// its index is not counted as applied (a panic would count it, and a skipped entry is a silent divergence).
func (f *fsm) Apply(l *raft.Log) any {
	err := f.machine.Apply(l.Data)
	if err == nil || errors.Is(err, ErrRefused) {
		return applied{err: err}
	}
	f.halt(&HaltError{What: "it can not apply a committed entry", Err: err})
	runtime.Goexit()
	return nil
}

// StoreConfiguration lets the count of what was applied pass configuration entries, without which Raft takes no
// snapshot of a quiet cluster after a change of its members.
func (f *fsm) StoreConfiguration(uint64, raft.Configuration) {}

func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	return fsmSnapshot{f.machine.Freeze()}, nil
}

func (f *fsm) Restore(rc io.ReadCloser) error {
	defer rc.Close()
	return f.machine.Restore(rc)
}

type fsmSnapshot struct{ frozen io.WriterTo }

func (s fsmSnapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := s.frozen.WriteTo(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

func (s fsmSnapshot) Release() {}
