package gossip

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/memberlist"
)

func largestMeta() meta {
	return meta{
		Name: strings.Repeat("n", maxName), Boot: strings.Repeat("b", maxBoot), Version: strings.Repeat("v", maxVersion),
		Host: strings.Repeat("h", maxHost), PeerPort: 65535, HTTPPort: 65535,
		ClusterID: strings.Repeat("c", maxCluster), HasState: true, Expect: 65535, Manifest: strings.Repeat("f", hashLen),
	}
}

// TestLargestMetaFits: memberlist panics above its limit.
func TestLargestMetaFits(t *testing.T) {
	t.Parallel()
	m := largestMeta()
	if err := m.check(); err != nil {
		t.Fatal(err)
	}
	b, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > memberlist.MetaMaxSize {
		t.Errorf("the largest legal meta has %d bytes, %d fit", len(b), memberlist.MetaMaxSize)
	}
	golden, err := os.ReadFile("testdata/meta.golden")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(bytes.TrimSpace(golden)), string(b)); diff != "" {
		t.Error(diff)
	}
	back, err := decodeMeta(b)
	if diff := cmp.Diff(m, back); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestMetaOfAnotherVersion(t *testing.T) {
	t.Parallel()
	got, err := decodeMeta([]byte(`{"n":"x","zz":[1,2],"p":7}`))
	if diff := cmp.Diff(meta{Name: "x", PeerPort: 7}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, bad := range []string{"", "null ", "[]", `{"p":70000}`, `{"n":"a\u001b[2J"}`, `{"n":1}`, `{"n":"` + strings.Repeat("x", 65) + `"}`} {
		if m, err := decodeMeta([]byte(bad)); err == nil && bad != "null " {
			t.Errorf("%q was taken as %+v", bad, m)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for what, cfg := range map[string]Config{
		"no id":      {Logger: testLogger(t)},
		"no logger":  {NodeID: "a"},
		"long id":    {NodeID: strings.Repeat("i", maxID+1), Logger: testLogger(t)},
		"name":       {NodeID: "a", Name: "a\"b", Logger: testLogger(t)},
		"port":       {NodeID: "a", PeerPort: 70000, Logger: testLogger(t)},
		"long host":  {NodeID: "a", AdvertiseAddr: strings.Repeat("h", maxHost+1), Logger: testLogger(t)},
		"long boot":  {NodeID: "a", Boot: strings.Repeat("h", maxBoot+1), Logger: testLogger(t)},
		"bad expect": {NodeID: "a", BootstrapExpect: -1, Logger: testLogger(t)},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: was taken", what)
		}
	}
}

func TestManifestLimits(t *testing.T) {
	t.Parallel()
	g, err := New(Config{NodeID: "a", Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, MaxManifest+1)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(noise)
	if err := g.SetManifest(noise); err == nil {
		t.Error("a manifest above the cap was taken")
	}
	if err := g.SetManifest(make([]byte, maxPlain+1)); err == nil {
		t.Error("a manifest that unfolds above the cap was taken")
	}
	if err := g.SetManifest(noise[:MaxManifest/2]); err != nil {
		t.Error(err)
	}
	if b, ok := g.Manifest(Hash(noise[:MaxManifest/2])); !ok || len(b) != MaxManifest/2 {
		t.Error("the own manifest is not found by its hash")
	}
	bomb, err := compress(make([]byte, maxPlain))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := uncompress(bomb, "0000000000000000"); err == nil {
		t.Error("content under a wrong hash was taken")
	}
}

func FuzzForeignBytes(f *testing.F) {
	m := largestMeta()
	b, _ := m.encode()
	f.Add(b)
	gz, _ := compress([]byte("content"))
	f.Add(encodeState(manifest{ID: "a", Hash: Hash([]byte("content")), Gzip: gz}))
	f.Add([]byte(`{"suspect":"x","boot":"","by":"self2","seq":1}`))
	f.Add([]byte{stateMagic, stateVersion, 255})
	g, err := New(Config{NodeID: "self", Logger: testLogger(nil)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decodeMeta(b); err == nil {
			if out, err := m.encode(); err != nil || len(out) > memberlist.MetaMaxSize {
				t.Errorf("a decoded meta encodes to %d bytes: %v", len(out), err)
			}
		}
		if m, err := decodeState(b); err == nil {
			back, err := decodeState(encodeState(m))
			if diff := cmp.Diff(m, back); err != nil || diff != "" {
				t.Error(err, diff)
			}
			_, _ = uncompress(m.Gzip, m.Hash)
		}
		d := delegate{g}
		d.MergeRemoteState(b, false)
		g.takeHint(b, map[string]uint64{})
		g.upsert(&memberlist.Node{Name: "x", Meta: b})
	})
}
