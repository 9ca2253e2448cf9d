package scheduler

import (
	"encoding/hex"
	"math/big"
	"slices"

	"github.com/coflux-mesh/coflux/consensus/state"
)

const (
	// assetTouch is by how much UsedAt of an asset may be behind the last row that refers to it, log time in milliseconds.
	assetTouch = 5 * 60 * 1000
	// maxAssetText bounds what the row of an asset says beside its numbers, bytes.
	maxAssetText = 16 << 10
)

// PersistAsset has an execution make an asset of files whose list is stored. The same list is the same asset, whoever makes it, so
// a repeat changes nothing.
type PersistAsset struct {
	// Session is the fencing token of the agent that runs Execution.
	Session, Execution string
	// The rest is as in the row.
	Name    string
	Count   int
	Size    int64
	BlobKey string
	Entry   *state.AssetEntry
}

func (r *PersistAsset) decide(d *decision) (Answer, error) {
	e, err := d.live(r.Session, r.Execution)
	if err != nil {
		return Answer{}, err
	}
	id, ok := AssetID(r.BlobKey)
	text := len(r.Name)
	if r.Entry != nil {
		text += len(r.Entry.Path) + len(r.Entry.Metadata)
	}
	switch {
	case !ok || r.Count < 1 || r.Size < 0 || (r.Entry != nil) != (r.Count == 1):
		return Answer{}, refuse(CodeBadRequest, "%d files of %d bytes with the list %q are no asset", r.Count, r.Size, r.BlobKey)
	case text > maxAssetText:
		return Answer{}, refuse(CodeTooLarge, "the name of the asset, or the path and metadata of its file, have %d bytes: at most %d", text, maxAssetText)
	}
	a := d.Asset(id)
	if a != nil && a.BlobKey != r.BlobKey {
		return Answer{}, refuse(CodeBadRequest, "another asset has the id %s", id)
	}
	if a == nil {
		a = &state.Asset{ID: id, Name: r.Name, Count: r.Count, Size: r.Size, BlobKey: r.BlobKey, Entry: r.Entry, UsedAt: d.now}
		d.Put(a)
	}
	d.touch(a)
	d.Put(&state.Persisted{Execution: e.ID().String(), Asset: id, BlobKey: a.BlobKey})
	ref := a.Reference()
	return Answer{Asset: &ref}, nil
}

// AssetID is the id of the asset with a list: 90 bits of the key of its blob, so that it is the same wherever it is made.
func AssetID(blobKey string) (id string, ok bool) {
	raw, err := hex.DecodeString(blobKey)
	if err != nil || len(raw) != 32 {
		return "", false
	}
	n, base, digit := new(big.Int).SetBytes(raw), big.NewInt(int64(len(alphabet))), new(big.Int)
	text := []byte{'A'}
	for range 16 {
		n.DivMod(n, base, digit)
		text = append(text, alphabet[digit.Int64()])
	}
	return string(text), true
}

// UseAsset has an execution look into an asset, which it then depends on.
type UseAsset struct {
	Session, Execution string
	Asset              string
}

func (r *UseAsset) decide(d *decision) (Answer, error) {
	e, err := d.live(r.Session, r.Execution)
	if err != nil {
		return Answer{}, err
	}
	ref, err := d.asset(r.Asset)
	if err != nil {
		return Answer{}, err
	}
	if !d.HasDependency(e.ID().String(), ref.ID) {
		d.Put(&state.Dependency{Execution: e.ID().String(), On: ref.ID, BlobKey: ref.BlobKey})
	}
	return Answer{Asset: &ref}, nil
}

// ForgetAssets removes assets that no row referred to, nor any pack, when the leader looked: at a time not before Before and
// assetTouch. What was used since stays. The leader itself asks.
type ForgetAssets struct {
	Assets []string
	Before int64
}

// ForgetBefore is what Before has to be for a state that was read at a log time.
func ForgetBefore(readAt int64) int64 { return readAt - assetTouch }

func (r *ForgetAssets) decide(d *decision) (Answer, error) {
	for _, id := range r.Assets {
		if a := d.Asset(id); a != nil && a.UsedAt < r.Before {
			d.Delete(a)
		}
	}
	return Answer{}, nil
}

// touch notes that a row which refers to an asset is written now.
func (d *decision) touch(a *state.Asset) {
	if d.now-a.UsedAt >= d.assetTouch {
		used := *a
		used.UsedAt = d.now
		d.Put(&used)
	}
}

// asset gives the reference to an asset, for a row that is written now.
func (d *decision) asset(id string) (state.Reference, error) {
	a := d.Asset(id)
	if a == nil {
		return state.Reference{}, refuse(CodeNotFound, "asset %s does not exist", id)
	}
	d.touch(a)
	return a.Reference(), nil
}

// resolve gives a value as it is kept: its references to assets say what is known of them. It refuses one that refers to an asset
// which does not exist, or to an input which does not exist for the workspace.
func (d *decision) resolve(workspace string, value state.Value) (state.Value, error) {
	own := false // the request's value is not changed
	for i, r := range value.References {
		switch r.Kind {
		case state.KindInput:
			if err := d.present(workspace, state.RunOf(r.ID)); err != nil {
				return value, err
			}
			if VisibleInput(&d.View, workspace, r.ID) == nil {
				return value, refuse(CodeNotFound, "input %s does not exist", r.ID)
			}
		case state.KindAsset:
			ref, err := d.asset(r.ID)
			if err != nil {
				return value, err
			}
			if !own {
				value.References, own = slices.Clone(value.References), true
			}
			value.References[i] = ref
		}
	}
	return value, nil
}

func (d *decision) resolveAll(workspace string, values []state.Value) ([]state.Value, error) {
	out := slices.Clone(values)
	for i := range out {
		var err error
		if out[i], err = d.resolve(workspace, out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}
