package node

import (
	"context"
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/hashicorp/go-hclog"
)

// A worker keeps copies for as long as somebody may read their files, and no longer.
func TestAWorkerTrimsItsCopies(t *testing.T) {
	t.Parallel()
	local, err := blob.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = local.Close() })
	put := func(text string) string {
		key, _, err := local.Put(t.Context(), strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	old, used := put("old"), put("used")
	idle := true
	trimmed := func(want int) {
		t.Helper()
		if n, err := dropUnused(context.Background(), local, func() bool { return idle }); n != want || err != nil {
			t.Errorf("%d removed, want %d: %v", n, want, err)
		}
	}
	trimmed(0)
	local.Age(blob.Lease)
	if _, err := (workerBlobs{Mesh: blob.NewMesh("w", local, remoteBlobs{}, hclog.NewNullLogger()), local: local}).Path(t.Context(), used); err != nil {
		t.Fatal(err)
	}
	idle = false
	trimmed(0)
	idle = true
	trimmed(1)
	for key, want := range map[string]bool{old: false, used: true} {
		if has, err := local.Has(t.Context(), key); has != want || err != nil {
			t.Errorf("%s is there: %t, %v", key, has, err)
		}
	}
}
