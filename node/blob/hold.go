package blob

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Hold leases blobs on enough nodes, as if each were put once more: until a row refers to them they stay. Their contents are moved only
// where there are too few copies. ask leases blobs on another node. ErrNotFound, wrapped, for one that no node has.
func (m *Mesh) Hold(ctx context.Context, ask Missing, keys []string) error {
	for _, key := range keys {
		if err := CheckKey(key); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(keys, askAtOnce) {
		if err := m.holdSome(ctx, ask, some); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mesh) holdSome(ctx context.Context, ask Missing, keys []string) error {
	live, _ := m.targets(keys[0])
	var mu sync.Mutex // guards the next two
	copies, away := map[string]int{}, false
	var wg sync.WaitGroup
	for _, node := range live {
		wg.Go(func() {
			missing, err := m.holdOn(ctx, ask, node, keys)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				m.log.Debug("a node does not say which blobs it has", "node", node, "error", err)
				away = true
				return
			}
			for _, key := range keys {
				copies[key]++
			}
			for _, key := range missing {
				copies[key]--
			}
		})
	}
	wg.Wait()
	var few errgroup.Group
	few.SetLimit(holdAtOnce)
	for _, key := range keys {
		if _, need := m.targets(key); copies[key] >= need {
			continue
		}
		few.Go(func() error { return m.holdAnew(ctx, key, copies[key] == 0 && !away) })
	}
	return few.Wait()
}

// holdAtOnce is how many blobs with too few copies are spread at once.
const holdAtOnce = 8

// holdAnew spreads a blob of which there are too few copies; gone tells that no node has one.
func (m *Mesh) holdAnew(ctx context.Context, key string, gone bool) error {
	if gone {
		if has, err := m.isBeyond(ctx, key); !has {
			return cmp.Or(err, notFound(key))
		}
	}
	r, size, err := m.Open(ctx, key) // brings it here
	if err != nil {
		return err
	}
	_ = r.Close() // nothing was written
	return m.spread(ctx, key, size)
}

func (m *Mesh) holdOn(ctx context.Context, ask Missing, node string, keys []string) ([]string, error) {
	if node == m.self {
		return m.local.Hold(ctx, keys)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return ask(ctx, node, keys)
}

// Hold leases those of the blobs that are here, and tells which are not.
func (l *Local) Hold(ctx context.Context, keys []string) (missing []string, err error) {
	for _, key := range keys {
		if err := CheckKey(key); err != nil {
			return nil, err
		}
		l.leases.renew(key) // before it is looked for: from now on it is not removed
	}
	return l.Missing(ctx, keys)
}
