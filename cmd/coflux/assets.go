package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/node/api/client"
)

const matchUsage = "only the files whose path fits the `GLOB`: * stops at /, ** does not"

// assetsInspectOptions show an asset.
type assetsInspectOptions struct{ match string }

func (o *assetsInspectOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.match, "match", "", matchUsage+"; not applied to JSON")
}

func (o *assetsInspectOptions) run(ctx context.Context, a *app, args []string) error {
	doc, paths, err := a.readAsset(ctx, args[0], o.match)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(doc.Raw)
	}
	name := "(untitled)"
	if doc.Value.Name != nil {
		name = *doc.Value.Name
	}
	fmt.Fprintf(a.stdout, "Name: %s\n", printable(name))
	if o.match != "" {
		fmt.Fprintf(a.stdout, "Matched %d of %d entries.\n", len(paths), len(doc.Value.Entries))
	}
	rows := [][]string{{"Path", "Size", "Type", "Blob key"}}
	for _, path := range paths {
		e := doc.Value.Entries[path]
		kind, _ := e.Metadata["type"].(string)
		rows = append(rows, []string{path, sizeText(float64(e.Size)), orDash(kind), e.BlobKey})
	}
	return a.table(rows)
}

// filesText is a number of files for people.
func filesText(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

// readAsset reads an asset and gives the paths in it that fit the pattern.
func (a *app) readAsset(ctx context.Context, id, match string) (doc client.Document[client.Asset], paths []string, err error) {
	c, err := a.client()
	if err != nil {
		return doc, nil, err
	}
	doc, err = c.Asset(ctx, id)
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == 404 {
		err = fmt.Errorf("asset '%s' not found", id)
	}
	if err != nil {
		return doc, nil, err
	}
	paths, err = matching(doc.Value.Entries, match)
	return doc, paths, err
}

// matching are the paths that fit a pattern, in their order; all for "".
func matching(entries map[string]client.AssetFile, pattern string) (paths []string, err error) {
	if pattern != "" && !doublestar.ValidatePattern(pattern) {
		return nil, fmt.Errorf("--match %q is not a pattern: it has *, ?, [abc], {a,b} and **", pattern)
	}
	for _, path := range slices.Sorted(maps.Keys(entries)) {
		if pattern == "" || doublestar.MatchUnvalidated(pattern, path) {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// assetsDownloadOptions write the files of an asset.
type assetsDownloadOptions struct {
	to, match string
	force     bool
}

func (o *assetsDownloadOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.to, "to", ".", "write below `DIR`, which is made if there is none")
	f.StringVar(&o.match, "match", "", matchUsage)
	f.BoolVar(&o.force, "force", false, "write over files that are there")
}

func (o *assetsDownloadOptions) run(ctx context.Context, a *app, args []string) error {
	doc, paths, err := a.readAsset(ctx, args[0], o.match)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	to := io.Writer(a.stdout)
	if a.json() {
		to = io.Discard
	}
	var size int64
	for _, path := range paths {
		size += doc.Value.Entries[path].Size
	}
	if len(paths) == 0 {
		fmt.Fprintln(to, "Nothing to download")
	} else {
		d, err := newDownload(o.to, o.force, c)
		if err != nil {
			return err
		}
		defer d.close()
		if err := d.check(paths); err != nil {
			return err
		}
		fmt.Fprintf(to, "Downloading %s (%s)...\n", filesText(len(paths)), sizeText(float64(size)))
		err = d.all(ctx, paths, doc.Value.Entries, func(path string) {
			fmt.Fprintf(to, "  %s (%s)\n", printable(path), sizeText(float64(doc.Value.Entries[path].Size)))
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(to, "Download complete.")
	}
	if a.json() {
		return a.printJSONValue(map[string]any{"files": append([]string{}, paths...), "size": size})
	}
	return nil
}

// taken says why a file cannot be written at a path; nil when it can.
func taken(info fs.FileInfo, path string, force bool) error {
	switch {
	case info == nil:
		return nil
	case !force:
		return fmt.Errorf("file already exists at path: %s (use --force to overwrite)", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("cannot overwrite non-file: %s", path)
	}
	return nil
}
