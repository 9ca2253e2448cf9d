package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/node"
	"github.com/coflux-mesh/coflux/node/api/client"
	"github.com/coflux-mesh/coflux/node/backup"
)

const backupSaveHelp = `Saves the whole mesh while it runs: its state with all that was committed before, and the values, files and
packed runs that the state names. Not in it are log lines and points of metrics.

With --base only what the older backup does not have is written: to restore, both are needed.

  coflux backup save monday.backup
  coflux backup save tuesday.backup --base monday.backup
  coflux backup save s3://bucket/monday.backup
  coflux backup save - | ssh elsewhere 'cat > monday.backup'

How S3 is reached say AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials.`

// backupSaveOptions save a mesh.
type backupSaveOptions struct {
	base  string
	force bool
}

func (o *backupSaveOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.base, "base", "", "leave out what the older backup `FILE`, or one that it builds on, has")
	f.BoolVar(&o.force, "force", false, "write over a file that is there")
}

func (o *backupSaveOptions) run(ctx context.Context, a *app, args []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	file := args[0]
	if there, err := backup.Exists(ctx, file); err != nil {
		return err
	} else if there && !o.force {
		return fmt.Errorf("%s is there already (use --force to write over it)", file)
	}
	var base backup.Info
	name, without := "", ""
	if o.base != "" {
		if base, without, err = offerBase(ctx, c, o.base); err != nil {
			return err
		}
		name = path.Base(o.base)
	}
	stream, err := c.Backup(ctx, base.ID, name, without)
	if err != nil {
		return fmt.Errorf("failed to save: %w", err)
	}
	defer stream.Close()
	if file == "-" {
		_, err := backup.Read(io.TeeReader(stream, a.stdout), backup.Parts{})
		return err
	}
	keep := a.keepBackup
	if backup.Remote(file) {
		keep = a.uploadBackup
	}
	contents, err := keep(ctx, stream, file)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSONValue(contents)
	}
	fmt.Fprintf(a.stdout, "Saved %s.\n", file)
	return printBackup(a.stdout, contents)
}

// offerBase hands the node the list of what an older backup has.
func offerBase(ctx context.Context, c *client.Client, file string) (info backup.Info, key string, err error) {
	f, err := backup.Open(ctx, file)
	if err != nil {
		return info, "", err
	}
	defer f.Close()
	var list bytes.Buffer
	contents, err := backup.Read(f, backup.Parts{Keys: func(keys []string) error {
		for _, key := range keys {
			raw, err := hex.DecodeString(key)
			if err != nil {
				return fmt.Errorf("%w: %.80q is not the key of a blob", backup.ErrDamaged, key)
			}
			list.Write(raw)
		}
		return nil
	}})
	if err != nil {
		return info, "", fmt.Errorf("%s: %w", file, err)
	}
	key, err = c.PutBlob(ctx, list.Bytes())
	return contents.Info, key, err
}

// keepBackup writes a stream to a file, which is there only once it is whole and on the disk.
func (a *app) keepBackup(_ context.Context, stream io.Reader, file string) (contents backup.Contents, err error) {
	tmp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return contents, fmt.Errorf("cannot write beside %s: %w", file, err)
	}
	defer os.Remove(tmp.Name()) // renamed by then, unless an error is on its way
	contents, err = a.checked(io.TeeReader(stream, tmp))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err == nil {
		err = syncDir(filepath.Dir(file))
	}
	if err != nil {
		return contents, fmt.Errorf("failed to save: %w", err)
	}
	return contents, nil
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checked reads a backup as it comes, and says now and then how much there is.
func (a *app) checked(stream io.Reader) (backup.Contents, error) {
	progress := &countWriter{out: a.stderr, every: 2 * time.Second, last: time.Now()}
	contents, err := backup.Read(io.TeeReader(stream, progress), backup.Parts{})
	if errors.Is(err, backup.ErrDamaged) {
		err = fmt.Errorf("the node did not send all of it, its log says why: %w", err)
	}
	return contents, err
}

// uploadBackup writes a stream to an object, which is there only once it is known to be whole.
func (a *app) uploadBackup(ctx context.Context, stream io.Reader, place string) (contents backup.Contents, err error) {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		contents, err = a.checked(io.TeeReader(stream, w))
		_ = w.CloseWithError(err) // nil is the end
	}()
	uploaded := backup.Upload(ctx, place, r)
	_ = r.CloseWithError(uploaded) // whoever writes ends too
	<-done
	if uploaded != nil && (err == nil || errors.Is(err, uploaded)) {
		err = uploaded
	}
	if err != nil {
		return contents, fmt.Errorf("failed to save: %w", err)
	}
	return contents, nil
}

// countWriter says now and then how much there is.
type countWriter struct {
	out   io.Writer
	every time.Duration
	last  time.Time
	n     int64
}

func (w *countWriter) Write(p []byte) (int, error) {
	w.n += int64(len(p))
	if time.Since(w.last) >= w.every {
		w.last = time.Now()
		fmt.Fprintf(w.out, "%s...\n", sizeText(float64(w.n)))
	}
	return len(p), nil
}

func printBackup(out io.Writer, c backup.Contents) error {
	_, err := fmt.Fprintf(out, "Backup: %s\nMesh: %s, index %d, version %s\nTaken: %s\nRuns: %d, and %d packed; %d workspaces, %d assets\nBlobs: %d, of which %d are in the file (%s); state %s\n",
		c.ID, c.ClusterID, c.Index, c.Version, timeText(c.SavedAt), c.Runs, c.PackedRuns, c.Workspaces, c.Assets, c.Blobs, c.Stored,
		sizeText(float64(c.BlobBytes)), sizeText(float64(c.StateBytes)))
	if err == nil && c.Base != "" {
		_, err = fmt.Fprintf(out, "Builds on: %s (%s)\n", c.Base, c.BaseName)
	}
	return err
}

// backupInspectOptions show what a backup holds.
type backupInspectOptions struct{}

func (o *backupInspectOptions) AddFlags(*pflag.FlagSet) {}

func (o *backupInspectOptions) run(ctx context.Context, a *app, args []string) error {
	f, err := backup.Open(ctx, args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	contents, err := backup.Read(f, backup.Parts{})
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if a.json() {
		return a.printJSONValue(contents)
	}
	return printBackup(a.stdout, contents)
}

const backupRestoreHelp = `Makes the data directory of the first node of a new mesh, on this machine. Start it, and let the others join it with
empty directories:

  coflux backup restore tuesday.backup monday.backup --data-dir /var/lib/coflux
  coflux-node --data-dir /var/lib/coflux --repo example1.repo
  coflux-node --join first:7946 --repo example1.repo        (on the other machines)

What ran when the backup was taken counts as lost with its node: it is tried again if its retries say so. Make sure that the
old mesh is not running any more.`

// backupRestoreOptions make a data directory of a backup.
type backupRestoreOptions struct{ dir string }

func (o *backupRestoreOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.dir, "data-dir", "coflux-data", "make this `DIRECTORY`; it must be empty or not there")
}

func (o *backupRestoreOptions) run(ctx context.Context, a *app, args []string) error {
	contents, err := node.Restore(ctx, args[0], args[1:], o.dir)
	if err != nil {
		return fmt.Errorf("failed to restore: %w", err)
	}
	if a.json() {
		return a.printJSONValue(contents)
	}
	fmt.Fprintf(a.stdout, "Restored into %s. Start the first node of the new mesh with 'coflux-node --data-dir %s ...'.\n", o.dir, o.dir)
	return printBackup(a.stdout, contents)
}
