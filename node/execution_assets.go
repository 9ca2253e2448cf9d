package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/asset"
	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/coflux-mesh/coflux/scheduler"
	"golang.org/x/sys/unix"
)

// filesAtOnce is how many files of an execution are stored or written at once: each waits for disks, and they share what they wait
// for.
const filesAtOnce = 16

// assetFiles are the files that a body has stored, and those that are on their way.
type assetFiles struct {
	turn chan struct{} // as many as may be on their way

	mu     sync.Mutex // guards stored
	stored map[string]storedFile
}

type storedFile struct {
	size int64
	at   time.Time
}

func newAssetFiles() *assetFiles {
	return &assetFiles{turn: make(chan struct{}, filesAtOnce), stored: map[string]storedFile{}}
}

func (f *assetFiles) add(key string, size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stored[key] = storedFile{size, time.Now()}
}

// size of a file that the body has stored, and whether it is leased for long enough still.
func (f *assetFiles) size(key string) (size int64, leased, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.stored[key]
	return s.size, ok && time.Since(s.at) < blob.Lease/2, ok
}

// aside does something with a file when it is its turn, beside what else the body asks for.
func (e *execution) aside(do func() error, done func(error)) {
	e.a.wg.Go(func() {
		select {
		case e.files.turn <- struct{}{}:
			err := do()
			<-e.files.turn
			done(err)
		case <-e.ctx.Done():
			done(e.ctx.Err())
		}
	})
}

// UploadBlob stores a file.
func (e *execution) UploadBlob(path string, reply func(string, error)) {
	var key string
	e.aside(func() (err error) {
		key, err = e.upload(path)
		return err
	}, func(err error) { reply(key, err) })
}

func (e *execution) upload(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%q is not an absolute path", path)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe would make it wait for ever
	if err != nil {
		return "", fmt.Errorf("cannot read the file: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a file", path)
	}
	key, size, err := e.a.Values.blobs.Put(e.ctx, f)
	if err != nil {
		return "", fmt.Errorf("store %s: %w", path, err)
	}
	e.files.add(key, size)
	return key, nil
}

// DownloadBlob writes a blob to a file of the body's.
func (e *execution) DownloadBlob(key, path string, reply func(error)) {
	e.aside(func() error { return e.download(key, path) }, reply)
}

func (e *execution) download(key, target string) error {
	if blob.CheckKey(key) != nil {
		return fmt.Errorf("blob not found: %s", key)
	}
	if !filepath.IsAbs(target) {
		return fmt.Errorf("%q is not an absolute path", target)
	}
	source, err := e.a.Values.blobs.Path(e.ctx, key)
	if errors.Is(err, blob.ErrNotFound) {
		return fmt.Errorf("blob not found: %s", key)
	}
	if err != nil {
		return err
	}
	if err := writeCopy(source, target); err != nil {
		return fmt.Errorf("cannot write %s: %w", target, err)
	}
	return nil
}

// writeCopy puts a copy of a file in the place of another, or of none. Nobody sees a part of it.
func writeCopy(source, target string) error {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	dir := filepath.Dir(target)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	to, err := os.OpenFile(filepath.Join(dir, ".coflux-"+rand.Text()), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer os.Remove(to.Name()) // renamed by then, unless an error is on its way
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close()); err != nil {
		return err
	}
	return os.Rename(to.Name(), target)
}

// PersistAsset makes an asset: it stores the list of its files, and has the mesh note it.
func (e *execution) PersistAsset(req pyexec.AssetRequest, reply func(pyexec.AssetReply, error)) {
	e.effects.do(func() {
		list, err := e.assetList(req)
		r := &scheduler.PersistAsset{Execution: e.id, Count: len(list.Entries), Size: list.Size()}
		if err == nil {
			r.BlobKey, err = e.a.Values.list(e.ctx, list)
		}
		if err != nil {
			reply(pyexec.AssetReply{}, err)
			return
		}
		if list.Name != nil {
			r.Name = *list.Name
		}
		if path, entry, ok := list.Only(); ok {
			metadata, _ := json.Marshal(entry.Metadata) // was decoded from JSON, or made here
			r.Entry = &state.AssetEntry{Path: path, BlobKey: entry.BlobKey, Size: entry.Size, Metadata: metadata}
		}
		e.ask(r, func(p scheduler.Reply) {
			if p.Err != nil {
				reply(pyexec.AssetReply{}, errors.New(p.Err.Message))
				return
			}
			ref, err := named(*p.Answer.Asset)
			reply(pyexec.AssetReply{AssetID: p.Answer.Asset.ID, Reference: ref}, err)
		})
	})
}

// assetList is what an asset consists of; all files of it are stored, and stay until a row refers to them.
func (e *execution) assetList(req pyexec.AssetRequest) (asset.List, error) {
	list := asset.List{Name: req.Name, Entries: map[string]asset.Entry{}}
	if req.Name != nil && *req.Name == "" {
		list.Name = nil
	}
	held := map[string]bool{}
	for path, raw := range req.Entries {
		var entry asset.Entry
		if err := json.Unmarshal(raw, &entry); err != nil {
			return list, fmt.Errorf("%s: %w", path, err)
		}
		size, leased, ok := e.files.size(entry.BlobKey)
		if ok {
			entry.Size = size
		}
		if !leased {
			held[entry.BlobKey] = true
		}
		list.Entries[path] = entry
	}
	for _, path := range req.Paths {
		name := filepath.Base(path)
		if _, ok := list.Entries[name]; ok {
			return list, fmt.Errorf("the asset would have two files of the path %s: store them with upload_blob, and give entries with paths that differ", name)
		}
		key, err := e.upload(path)
		if err != nil {
			return list, err
		}
		size, _, _ := e.files.size(key)
		list.Entries[name] = asset.Entry{BlobKey: key, Size: size, Metadata: typeOf(name)}
	}
	err := e.a.Values.blobs.Hold(e.ctx, slices.Collect(maps.Keys(held)))
	return list, err
}

// typeOf is the metadata of a file that is stored under its name: its media type, where the name tells one.
func typeOf(name string) map[string]any {
	kind, _, _ := strings.Cut(mime.TypeByExtension(filepath.Ext(name)), ";")
	if kind == "" {
		return nil
	}
	return map[string]any{"type": kind}
}

// GetAsset reads which files an asset has. The execution depends on it from then on.
func (e *execution) GetAsset(id string, reply func(pyexec.AssetEntries, error)) {
	e.effects.do(func() {
		e.ask(&scheduler.UseAsset{Execution: e.id, Asset: id}, func(p scheduler.Reply) {
			if p.Err != nil {
				message := p.Err.Message
				if p.Err.Code == scheduler.CodeNotFound {
					message = "not_found: " + message
				}
				reply(pyexec.AssetEntries{}, errors.New(message))
				return
			}
			e.effects.do(func() { reply(e.a.Values.entries(e.ctx, p.Answer.Asset.BlobKey)) })
		})
	})
}

// list stores the list of an asset.
func (v values) list(ctx context.Context, l asset.List) (string, error) {
	text, err := asset.Encode(l)
	if err != nil {
		return "", err
	}
	key, _, err := v.blobs.Put(ctx, bytes.NewReader(text))
	return key, err
}

// entries reads the list of an asset.
func (v values) entries(ctx context.Context, key string) (pyexec.AssetEntries, error) {
	file, err := v.blobs.Path(ctx, key)
	if err != nil {
		return pyexec.AssetEntries{}, fmt.Errorf("the list of the asset's files cannot be had: %w", err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return pyexec.AssetEntries{}, fmt.Errorf("read the list of the asset's files: %w", err)
	}
	var list pyexec.AssetEntries
	err = json.Unmarshal(text, &list)
	return list, err
}
