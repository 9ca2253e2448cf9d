package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestBackup saves a mesh while it works, twice, ends it with kill -9, and goes on in a new one that is made of the backups.
func TestBackup(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.write("keeping.py", keeping)
	for range 3 {
		m.add("--repo", "flows", "--repo", "keeping", "--pack-after", "1s")
	}
	m.ready()
	n := m.nodes[0]
	one, two := filepath.Join(t.TempDir(), "one.backup"), filepath.Join(t.TempDir(), "two.backup")

	want := map[string]string{} // results by run
	for i := range 6 {
		token := fmt.Sprintf("before%d", i)
		want[m.submit(n, "parent", token, "")] = fmt.Sprintf(`["%s","%s.1"]`, token, token)
	}
	made := n.said("^R", "submit", "keeping/pass_on", "40", `"first"`)
	keyed, err := m.triggerWith(t.Context(), m.nodes, "the key", "single", "keyed", "")
	if err != nil {
		t.Fatal(err)
	}
	want[keyed] = `"keyed"`
	await(t, patience, func() string {
		if m.packedRuns(n) < 8 {
			return "the runs are not packed"
		}
		return ""
	})
	n.said(`(?s)^Saved .*Runs: \d+, and 8 packed`, "backup", "save", one)
	held := m.submitRetried(m.nodes[1], 2, "single", "held", "held")
	m.begun("held")
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			_, _ = m.try(ctx, m.nodes[i%3], "parent", fmt.Sprintf("load%d", i), "")
		}
	})
	last := m.submit(m.nodes[2], "single", "last", "")
	want[last] = `"last"`
	if got := m.value(m.nodes[2], last); compact(got) != want[last] {
		t.Errorf("%s", got)
	}
	m.nodes[1].said(`(?s)^Saved .*Builds on: \w+ \(one.backup\)`, "backup", "save", two, "--base", one)
	cancel()
	load.Wait()
	backupFiles(t, n, one, two)
	for _, n := range m.nodes {
		n.killed()
	}

	again := newMesh(t)
	again.write("keeping.py", keeping)
	dir := filepath.Join(again.dir, "n1")
	if o := n.cli("backup", "restore", two, "--data-dir", dir); o.status == 0 || !strings.Contains(o.stderr, "which was called one.backup: name it too") {
		t.Error(o)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("what could not be restored left a directory")
	}
	n.said(`^Restored into `, "backup", "restore", two, one, "--data-dir", dir)
	if o := n.cli("backup", "restore", two, one, "--data-dir", dir); o.status == 0 || !strings.Contains(o.stderr, "is not empty") {
		t.Error(o)
	}
	again.open("held")
	for range 3 {
		again.add("--repo", "flows", "--repo", "keeping", "--pack-after", "1s")
	}
	again.ready()
	for _, n := range again.nodes {
		for run, value := range want {
			if got := compact(again.value(n, run)); got != value {
				t.Errorf("%s says of run %s: %s, want %s", n.name, run, got, value)
			}
		}
		again.downloads(n, assetsMade(again.document(n, made))["first"], "first", 40)
		if got := compact(again.value(n, held)); got != `"held"` {
			t.Errorf("what ran gave %s", got)
		}
	}
	if run, err := again.triggerWith(t.Context(), again.nodes, "the key", "single", "keyed", ""); err != nil || run != keyed {
		t.Errorf("the key gives run %s, want %s: %v", run, keyed, err)
	}
	if got := compact(again.value(again.nodes[2], again.submit(again.nodes[1], "parent", "after", ""))); got != `["after","after.1"]` {
		t.Errorf("%s", got)
	}
}

// backupFiles are what the commands say of good and bad ones.
func backupFiles(t *testing.T, n *node, one, two string) {
	t.Helper()
	n.said(`(?s)Blobs: \d+, of which \d+ are in the file .*Builds on: `, "backup", "inspect", two)
	if doc := document[struct{ Blobs, Stored, PackedRuns int }](n, "backup", "inspect", one); doc.PackedRuns != 8 || doc.Blobs != doc.Stored || doc.Blobs < 40 {
		t.Errorf("%+v", doc)
	}
	if doc := document[struct{ Blobs, Stored int }](n, "backup", "inspect", two); doc.Blobs < 40 || doc.Stored > doc.Blobs/2 {
		t.Errorf("the second backup holds too much: %+v", doc)
	}
	if o := n.cli("backup", "save", one); o.status == 0 || !strings.Contains(o.stderr, "is there already (use --force") {
		t.Error(o)
	}
	whole, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad")
	for name, content := range map[string][]byte{"cut off": whole[:len(whole)/2], "changed": append(append([]byte{}, whole[:len(whole)/2]...), whole[len(whole)/2+1:]...)} {
		if err := os.WriteFile(bad, content, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"inspect", bad}, {"restore", bad, "--data-dir", bad + ".dir"}} {
			if o := n.cli(append([]string{"backup"}, args...)...); o.status == 0 || !strings.Contains(o.stderr, "the backup is damaged") || strings.Contains(o.stderr, "goroutine") {
				t.Errorf("%s: %s", name, o)
			}
		}
		if o := n.cli("backup", "save", bad+".new", "--base", bad); o.status == 0 || !strings.Contains(o.stderr, "the backup is damaged") {
			t.Errorf("%s: %s", name, o)
		}
	}
	if o := n.cli("backup", "save", "-"); o.status != 0 || len(o.stdout) < len(whole)/2 {
		t.Errorf("to stdout: status %d, %d bytes, %s", o.status, len(o.stdout), o.stderr)
	}
}
