package consensus

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// openBolt opens the log. What bbolt answers to a damaged file, panics and faults in its mapped memory included, becomes
// a DamageError.
func openBolt(file string) (store *raftboltdb.BoltStore, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = &DamageError{File: file, Reason: "it can not be opened", Err: fmt.Errorf("%v", r)}
		}
	}()
	if err := checkBolt(file); err != nil {
		return nil, err
	}
	store, err = raftboltdb.New(raftboltdb.Options{
		Path: file,
		BoltOptions: &bbolt.Options{
			Timeout:        time.Second,
			NoFreelistSync: true, // the free list is found again at open instead of being written at each commit
			FreelistType:   bbolt.FreelistMapType,
		},
		MsgpackUseNewTimeFormat: true,
	})
	for _, damage := range []error{bolterrors.ErrInvalid, bolterrors.ErrChecksum, bolterrors.ErrVersionMismatch} {
		if errors.Is(err, damage) {
			return nil, &DamageError{File: file, Reason: "it can not be opened", Err: err}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open the log %s: %w", file, err)
	}
	return store, nil
}
