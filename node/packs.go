package node

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/api"
	"github.com/coflux-mesh/coflux/node/pack"
)

// packs reads the runs that have left the tables.
type packs struct {
	blobs blobStore

	mu     sync.Mutex // guards the rest
	recent []packFile // the one that was read last comes last
	bytes  int
}

type packFile struct {
	key    string
	size   int
	reader *pack.Reader
}

// maxRecent is how many bytes of packs are kept in memory for those who read on, as they are in their files.
const maxRecent = 32 << 20

// open reads a pack's file.
func (p *packs) open(ctx context.Context, key string) (*pack.Reader, error) {
	p.mu.Lock()
	if i := slices.IndexFunc(p.recent, func(f packFile) bool { return f.key == key }); i >= 0 {
		f := p.recent[i]
		p.recent = append(slices.Delete(p.recent, i, i+1), f)
		p.mu.Unlock()
		return f.reader, nil
	}
	p.mu.Unlock()
	path, err := p.blobs.Path(ctx, key)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read a pack: %w", err)
	}
	reader, err := pack.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recent, p.bytes = append(p.recent, packFile{key, len(data), reader}), p.bytes+len(data)
	for p.bytes > maxRecent && len(p.recent) > 1 {
		p.bytes -= p.recent[0].size
		p.recent = slices.Delete(p.recent, 0, 1)
	}
	return reader, nil
}

// refs reads the keys of blobs that a packWriter stored.
func (p *packs) refs(ctx context.Context, key string) (keys []string, err error) {
	path, err := p.blobs.Path(ctx, key)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(data)%32 != 0 {
		return nil, fmt.Errorf("blob %s is no list of keys", key)
	}
	for one := range slices.Chunk(data, 32) {
		keys = append(keys, hex.EncodeToString(one))
	}
	return keys, nil
}

// packedRun is a run that was read from its pack.
type packedRun struct {
	run, pack string
	rows      []state.Effect
	summary   pack.Summary
	view      *state.View // of the rows
}

// errNotPacked: the run is in the tables, or nowhere.
var errNotPacked = errors.New("the run is not packed")

func (p *packs) read(ctx context.Context, v *state.View, run string) (*packedRun, error) {
	at := v.Packed(run)
	if at == nil || !at.Has(run) || v.Run(run) != nil {
		return nil, errNotPacked
	}
	reader, err := p.open(ctx, at.BlobKey)
	if err != nil {
		return nil, err
	}
	rows, summary, ok, err := reader.Rows(run)
	if err == nil && !ok {
		err = fmt.Errorf("pack %s has no run %s", at.ID, run)
	}
	if err != nil {
		return nil, err
	}
	view, err := state.NewView(rows)
	if err != nil {
		return nil, err
	}
	return &packedRun{run, at.ID, rows, summary, view}, nil
}

// withLinked reads a packed run and the packed runs that its links lead to, and theirs: what is led to comes first.
func (p *packs) withLinked(ctx context.Context, v *state.View, run string) (out []*packedRun, err error) {
	seen := map[string]bool{}
	var add func(run string) error
	add = func(run string) error {
		if seen[run] {
			return nil
		}
		seen[run] = true
		r, err := p.read(ctx, v, run)
		if errors.Is(err, errNotPacked) {
			return nil
		}
		if err != nil {
			return err
		}
		for e := range r.view.RunExecutions(run, 0) {
			if id, ok := state.ParseExecutionID(e.Result.Link); ok {
				if err := add(id.Run); err != nil {
					return err
				}
			}
		}
		out = append(out, r)
		return nil
	}
	return out, add(run)
}

// maxBeside bounds the runs that are read for one document beside those that its links lead to.
const maxBeside = 50

// beside gives the view with what the document of a run needs and v does not have, because it is packed: the run itself, what its
// links lead to, and, for their names, what else it mentions. v itself where nothing is missing.
func (p *packs) beside(ctx context.Context, v *state.View, run string) (*state.View, error) {
	if v.AnyPacks() == nil {
		return v, nil
	}
	runs, err := p.withLinked(ctx, v, run)
	if err != nil {
		return v, err
	}
	seen, of := map[string]bool{}, v
	var rows []state.Effect
	add := func(r *packedRun) {
		if !seen[r.run] {
			seen[r.run] = true
			rows = append(rows, r.rows...)
		}
	}
	for _, r := range runs {
		add(r)
	}
	if len(runs) > 0 {
		of = runs[len(runs)-1].view
	}
	left := maxBeside
	for id := range mentioned(of, run) {
		if left == 0 {
			break
		}
		if seen[id] || v.Run(id) != nil || v.Packed(id) == nil {
			continue
		}
		left--
		if r, err := p.read(ctx, v, id); err == nil { // only names are missing otherwise
			add(r)
		}
	}
	if len(rows) == 0 {
		return v, nil
	}
	other, err := state.NewView(rows)
	if err != nil {
		return v, err
	}
	return v.Beside(other), nil
}

// mentioned walks the runs that a run's document names: of its caller, of what its executions have the outcome of, and of what they
// waited for.
func mentioned(v *state.View, run string) iter.Seq[string] {
	return func(yield func(string) bool) {
		row := v.Run(run)
		if row == nil {
			return
		}
		names := []string{row.Parent}
		for e := range v.RunExecutions(run, 0) {
			if e.Result != nil {
				names = append(names, e.Result.Link)
			}
			for d := range v.Dependencies(e.ID()) {
				names = append(names, d.On)
			}
			for _, name := range names {
				if id := state.RunOf(name); id != "" && id != run && !yield(id) {
					return
				}
			}
			names = names[:0]
		}
	}
}

// list gives the newest packed runs of a workspace, of one workflow if target is given, that were created before (before,
// beforeID), at most limit.
func (p *packs) list(ctx context.Context, v *state.View, q api.PackedQuery) (out []api.PackedRun, err error) {
	newer := func(a, b api.PackedRun) int {
		if a.CreatedAt != b.CreatedAt {
			return int(max(-1, min(1, b.CreatedAt-a.CreatedAt)))
		}
		return strings.Compare(b.Run, a.Run)
	}
	name := q.Module + "/" + q.Target
	for at := range v.PacksOf(q.Workspace) {
		if len(out) >= q.Limit && at.Last < out[q.Limit-1].CreatedAt {
			break // the others are older still
		}
		if at.Runs == "" || q.Before > 0 && at.First > q.Before || q.Target != "" && len(at.Targets) > 0 && !slices.Contains(at.Targets, name) {
			continue
		}
		reader, err := p.open(ctx, at.BlobKey)
		if err != nil {
			return nil, err
		}
		for _, s := range reader.Runs() {
			if !at.Has(s.Run) || q.Target != "" && (s.Module != q.Module || s.Target != q.Target) ||
				q.Before > 0 && (s.CreatedAt > q.Before || s.CreatedAt == q.Before && s.Run >= q.BeforeID) {
				continue
			}
			out = append(out, api.PackedRun{Run: s.Run, Module: s.Module, Target: s.Target, CreatedAt: s.CreatedAt, CompletedAt: s.CompletedAt,
				Outcome: s.Outcome, Steps: s.Steps})
		}
		slices.SortFunc(out, newer)
		out = out[:min(len(out), q.Limit)]
	}
	return out, nil
}

// Beside and PackedRuns are what the HTTP room asks.

func (b backend) Beside(ctx context.Context, v *state.View, run string) (*state.View, error) {
	return b.packs.beside(ctx, v, run)
}

func (b backend) PackedRuns(ctx context.Context, v *state.View, q api.PackedQuery) ([]api.PackedRun, error) {
	return b.packs.list(ctx, v, q)
}
