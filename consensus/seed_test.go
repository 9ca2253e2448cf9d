package consensus

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

// A directory that was seeded starts alone with the state, which others that join receive; a restart changes nothing.
func TestASeededClusterGoesOn(t *testing.T) {
	t.Parallel()
	c := &diskCluster{t: t, root: t.TempDir(), nodes: map[string]*diskNode{}, removed: map[string]bool{}}
	defer c.stop()
	want := entries(0, 50)
	if err := Seed(c.dir("n0"), frozenList(want), hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	if err := Seed(c.dir("n0"), frozenList(want), hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), "has a state already") {
		t.Fatalf("seeded twice: %v", err)
	}
	for range 2 {
		first := c.start("n0")
		first.awaitLead(t)
		if diff := cmp.Diff(want, first.machine.snapshot()); diff != "" {
			t.Fatal(diff)
		}
		if err := first.host.Bootstrap(); !errors.Is(err, ErrHeldState) {
			t.Errorf("it creates another cluster: %v", err)
		}
		c.kill("n0")
	}
	c.start("n0").awaitLead(t)
	second := c.start("n1")
	c.write(50, 60)
	want = append(want, entries(50, 60)...)
	eventually(t, "the new node has all", 20*time.Second, func() bool { return cmp.Equal(want, second.machine.snapshot()) })
	if id := c.nodes["n0"].host.ClusterID(); id == "" || id != second.host.ClusterID() {
		t.Errorf("they are of the clusters %q and %q", id, second.host.ClusterID())
	}
}

type noState struct{}

func (noState) WriteTo(io.Writer) (int64, error) { return 0, errors.New("no state") }

// A state that cannot be written leaves nothing that counts as one.
func TestSeedingWithoutAStateFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Seed(dir, noState{}, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), "no state") {
		t.Errorf("%v", err)
	}
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Held() {
		t.Error("the directory counts as one that held a state")
	}
}
