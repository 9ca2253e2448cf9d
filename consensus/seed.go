package consensus

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Seed makes a data directory, which must be new, of a node that is the only voter of a cluster of its own and holds the state that is
// given: as if it had applied one entry, in term 1. The state is a snapshot as a Machine gives and takes them.
func Seed(path string, state io.WriterTo, logger hclog.Logger) (err error) {
	dir, err := OpenDir(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	if dir.Held() || dir.hasLog {
		return fmt.Errorf("the data directory %s has a state already", path)
	}
	h := &Host{cfg: Config{Dir: dir, Logger: logger}, id: dir.Identity().NodeID, halted: make(chan struct{})}
	if err := h.openStores(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.closeLog()) }()
	if err := h.store.SetUint64([]byte("CurrentTerm"), 1); err != nil {
		return fmt.Errorf("write to %s: %w", h.store.file, err)
	}
	self := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(h.id), Address: raft.ServerAddress(h.id)}}}
	_, peers := raft.NewInmemTransport(raft.ServerAddress(h.id)) // writes addresses for versions of raft that we are not
	sink, err := h.snaps.Create(1, 1, 1, self, 1, peers)
	if err == nil {
		err = fsmSnapshot{state}.Persist(sink)
	}
	if err != nil {
		return fmt.Errorf("write the state below %s: %w", filepath.Join(path, "raft"), err)
	}
	cluster := newID()
	return dir.update(func(l *lineage) { l.ClusterID, l.Held = cluster, true })
}
