package gossip

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	fetchTimeout = 5 * time.Second
	fetchFirst   = 100 * time.Millisecond
	fetchMax     = 5 * time.Second
)

// SetManifest announces the content that this node offers now; gossip does not
// look into it. nil withdraws it. It may be called before Start.
func (g *Gossip) SetManifest(content []byte) error {
	m := manifest{ID: g.cfg.NodeID}
	if content != nil {
		packed, err := compress(content)
		if err != nil {
			return err
		}
		m.Hash, m.Gzip = Hash(content), packed
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.own.Hash == m.Hash {
		return nil
	}
	g.own, g.meta.Manifest = m, m.Hash
	kick(g.metaC)
	return nil
}

// Manifest finds content by its hash, for the node that asks for it by Fetch.
func (g *Gossip) Manifest(hash string) ([]byte, bool) {
	g.mu.Lock()
	own := g.own
	for _, r := range g.rows {
		if r.contentHash == hash && hash != "" {
			defer g.mu.Unlock()
			return r.content, true
		}
	}
	g.mu.Unlock()
	if own.Hash != hash || hash == "" {
		return nil, false
	}
	content, err := uncompress(own.Gzip, hash)
	return content, err == nil
}

// Manifests maps node ids to content, for members that are not gone. The
// content must not be changed.
func (g *Gossip) Manifests() map[string][]byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := map[string][]byte{}
	for id, r := range g.rows {
		if r.State != Gone && r.ManifestHash != "" && r.contentHash == r.ManifestHash {
			out[id] = r.content
		}
	}
	return out
}

// wants says whether the content behind a hash is announced by that member and missing here.
func (g *Gossip) wants(id, hash string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.rows[id]
	return r != nil && hash != "" && r.State != Gone && r.ManifestHash == hash && r.contentHash != hash
}

func (g *Gossip) store(id, hash string, content []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.rows[id]; r != nil && r.ManifestHash == hash {
		r.content, r.contentHash = content, hash
		g.notifyLocked()
	}
}

// fetchLoop starts one fetch per member whose content is missing.
func (g *Gossip) fetchLoop(ctx context.Context) {
	defer g.wg.Done()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.fetchC:
		}
		for _, m := range g.Members() {
			if g.wants(m.ID, m.ManifestHash) && g.claimFetch(m.ID) {
				g.wg.Add(1)
				go g.fetch(ctx, m.ID)
			}
		}
	}
}

func (g *Gossip) claimFetch(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fetching[id] {
		return false
	}
	g.fetching[id] = true
	return true
}

// fetch goes on until it has what the member announces, or the member is gone.
func (g *Gossip) fetch(ctx context.Context, id string) {
	defer g.wg.Done()
	defer func() {
		g.mu.Lock()
		delete(g.fetching, id)
		g.mu.Unlock()
		if g.cfg.Fetch != nil {
			kick(g.fetchC) // something may have been announced since the last look
		}
	}()
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = fetchFirst, fetchMax
	for {
		m, ok := g.Lookup(id)
		if !ok || !g.wants(id, m.ManifestHash) {
			return
		}
		content, err := g.fetchOnce(ctx, m)
		if err == nil {
			g.store(id, m.ManifestHash, content)
			continue
		}
		if g.cfg.Fetch == nil {
			return // push/pull will bring it
		}
		g.log.Debug("cannot fetch a manifest yet", "node", id, "manifest", m.ManifestHash, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait.NextBackOff()):
		}
	}
}

func (g *Gossip) fetchOnce(ctx context.Context, m Member) ([]byte, error) {
	if content, ok := g.Manifest(m.ManifestHash); ok { // often the same code runs on many nodes
		return content, nil
	}
	if g.cfg.Fetch == nil {
		return nil, errState
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	content, err := g.cfg.Fetch(ctx, m, m.ManifestHash)
	if err != nil {
		return nil, err
	}
	return content, verify(content, m.ManifestHash)
}
