package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/asset"
	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/scheduler"
)

// holding is a mesh of blob directories with one state, which replicas may not have seen yet.
type holding struct {
	t      *testing.T
	store  *state.Store
	locals map[string]*blob.Local
	seen   map[string]*state.Store // replicas, where they are not the store
	logs   []string
	away   error
	lists  map[string]asset.List // of assets
	// forgotten are the assets that were to lose their rows.
	forgotten []string
	// listed is called after all leases were looked at.
	listed func()
}

func newHolding(t *testing.T) (*holding, *collector) {
	h := &holding{t: t, store: state.New(), locals: map[string]*blob.Local{}, seen: map[string]*state.Store{}, listed: func() {}}
	for _, node := range []string{"a", "b"} {
		local, err := blob.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = local.Close() })
		h.locals[node] = local
	}
	return h, &collector{
		members: func() ([]string, bool) { return []string{"a", "b"}, h.away == nil },
		read:    func(context.Context) (*state.View, error) { h.listed(); return h.store.View(), nil },
		refs:    func(context.Context, string) ([]string, error) { return []string{h.key("of a packed run")}, nil },
		list:    h.list,
		forget: func(_ context.Context, r *scheduler.ForgetAssets) error {
			h.forgotten = append(h.forgotten, r.Assets...)
			return nil
		},
		peers: h,
	}
}

func (h *holding) list(_ context.Context, key string) (asset.List, error) {
	list, ok := h.lists[key]
	if !ok {
		return list, errors.New("no such list")
	}
	return list, nil
}

func (h *holding) unleased(_ context.Context, node string) ([]string, error) {
	return unleased(h.locals[node])
}

func (h *holding) logged(context.Context, string) ([]string, error) { return h.logs, nil }

func (h *holding) collect(ctx context.Context, node string, c collection) (int, error) {
	store := h.store
	if h.seen[node] != nil {
		store = h.seen[node]
	}
	return collect(ctx, h.locals[node], store, c)
}

func (h *holding) key(text string) string { return blob.KeyOf([]byte(text)) }

// put stores a text on both nodes.
func (h *holding) put(text string) string {
	h.t.Helper()
	for _, local := range h.locals {
		if _, _, err := local.Put(h.t.Context(), bytes.NewReader([]byte(text))); err != nil {
			h.t.Fatal(err)
		}
	}
	return h.key(text)
}

func (h *holding) age() {
	for _, local := range h.locals {
		local.Age(blob.Lease)
	}
}

func (h *holding) row(rows ...state.Row) {
	h.t.Helper()
	h.change(func(tx *state.Tx) {
		for _, r := range rows {
			tx.Put(r)
		}
	})
}

// change commits an entry.
func (h *holding) change(do func(tx *state.Tx)) {
	h.t.Helper()
	scratch := h.store.Scratch()
	if err := scratch.Try(func(tx *state.Tx) error {
		do(tx)
		return nil
	}); err != nil {
		h.t.Fatal(err)
	}
	data, err := scratch.Entry(1).Encode()
	if err == nil {
		err = h.store.Apply(data)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *holding) has(text string) string {
	var on []string
	for _, node := range []string{"a", "b"} {
		if has, _ := h.locals[node].Has(h.t.Context(), h.key(text)); has {
			on = append(on, node)
		}
	}
	return fmt.Sprint(on)
}

func TestOnlyWhatNothingRefersToIsRemoved(t *testing.T) {
	t.Parallel()
	h, c := newHolding(t)
	for _, text := range []string{"argument", "result", "fragment", "pack", "refs", "of a packed run", "of a log line", "nobody's"} {
		h.put(text)
	}
	value := state.Value{BlobKey: h.key("result")}
	h.row(&state.Step{Run: "R", Number: 1, Arguments: []state.Value{{BlobKey: h.key("argument")}}},
		&state.Execution{Run: "R", Step: 1, Attempt: 1, Result: &state.Result{Type: state.ResultValue, Value: &value}},
		&state.Kept{Workspace: "W", Key: "k", Value: state.Value{References: []state.Reference{{Kind: "fragment", BlobKey: h.key("fragment")}}}},
		&state.Pack{ID: "P", BlobKey: h.key("pack"), RefsKey: h.key("refs"), Runs: "Rx\n"})
	h.logs = []string{h.key("of a log line")}
	if n, err := c.round(t.Context()); n != 0 || err != nil {
		t.Fatalf("%d removed within the lease: %v", n, err)
	}
	h.age()
	h.away = errors.New("away")
	if n, err := c.round(t.Context()); n != 0 || err == nil {
		t.Fatalf("%d removed while a node is away", n)
	}
	h.away = nil
	if n, err := c.round(t.Context()); n != 2 || err != nil {
		t.Fatalf("%d copies removed, want 2: %v", n, err)
	}
	for _, text := range []string{"argument", "result", "fragment", "pack", "refs", "of a packed run", "of a log line"} {
		if h.has(text) != "[a b]" {
			t.Errorf("%s is on %s", text, h.has(text))
		}
	}
	if h.has("nobody's") != "[]" {
		t.Errorf("what nothing refers to is on %s", h.has("nobody's"))
	}
	c.refs = func(context.Context, string) ([]string, error) { return nil, errors.New("unreadable") }
	h.put("nobody's")
	h.age()
	if n, err := c.round(t.Context()); n != 0 || err == nil {
		t.Errorf("%d removed although it is not known what a pack refers to", n)
	}
}

// A writer finds an old blob, writes it anew, which changes nothing, and then proposes a row that names it: it stays, also where the
// holders said just before that its lease was over.
func TestWhatIsWrittenAgainMeanwhileStays(t *testing.T) {
	t.Parallel()
	h, c := newHolding(t)
	h.put("old")
	h.age()
	h.listed = func() { h.put("old") } // and its row comes after the state was read
	if n, err := c.round(t.Context()); n != 0 || err != nil {
		t.Errorf("%d removed: %v", n, err)
	}
	if h.has("old") != "[a b]" {
		t.Errorf("a blob that is about to be referred to is on %s", h.has("old"))
	}
}

// A holder that lags removes nothing before it has seen all that the leader had.
func TestAHolderWaitsForTheState(t *testing.T) {
	t.Parallel()
	h, c := newHolding(t)
	h.put("nobody's")
	h.age()
	h.row(&state.Setting{Name: "voters", Value: 3})
	h.seen["b"] = state.New()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := c.round(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if got := h.has("nobody's"); !slices.Contains([]string{"[b]", "[a b]"}, got) {
		t.Errorf("it is on %s", got)
	}
}

// What two real nodes hold is listed and removed over the wire.
func TestNodesCollectOverTheWire(t *testing.T) {
	t.Parallel()
	first := startNode(t, "a", func(*Config) {})
	second := startNode(t, "b", func(c *Config) { c.Join = []string{first.GossipAddress()} })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		_, complete := first.present()
		if complete && len(first.others()) == 1 && len(first.host.Servers()) == 2 {
			break
		}
		if !pause(ctx, 20*time.Millisecond) {
			t.Fatal(ctx.Err())
		}
	}
	key, _, err := first.blobs.Put(ctx, bytes.NewReader([]byte("nobody's")))
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{members: first.present, read: first.router.Linear, refs: first.packs.refs, list: first.assetList, forget: first.forgetAssets, peers: first}
	if n, err := c.round(ctx); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	first.local.Age(blob.Lease)
	second.local.Age(blob.Lease)
	if n, err := c.round(ctx); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	for _, n := range []*Node{first, second} {
		if has, err := n.local.Has(ctx, key); has || err != nil {
			t.Errorf("%s still has it: %v", n.cfg.Name, err)
		}
	}
}
