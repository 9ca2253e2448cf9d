package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/api"
	"github.com/coflux-mesh/coflux/node/backup"
	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/oklog/ulid/v2"
)

const (
	// holdAgain is how long before the end of a lease it is renewed.
	holdAgain = blob.Lease / 4
	// backupTries is how often a save begins anew because blobs went while it began.
	backupTries = 3
)

// Backup writes the state with all that was committed before the call, and the blobs that it names, but for those that the base has.
// The mesh goes on meanwhile; what is named stays until it is written.
func (n *Node) Backup(ctx context.Context, w io.Writer, q api.BackupQuery) error {
	without := map[string]bool{}
	if q.Without != "" {
		keys, err := n.packs.refs(ctx, q.Without)
		if err != nil {
			return err
		}
		for _, key := range keys {
			without[key] = true
		}
	}
	frozen, view, keys, err := n.heldState(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for pause(ctx, holdAgain) {
			if err := n.blobs.Hold(ctx, keys); err != nil && ctx.Err() == nil {
				n.log.Warn("blobs of a backup that is being written may go", "error", err)
			}
		}
	}()
	out, err := backup.NewWriter(w, n.backupInfo(view, q))
	if err != nil {
		return err
	}
	if err = n.backupState(out, frozen); err == nil {
		err = out.Keys(keys)
	}
	for _, key := range keys {
		if err == nil && !without[key] {
			err = n.backupBlob(ctx, out, key)
		}
	}
	if err != nil {
		out.Abort() // w is not ours any more when this returns
		return err
	}
	return out.Close()
}

// heldState is the state as it is now, and the keys of all blobs that it names, which are held.
func (n *Node) heldState(ctx context.Context) (*state.Frozen, *state.View, []string, error) {
	for try := 1; ; try++ {
		if _, err := n.router.Linear(ctx); err != nil {
			return nil, nil, nil, err
		}
		frozen := n.store.Freeze()
		view := frozen.View()
		named, err := n.namedBy(ctx, view, nil)
		keys := slices.Sorted(maps.Keys(named))
		if err == nil {
			err = n.blobs.Hold(ctx, keys)
		}
		if err == nil || try == backupTries || !errors.Is(err, blob.ErrNotFound) {
			return frozen, view, keys, err
		}
	}
}

func (n *Node) backupInfo(v *state.View, q api.BackupQuery) backup.Info {
	info := backup.Info{ID: ulid.Make().String(), Base: q.Base, BaseName: q.BaseName, ClusterID: n.host.ClusterID(), Index: v.Index(),
		SavedAt: time.Now().UnixMilli(), Version: n.cfg.Version}
	for row := range v.Rows() {
		switch row := row.(type) {
		case *state.Workspace:
			info.Workspaces++
		case *state.Run:
			info.Runs++
		case *state.Pack:
			info.PackedRuns += row.Count()
		case *state.Asset:
			info.Assets++
		}
	}
	return info
}

// backupState writes the tables by way of a file, as their size comes first.
func (n *Node) backupState(out *backup.Writer, frozen *state.Frozen) error {
	f, err := os.CreateTemp(n.dir.Path(), ".backup-*")
	if err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil { // it goes with the last handle
		return fmt.Errorf("write the state: %w", err)
	}
	size, err := frozen.WriteTo(f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	return out.State(size, f)
}

func (n *Node) backupBlob(ctx context.Context, out *backup.Writer, key string) error {
	content, size, err := n.blobs.Open(ctx, key)
	if err != nil {
		return err
	}
	defer content.Close()
	return out.Blob(key, size, content)
}
