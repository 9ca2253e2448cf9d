package node

import (
	"context"
	"slices"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/asset"
	"github.com/coflux-mesh/coflux/scheduler"
)

// asset stores a list and files, and gives the row of the asset.
func (h *holding) asset(id string, files ...string) *state.Asset {
	h.t.Helper()
	l := asset.List{Name: &id, Entries: map[string]asset.Entry{}}
	for _, f := range files {
		l.Entries[f] = asset.Entry{BlobKey: h.put(f)}
	}
	text, err := asset.Encode(l)
	if err != nil {
		h.t.Fatal(err)
	}
	key := h.put(string(text))
	if h.lists == nil {
		h.lists = map[string]asset.List{}
	}
	h.lists[key] = l
	return &state.Asset{ID: id, Count: len(files), BlobKey: key}
}

// The files of an asset stay for as long as it has a row; that goes when nothing else names its list.
func TestFilesOfAssetsStayWithTheirRow(t *testing.T) {
	t.Parallel()
	h, c := newHolding(t)
	made, read, given, packed, logged, unused := h.asset("made", "m1", "m2"), h.asset("read", "r1", "m1"), h.asset("given", "g1", "g2"),
		h.asset("packed", "p1", "p2"), h.asset("logged", "l1", "l2"), h.asset("unused", "u1", "m2")
	only := h.asset("only", "o1")
	only.Entry = &state.AssetEntry{Path: "o1", BlobKey: h.key("o1")}
	delete(h.lists, only.BlobKey) // need not be read
	h.row(made, read, given, packed, logged, unused, only,
		&state.Persisted{Execution: "R:1:1", Asset: "made", BlobKey: made.BlobKey},
		&state.Persisted{Execution: "R:1:1", Asset: "only", BlobKey: only.BlobKey},
		&state.Dependency{Execution: "R:1:1", On: "read", BlobKey: read.BlobKey},
		&state.Kept{Workspace: "W", Key: "k", Value: state.Value{References: []state.Reference{given.Reference()}}},
		&state.Pack{ID: "P", BlobKey: h.put("pack"), RefsKey: h.put("refs"), Runs: "Rx\n"})
	c.refs = func(context.Context, string) ([]string, error) { return []string{packed.BlobKey}, nil }
	h.logs = []string{logged.BlobKey}
	h.put("nobody's")
	h.age()
	if n, err := c.round(t.Context()); n != 2 || err != nil {
		t.Fatalf("%d copies removed, want the 2 of what is nobody's: %v", n, err)
	}
	if !slices.Equal(h.forgotten, []string{"unused"}) {
		t.Errorf("forgotten are %q", h.forgotten)
	}
	h.delete(unused)
	if n, err := c.round(t.Context()); n != 4 || err != nil {
		t.Fatalf("%d copies removed, want the 4 of the forgotten asset's list and its own file: %v", n, err)
	}
	for _, file := range []string{"m1", "m2", "r1", "g1", "g2", "p1", "p2", "l1", "l2", "o1"} {
		if h.has(file) != "[a b]" {
			t.Errorf("%s is on %s", file, h.has(file))
		}
	}
	delete(h.lists, made.BlobKey)
	h.put("nobody's")
	h.age()
	if n, err := c.round(t.Context()); n != 0 || err == nil {
		t.Errorf("%d removed although it is not known which files an asset has", n)
	}
}

// delete removes rows.
func (h *holding) delete(rows ...state.Row) {
	h.t.Helper()
	h.change(func(tx *state.Tx) {
		for _, r := range rows {
			tx.Delete(r)
		}
	})
}

// Nothing is forgotten that was used within some minutes before the state was read.
func TestForgettingLeavesTimeForUse(t *testing.T) {
	t.Parallel()
	h, c := newHolding(t)
	h.row(h.asset("unused", "u1", "u2"))
	var asked []*scheduler.ForgetAssets
	c.forget = func(_ context.Context, r *scheduler.ForgetAssets) error { asked = append(asked, r); return nil }
	h.age()
	if _, err := c.round(t.Context()); err != nil || len(asked) != 1 || asked[0].Before != scheduler.ForgetBefore(h.store.View().Meta().Time) {
		t.Errorf("%+v %v", asked, err)
	}
}
