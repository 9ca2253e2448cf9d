package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/oklog/ulid/v2"
)

// fakeHolders have blobs of which all are unleased, unless a node refuses.
type fakeHolders struct {
	nodes   map[string][]string
	err     error
	dropped map[string][]string
}

func (f *fakeHolders) droppable(_ context.Context, store string) (map[string][]string, error) {
	perNode := map[string][]string{}
	for node, keys := range f.nodes {
		perNode[node] = slices.Clone(keys)
	}
	return perNode, f.err
}

func (f *fakeHolders) collect(_ context.Context, node string, c collection) (int, error) {
	if c.Index != 7 {
		return 0, fmt.Errorf("index %d", c.Index)
	}
	f.dropped[node] = append(f.dropped[node], c.Keys...)
	return len(c.Keys), nil
}

// Nodes drop what is named and in the store, and nothing else.
func TestNodesDropWhatTheStoreHas(t *testing.T) {
	store := s3Server(t)
	content, named := map[string]string{}, map[string]bool{}
	add := func(text string) string {
		key := blob.KeyOf([]byte(text))
		content[key] = text
		return key
	}
	stored, lost, unnamed := add("stored"), add("lost"), add("unnamed")
	named[stored], named[lost] = true, true
	b, err := part("s3://bucket").open()
	if err == nil {
		err = b.Put(t.Context(), bucketName(unnamed), -1, strings.NewReader("unnamed"))
	}
	if err != nil {
		t.Fatal(err)
	}
	h := &fakeHolders{nodes: map[string][]string{"a": {stored, lost, unnamed}, "b": {stored}}, dropped: map[string][]string{}}
	refused := errors.New("on no node now")
	k := &keeper{bucket: part("s3://bucket"), holders: h, now: time.Now,
		named: func(context.Context) (map[string]bool, uint64, bool, error) { return named, 7, false, nil },
		local: func(context.Context, string) (bool, error) { return true, nil },
		open: func(_ context.Context, key string) (io.ReadCloser, int64, error) {
			if key == lost {
				return nil, 0, refused
			}
			return io.NopCloser(strings.NewReader(content[key])), int64(len(content[key])), nil
		}}
	did, err := k.round(t.Context())
	if did != (moved{copied: 1, dropped: 2}) || !errors.Is(err, refused) {
		t.Errorf("%+v %v", did, err)
	}
	if got := fmt.Sprint(h.dropped); got != fmt.Sprint(map[string][]string{"a": {stored}, "b": {stored}}) {
		t.Error(got)
	}

	// It has gone from the bucket behind the keeper's back: nothing is dropped, and the next round brings it back.
	if _, err := store.DeleteObject("bucket", "C/"+bucketName(stored)); err != nil {
		t.Fatal(err)
	}
	if did, _ := k.round(t.Context()); did != (moved{}) {
		t.Errorf("%+v", did)
	}
	if did, _ := k.round(t.Context()); did != (moved{copied: 1, dropped: 2}) {
		t.Errorf("%+v", did)
	}
	h.err = errors.New("a node reads from elsewhere")
	if did, err := k.round(t.Context()); did.dropped != 0 || !errors.Is(err, h.err) {
		t.Errorf("%+v %v", did, err)
	}
}

// What only another store has comes into the first one, whole or not at all.
func TestStoresAreReadInOrder(t *testing.T) {
	store := s3Server(t)
	elsewhere := blob.KeyOf([]byte("elsewhere")) // on another node
	whole, damaged := blob.KeyOf([]byte("whole")), blob.KeyOf([]byte("damaged"))
	for key, text := range map[string]string{whole: "whole", damaged: "damagex"} {
		b, err := part("s3://bucket/old").open()
		if err == nil {
			err = b.Put(t.Context(), bucketName(key), -1, strings.NewReader(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	old, fresh, none := part("s3://bucket/old"), part("s3://bucket/new"), part("s3://nowhere")
	k := &keeper{bucket: fresh, others: []*bucketPart{old}, now: time.Now,
		named: func(context.Context) (map[string]bool, uint64, bool, error) {
			return map[string]bool{whole: true, damaged: true, elsewhere: true}, 7, true, nil
		},
		local: func(context.Context, string) (bool, error) { return false, nil },
		through: func(_ context.Context, key string) (io.ReadCloser, error) {
			if key == elsewhere {
				return io.NopCloser(strings.NewReader("elsewhere")), nil
			}
			return nil, blob.ErrNotFound
		}}
	if did, err := k.round(t.Context()); did != (moved{copied: 2}) || !errors.Is(err, blob.ErrHashMismatch) {
		t.Errorf("%+v %v", did, err)
	}
	if got := objects(t, store); !slices.Contains(got, "new/C/"+bucketName(whole)) || !slices.Contains(got, "new/C/"+bucketName(elsewhere)) || slices.Contains(got, "new/C/"+bucketName(damaged)) {
		t.Errorf("%q", got)
	}
	both := &buckets{stores: []*bucketPart{fresh, old}}
	for _, key := range []string{whole, damaged} {
		r, err := both.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
	}
	for key, want := range map[string]bool{whole: true, damaged: false} {
		if keeps, err := both.Keeps(t.Context(), key); keeps != want || err != nil {
			t.Errorf("%s: %t %v", key, keeps, err)
		}
	}
	missing := blob.KeyOf([]byte("missing"))
	if _, err := both.Get(t.Context(), missing); !errors.Is(err, blob.ErrNotFound) {
		t.Error(err)
	}
	if _, err := (&buckets{stores: []*bucketPart{fresh}, archive: &bucketPart{"s3://bucket", func() string { return "" }}}).Get(t.Context(), missing); err == nil || errors.Is(err, blob.ErrNotFound) {
		t.Errorf("a place that cannot be asked was taken for one that has nothing: %v", err)
	}
	r, err := (&buckets{stores: []*bucketPart{none, old}}).Get(t.Context(), whole)
	if err != nil {
		t.Fatalf("the second was not read: %v", err)
	}
	_ = r.Close()
}

// Blobs of any size come into a bucket and back as they were, whether their size is known or not.
func TestBucketsHoldAnySize(t *testing.T) {
	s3Server(t)
	for _, size := range []int{0, 1, 4096, 5<<20 + 1, 65 << 20} {
		content := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		key := blob.KeyOf(content)
		for _, here := range []bool{true, false} {
			p := part(fmt.Sprintf("s3://bucket/%t", here))
			k := &keeper{bucket: p, now: time.Now,
				named: func(context.Context) (map[string]bool, uint64, bool, error) {
					return map[string]bool{key: true}, 7, true, nil
				},
				local: func(context.Context, string) (bool, error) { return here, nil },
				open: func(context.Context, string) (io.ReadCloser, int64, error) {
					return io.NopCloser(bytes.NewReader(content)), int64(size), nil
				},
				through: func(context.Context, string) (io.ReadCloser, error) {
					return io.NopCloser(bytes.NewReader(content)), nil
				}}
			if did, err := k.round(t.Context()); did.copied != 1 || err != nil {
				t.Errorf("%d bytes, here %t: %+v %v", size, here, did, err)
				continue
			}
			r, err := p.get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(blob.Checked(key, r))
			if err = errors.Join(err, r.Close()); err != nil || len(got) != size {
				t.Errorf("%d bytes, here %t: %d came back, %v", size, here, len(got), err)
			}
		}
	}
}

func TestPlacesOfBlobsAreChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		stores  []string
		archive string
		want    string
	}{
		{[]string{"s3://a", "s3://b/c"}, "s3://d", ""},
		{[]string{"/tmp/x"}, "", "--blob-store: /tmp/x names no bucket"},
		{[]string{"s3://a", "s3://a/"}, "", "--blob-store names s3://a, which was named before"},
		{[]string{"s3://a"}, "s3://a", "--blob-archive names s3://a, which was named before"},
		{nil, "s3://", "--blob-archive: s3:// names no bucket"},
	} {
		cfg := Default()
		cfg.BlobStores, cfg.BlobArchive = c.stores, c.archive
		if err := cfg.checkBuckets(); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v, %q: %v, want %q", c.stores, c.archive, err, c.want)
		}
	}
}

// argument makes a value that is a blob, and a run that has it as its argument.
func argument(t *testing.T, n *Node, text []byte) state.Value {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	value, err := backend{n}.StoreValue(ctx, text)
	if err != nil {
		t.Fatal(err)
	}
	workspace := ""
	eventually(t, 30*time.Second, "there is a workspace", func() bool {
		if w := n.store.View().WorkspaceByName("default", "default"); w != nil {
			workspace = w.ID
		}
		return workspace != ""
	})
	reply, err := n.router.Do(ctx, &scheduler.SubmitRun{RequestID: ulid.Make().String(), Workspace: workspace, Module: "m", Target: "t", Arguments: []state.Value{value}})
	if err != nil || reply.Err != nil {
		t.Fatal(err, reply.Err)
	}
	return value
}

// contents reads a blob through a node.
func contents(t *testing.T, n *Node, key string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return blob.Content(ctx, n.blobs, key, 1<<20)
}

// A value goes to the store, the nodes drop it once its leases are over, each reads it again, and repairs leave it where it is.
func TestValuesLiveInTheStore(t *testing.T) {
	store := s3Server(t)
	var nodes []*Node
	for i := range 3 {
		nodes = append(nodes, startNode(t, fmt.Sprint("n", i), func(c *Config) {
			c.BlobStores, c.keepEvery, c.repairGrace = []string{"s3://bucket/values/"}, 20*time.Millisecond, 50*time.Millisecond
			if i > 0 {
				c.Join = []string{nodes[0].GossipAddress()}
			}
		}))
	}
	eventually(t, 30*time.Second, "all vote", func() bool { return len(nodes[2].host.Servers()) == 3 && len(nodes[0].others()) == 2 })
	text := []byte(`"` + strings.Repeat("v", 10_000) + `"`)
	key := argument(t, nodes[0], text).BlobKey
	on := func() (count int) {
		for _, n := range nodes {
			if has, err := n.local.Has(t.Context(), key); err != nil {
				t.Fatal(err)
			} else if has {
				count++
			}
		}
		return count
	}
	if on() < 2 {
		t.Errorf("on %d nodes", on())
	}
	eventually(t, 30*time.Second, "the store has it", func() bool { return len(objects(t, store)) == 1 })
	if on() < 2 {
		t.Errorf("it is leased, and on %d nodes", on())
	}
	age := func() {
		for _, n := range nodes {
			n.local.Age(blob.Lease)
		}
	}
	age()
	eventually(t, 30*time.Second, "the nodes dropped it", func() bool { return on() == 0 })
	if _, err := nodes[1].blobs.Path(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if on() != 1 {
		t.Errorf("read by one node, it is on %d", on())
	}
	for _, n := range nodes {
		if got, err := contents(t, n, key); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	age()
	eventually(t, 30*time.Second, "they dropped it again", func() bool { return on() == 0 })
	if err := nodes[0].blobs.Hold(t.Context(), []string{key}); err != nil {
		t.Fatal(err)
	}
	if on() < 2 {
		t.Errorf("held, it is on %d nodes", on())
	}
	if err := nodes[0].blobs.Hold(t.Context(), []string{blob.KeyOf([]byte("none"))}); !errors.Is(err, blob.ErrNotFound) {
		t.Error(err)
	}
}

// While a node of the mesh has no such store, or another, nothing is dropped: it could not be read there.
func TestNothingIsDroppedThatANodeCouldNotRead(t *testing.T) {
	s3Server(t)
	n := startNode(t, "one", func(c *Config) { c.BlobStores, c.keepEvery = []string{"s3://bucket"}, time.Hour })
	eventually(t, 30*time.Second, "it leads", func() bool { return n.coord.leader() != nil })
	other := startNode(t, "two", func(c *Config) {
		c.BlobStores, c.keepEvery, c.Join = []string{"s3://bucket/else"}, time.Hour, []string{n.GossipAddress()}
	})
	eventually(t, 30*time.Second, "both are there", func() bool { return len(n.others()) == 1 && len(other.host.Servers()) == 2 })
	if _, err := n.droppable(t.Context(), "s3://bucket"); err == nil || !strings.Contains(err.Error(), "was not started with --blob-store s3://bucket as its first") {
		t.Error(err)
	}
	if _, err := other.droppable(t.Context(), "s3://bucket/else"); err == nil {
		t.Error("nothing said")
	}
}

// A store that is away stops no writer, and what is on the nodes is read.
func TestAStoreThatIsAwayStopsNobody(t *testing.T) {
	store := s3mem.New() // without the bucket
	srv := serveS3(t, store)
	n := startNode(t, "one", func(c *Config) { c.BlobStores, c.keepEvery = []string{"s3://bucket"}, 20*time.Millisecond })
	text := []byte(`"` + strings.Repeat("v", 10_000) + `"`)
	value := argument(t, n, text)
	n.local.Age(blob.Lease)
	if got, err := contents(t, n, value.BlobKey); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := store.CreateBucket("bucket"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the store has it", func() bool { return len(objects(t, store)) == 1 })
	n.local.Age(blob.Lease)
	eventually(t, 30*time.Second, "it was dropped", func() bool {
		has, err := n.local.Has(t.Context(), value.BlobKey)
		return !has && err == nil
	})
	srv.Close()
	limit, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, _, err := n.blobs.Open(limit, value.BlobKey); !errors.Is(err, blob.ErrUnavailable) || errors.Is(err, blob.ErrNotFound) {
		t.Errorf("what cannot be reached is said to be gone: %v", err)
	}
}
