package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"strings"
	"time"
)

const (
	// askAtOnce is about how many keys a peer is asked at once.
	askAtOnce = 500
	// scrubRate is how many bytes a second Scrub reads at most.
	scrubRate = 20 << 20
)

// Keys walks the keys of what is here, in no order that means anything. A walk that cannot go on ends with an error.
func (l *Local) Keys() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		err := fs.WalkDir(l.root.FS(), blobDir, func(file string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil // it has gone meanwhile
			case err != nil:
				return err
			case file == tmpDir:
				return fs.SkipDir
			case d.IsDir():
				return nil
			}
			key := strings.ReplaceAll(strings.TrimPrefix(path.Clean(file), blobDir+"/"), "/", "")
			if CheckKey(key) == nil && !yield(key, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield("", fmt.Errorf("cannot list the blobs: %w", err))
		}
	}
}

// Repaired is what Repair found and did.
type Repaired struct {
	Looked int   // blobs that are here
	Copied int   // copies made on other nodes
	Failed int   // copies that could not be made
	Err    error // of the last of these
}

// Missing asks a node of which of the keys it has nothing.
type Missing func(ctx context.Context, node string, keys []string) ([]string, error)

// Repair looks where the blobs that are here have copies now, and makes those that are missing on the nodes that are to hold them:
// the others have left, or came later. Of the nodes that have a blob the first in its order makes the copies. What is kept beyond the
// nodes and is not leased needs none.
func (m *Mesh) Repair(ctx context.Context, ask Missing) (r Repaired, err error) {
	var some []string
	for key, err := range m.local.Keys() {
		if err != nil {
			return r, err
		}
		if some = append(some, key); len(some) == askAtOnce {
			m.repairSome(ctx, ask, some, &r)
			some = some[:0]
		}
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
	}
	m.repairSome(ctx, ask, some, &r)
	return r, ctx.Err()
}

func (m *Mesh) repairSome(ctx context.Context, ask Missing, keys []string, r *Repaired) {
	r.Looked += len(keys)
	asked, holders := map[string][]string{}, map[string][]string{}
	for _, key := range keys {
		live, need := m.targets(key)
		holders[key] = live[:min(need, len(live))]
		for _, node := range holders[key] {
			if node != m.self {
				asked[node] = append(asked[node], key)
			}
		}
	}
	missing, silent := map[string]map[string]bool{}, map[string]bool{}
	for node, keys := range asked {
		lacks, err := ask(ctx, node, keys)
		if err != nil {
			silent[node] = true // nothing is known of it: the next time
			r.Failed, r.Err = r.Failed+1, fmt.Errorf("node %s: %w", node, err)
			continue
		}
		missing[node] = map[string]bool{}
		for _, key := range lacks {
			missing[node][key] = true
		}
	}
	for _, key := range keys {
		m.repairOne(ctx, key, holders[key], func(node string) (lacks, known bool) { return missing[node][key], !silent[node] }, r)
	}
}

// repairOne makes the copies of one blob, unless another holder that has it comes before this node.
func (m *Mesh) repairOne(ctx context.Context, key string, holders []string, lacks func(node string) (lacks, known bool), r *Repaired) {
	for _, node := range holders {
		if node == m.self {
			break
		}
		if lacking, known := lacks(node); known && !lacking {
			return
		}
	}
	asked := false
	for _, node := range holders {
		if lacking, known := lacks(node); node == m.self || !known || !lacking || ctx.Err() != nil {
			continue
		}
		if !asked && m.keptBeyond(ctx, key) {
			return
		}
		asked = true
		limit, cancel := context.WithTimeout(ctx, time.Hour)
		err := m.copyTo(limit, node, key)
		cancel()
		if err != nil {
			r.Failed, r.Err = r.Failed+1, fmt.Errorf("node %s: %w", node, err)
			continue
		}
		r.Copied++
	}
}

// keptBeyond tells whether a blob needs no copies on nodes.
func (m *Mesh) keptBeyond(ctx context.Context, key string) bool {
	if m.beyond == nil || m.local.leased(key) {
		return false
	}
	keeps, err := m.beyond.Keeps(ctx, key)
	return err == nil && keeps
}

// Scrub reads everything that is here once, slowly, and fetches anew what is damaged. It gives how many were, and how many of these
// nobody else has whole.
func (m *Mesh) Scrub(ctx context.Context) (damaged, lost int, err error) {
	for key, err := range m.local.Keys() {
		if err != nil {
			return damaged, lost, err
		}
		began := time.Now()
		r, size, err := m.local.Open(ctx, key)
		switch {
		case err == nil:
			_ = r.Close()
		case ctx.Err() != nil:
			return damaged, lost, ctx.Err()
		case errors.Is(err, ErrNotFound):
		default:
			damaged++
			m.log.Error("a blob is damaged on this node's disk", "blob", key, "error", err)
			if err := m.bring(ctx, key, err); err != nil {
				lost++
				m.log.Error("no whole copy of a damaged blob was found", "blob", key, "error", err)
			}
		}
		if !pause(ctx, time.Duration(size)*time.Second/scrubRate-time.Since(began)) {
			return damaged, lost, ctx.Err()
		}
	}
	return damaged, lost, nil
}

// Missing are those of the keys of which nothing is here.
func (l *Local) Missing(ctx context.Context, keys []string) (missing []string, err error) {
	for _, key := range keys {
		has, err := l.Has(ctx, key)
		if err != nil {
			return nil, err
		}
		if !has {
			missing = append(missing, key)
		}
	}
	return missing, nil
}
