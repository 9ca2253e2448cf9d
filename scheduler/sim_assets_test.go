package scheduler_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// simTouch is how far UsedAt of an asset may be behind, here.
const simTouch = 50

// assetKeys are the keys of the lists of all assets there are.
var assetKeys = func() (keys []string) {
	for i := range 5 {
		keys = append(keys, strings.Repeat(fmt.Sprintf("%02x", 0x11*(i+1)), 32))
	}
	return keys
}()

// keeper is what a body makes of assets; its choices are its own.
type keeper struct {
	rng    *rand.Rand
	left   int
	assets []string // that it knows of
}

// keeps has the body do something about assets, now and then; false when it does something else.
func (b *simBody) keeps() bool {
	k := &b.keeper
	n := k.rng.IntN(100)
	switch {
	case k.left == 0 || n > 15:
		return false
	case n < 10:
		k.left--
		i := k.rng.IntN(len(assetKeys))
		b.request = &scheduler.PersistAsset{Session: b.session, Execution: b.id, Count: i + 2, Size: int64(i), BlobKey: assetKeys[i]}
	default:
		k.left--
		id, _ := scheduler.AssetID(assetKeys[k.rng.IntN(len(assetKeys))])
		b.request = &scheduler.UseAsset{Session: b.session, Execution: b.id, Asset: id}
	}
	b.answered = func(reply scheduler.Reply) {
		if reply.Err != nil && reply.Err.Code == scheduler.CodeNotFound {
			return
		}
		if b.orDie(reply); reply.Err == nil {
			k.assets = append(k.assets, reply.Answer.Asset.ID)
		}
	}
	return true
}

// some are references to assets that the body knows of.
func (k *keeper) some() (refs []state.Reference) {
	for _, id := range k.assets {
		if k.rng.IntN(2) == 0 {
			refs = append(refs, state.Reference{Kind: state.KindAsset, ID: id})
		}
	}
	return refs
}

// simForgetter looks for assets that nothing refers to, and later has them forgotten.
type simForgetter struct {
	*sim
	rng  *rand.Rand
	held *scheduler.ForgetAssets
}

func (f *simForgetter) act() {
	switch {
	case f.held != nil && f.rng.IntN(3) == 0:
		f.send(f.held, nil)
		f.held = nil
	case f.held == nil && f.rng.IntN(3) == 0:
		v := f.stores[f.lead].View()
		f.held = &scheduler.ForgetAssets{Before: v.Meta().Time - simTouch}
		used := f.used(v)
		for a := range v.Assets() {
			if !used[a.BlobKey] {
				f.held.Assets = append(f.held.Assets, a.ID)
			}
		}
	}
}

// used are the keys of lists that rows refer to, in the tables or in packs.
func (f *simForgetter) used(v *state.View) map[string]bool {
	used := map[string]bool{}
	for row := range v.Rows() {
		if _, ok := row.(*state.Asset); !ok {
			used = with(used, slices.Collect(state.BlobKeys(row)))
		}
	}
	for pack := range v.Packs() {
		for run := range pack.List() {
			for _, effect := range f.packer.blobs[pack.BlobKey][run] {
				keys, err := effect.BlobKeys()
				if err != nil {
					f.failf("pack %s: %v", pack.ID, err)
				}
				used = with(used, keys)
			}
		}
	}
	return used
}

func with(set map[string]bool, keys []string) map[string]bool {
	for _, key := range keys {
		set[key] = true
	}
	return set
}

// keeping tells whether a reply is about assets, and checks it.
func (o *oracle) keeping(r scheduler.Request, reply scheduler.Reply) (ours bool, err error) {
	switch r := r.(type) {
	case *scheduler.PersistAsset:
		return true, o.assetAnswered(r.Session, r.Execution, reply, r.BlobKey)
	case *scheduler.UseAsset:
		for _, key := range assetKeys {
			if id, _ := scheduler.AssetID(key); id == r.Asset {
				err = o.assetAnswered(r.Session, r.Execution, reply, key)
			}
		}
		return true, err
	case *scheduler.ForgetAssets:
		if reply.Err != nil {
			err = fmt.Errorf("forgetting was refused")
		}
		return true, err
	}
	return false, nil
}

func (o *oracle) assetAnswered(session, execution string, reply scheduler.Reply, key string) error {
	e, code := o.speaks(session, execution)
	switch {
	case e == nil:
		return refusedAs(reply, code)
	case e.result != "":
		return refusedAs(reply, scheduler.CodeFenced)
	case e.doomed:
		return refusedAs(reply, scheduler.CodeCancelled)
	case reply.Err != nil && reply.Err.Code == scheduler.CodeNotFound:
		return nil
	case reply.Err != nil:
		return fmt.Errorf("a session that may speak was refused")
	}
	if got := reply.Answer.Asset; got == nil || got.BlobKey != key || !o.view.HasDependency(execution, got.ID) && !isPersisted(o.view, execution, got.ID) {
		return fmt.Errorf("the asset is %+v, and the execution has no row that says so", got)
	}
	return nil
}

func isPersisted(v *state.View, execution, asset string) bool {
	id, _ := state.ParseExecutionID(execution)
	for p := range v.PersistedBy(id) {
		if p.Asset == asset {
			return true
		}
	}
	return false
}

// compareAssets holds that whatever refers to an asset finds it, with all that is known of it.
func (o *oracle) compareAssets(v *state.View) error {
	there := map[string]*state.Asset{}
	for a := range v.Assets() {
		there[a.BlobKey] = a
	}
	for run := range o.runs {
		for row := range v.RunRows(run) {
			for key := range state.BlobKeys(row) {
				if slices.Contains(assetKeys, key) && there[key] == nil {
					return fmt.Errorf("a row of run %s refers to an asset that is forgotten: %+v", run, row)
				}
			}
			e, ok := row.(*state.Execution)
			if !ok || e.Result == nil || e.Result.Value == nil {
				continue
			}
			for _, ref := range e.Result.Value.References {
				if a := there[ref.BlobKey]; ref.Kind == state.KindAsset && (a == nil || a.ID != ref.ID || a.Count != ref.Count || a.Size != ref.Size) {
					return fmt.Errorf("%s gives an asset of which nothing is known: %+v", e.ID(), ref)
				}
			}
		}
	}
	return nil
}
