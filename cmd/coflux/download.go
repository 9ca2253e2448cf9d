package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// downloadsAtOnce is how many files are fetched at once.
const downloadsAtOnce = 8

// download writes files of an asset below a directory, and nowhere else.
type download struct {
	root  *os.Root
	force bool
	from  *client.Client
}

func newDownload(dir string, force bool, from *client.Client) (*download, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("cannot make the directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot write there: %w", err)
	}
	return &download{root, force, from}, nil
}

func (d *download) close() { _ = d.root.Close() }

// check finds what is in the way before anything is written.
func (d *download) check(paths []string) error {
	for _, path := range paths {
		if !filepath.IsLocal(path) {
			return fmt.Errorf("the asset has the path %q, which would lead out of the directory: nothing was written", path)
		}
		info, err := d.root.Lstat(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot write there: %w", err)
		}
		if err := taken(info, path, d.force); err != nil {
			return err
		}
	}
	return nil
}

// all fetches the files, some at once; done is called for each in the order of the paths. It ends at the first failure.
func (d *download) all(ctx context.Context, paths []string, entries map[string]client.AssetFile, done func(path string)) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	turn := make(chan struct{}, downloadsAtOnce)
	results := make([]chan error, len(paths))
	for i := range paths {
		results[i] = make(chan error, 1)
	}
	wg.Go(func() {
		for i, path := range paths {
			turn <- struct{}{}
			wg.Go(func() {
				results[i] <- d.one(ctx, path, entries[path].BlobKey)
				<-turn
			})
		}
	})
	for i, path := range paths {
		if err := <-results[i]; err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		done(path)
	}
	return nil
}

// one fetches a file. It is there only once it is whole.
func (d *download) one(ctx context.Context, path, key string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	content, err := d.from.OpenBlob(ctx, key)
	if err != nil {
		return err
	}
	defer content.Close()
	dir := filepath.Dir(path)
	if err := d.root.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	part := filepath.Join(dir, ".coflux-"+rand.Text())
	to, err := d.root.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer d.root.Remove(part) // renamed by then, unless an error is on its way
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(to, sum), content)
	if err = errors.Join(err, to.Close()); err == nil {
		err = checkSum(key, sum.Sum(nil))
	}
	if err != nil {
		return err
	}
	return d.root.Rename(part, path)
}
