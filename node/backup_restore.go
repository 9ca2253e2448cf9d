package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/coflux-mesh/coflux/consensus"
	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/backup"
	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/hashicorp/go-hclog"
)

// Restore makes a data directory of the first node of a new mesh from a backup and those that it builds on, in any order, each at a
// place (backup.Open). The
// directory must be empty or not there; it is there only once all is in it.
func Restore(ctx context.Context, file string, bases []string, dataDir string) (contents backup.Contents, err error) {
	dir, err := filepath.Abs(dataDir)
	if err != nil {
		return contents, err
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return contents, fmt.Errorf("%s is not empty: a backup is restored into a directory of its own", dataDir)
	}
	work := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".restoring")
	if err := os.RemoveAll(work); err != nil { // of a restore that was killed
		return contents, fmt.Errorf("cannot write beside %s: %w", dataDir, err)
	}
	defer os.RemoveAll(work) // renamed by then, unless an error is on its way
	r := &restoring{ctx: ctx, dir: work, missing: map[string]bool{}}
	if contents, err = r.read(file, backup.Parts{State: r.state, Keys: r.keys, Blob: r.blob}); err == nil {
		err = r.fromBases(contents, bases)
	}
	if r.blobs != nil {
		err = errors.Join(err, r.blobs.Close())
	}
	if err != nil {
		return contents, err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return contents, fmt.Errorf("cannot take the place of %s: %w", dataDir, err)
	}
	if err := os.Rename(work, dir); err != nil {
		return contents, fmt.Errorf("cannot put the data directory in its place: %w", err)
	}
	return contents, syncDir(filepath.Dir(dir))
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// restoring is a data directory that is being made.
type restoring struct {
	ctx     context.Context
	dir     string
	blobs   *blob.Local
	missing map[string]bool // blobs that the state names and that have not come yet
}

func (r *restoring) read(file string, parts backup.Parts) (backup.Contents, error) {
	f, err := backup.Open(r.ctx, file)
	if err != nil {
		return backup.Contents{}, err
	}
	defer f.Close()
	contents, err := backup.Read(f, parts)
	if err != nil {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return contents, err
}

func (r *restoring) state(_ int64, in io.Reader) error {
	tables := state.New()
	if err := tables.Restore(in); err != nil {
		return err
	}
	if err := consensus.Seed(r.dir, tables.Freeze(), hclog.NewNullLogger()); err != nil {
		return err
	}
	var err error
	r.blobs, err = blob.Open(r.dir)
	return err
}

func (r *restoring) keys(keys []string) error {
	for _, key := range keys {
		r.missing[key] = true
	}
	return nil
}

func (r *restoring) blob(key string, _ int64, in io.Reader) error {
	if !r.missing[key] {
		return nil
	}
	delete(r.missing, key)
	return r.blobs.PutKey(r.ctx, key, in)
}

// fromBases takes what the backup leaves out from those that it builds on.
func (r *restoring) fromBases(c backup.Contents, files []string) error {
	left := append([]string{}, files...)
	for base, name := c.Base, c.BaseName; len(r.missing) > 0; {
		if base == "" {
			return fmt.Errorf("%w: the state names %d blobs that are in no backup", backup.ErrDamaged, len(r.missing))
		}
		found := -1
		for i, file := range left {
			info, err := r.info(file)
			if err != nil {
				return err
			}
			if info.ID == base {
				found = i
				break
			}
		}
		if found < 0 {
			return fmt.Errorf("%d blobs are in the backup %s that this one builds on, which was called %s: name it too", len(r.missing), base, name)
		}
		info, err := r.read(left[found], backup.Parts{Blob: r.blob})
		if err != nil {
			return err
		}
		base, name, left = info.Base, info.BaseName, append(left[:found], left[found+1:]...)
	}
	return nil
}

// errEnough ends the reading of a backup whose information was wanted.
var errEnough = errors.New("enough was read")

func (r *restoring) info(file string) (info backup.Info, err error) {
	_, err = r.read(file, backup.Parts{Info: func(i backup.Info) error { info = i; return errEnough }})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return info, err
}
