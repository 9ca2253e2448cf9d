package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/pack"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/oklog/ulid/v2"
)

// maxPackTargets is how many workflows a pack lists.
const maxPackTargets = 64

// packWriter makes the file of a pack, and what its row says of it.
type packWriter struct {
	file    bytes.Buffer
	writer  *pack.Writer
	row     scheduler.PackFile
	refs    map[string]bool // blobs that the runs refer to
	targets map[string]bool
	bytes   int // of rows
}

func newPackWriter() *packWriter {
	w := &packWriter{refs: map[string]bool{}, targets: map[string]bool{},
		row: scheduler.PackFile{ID: "P" + ulid.MustNew(ulid.Now(), rand.Reader).String()}}
	w.writer = pack.NewWriter(&w.file)
	return w
}

// add writes a run.
func (w *packWriter) add(s pack.Summary, rows []state.Effect) error {
	for _, row := range rows {
		keys, err := row.BlobKeys()
		if err != nil {
			return err
		}
		for _, key := range keys {
			w.refs[key] = true
		}
		w.bytes += len(row.Row)
	}
	if len(w.targets) == 0 {
		w.row.First = s.CreatedAt
	}
	w.row.First, w.row.Last = min(w.row.First, s.CreatedAt), max(w.row.Last, s.CreatedAt)
	w.targets[s.Module+"/"+s.Target] = true
	w.writer.Add(s, rows)
	return nil
}

// store stores the file on enough nodes, and the keys of the blobs that the runs refer to: 32 bytes each, in their order.
func (w *packWriter) store(ctx context.Context, blobs blobStore) (scheduler.PackFile, error) {
	if err := w.writer.Close(); err != nil {
		return w.row, err
	}
	if len(w.targets) <= maxPackTargets {
		w.row.Targets = slices.Sorted(maps.Keys(w.targets))
	}
	var err error
	if w.row.BlobKey, w.row.Size, err = blobs.Put(ctx, &w.file); err != nil || len(w.refs) == 0 {
		return w.row, err
	}
	var refs bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(w.refs)) {
		if raw, err := hex.DecodeString(key); err == nil {
			refs.Write(raw)
		}
	}
	w.row.RefsKey, _, err = blobs.Put(ctx, &refs)
	return w.row, err
}
