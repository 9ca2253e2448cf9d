package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// keeping makes assets and passes them on.
const keeping = `
from pathlib import Path

import coflux as cf


@cf.task()
def make(n, name):
    for i in range(n):
        path = Path(f"out/d{i % 7}/f{i}.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} {i}\n")
    return cf.asset(at="out", name=name)


@cf.task()
def again(asset):
    one = asset["d0/f0.txt"].restore(at="here")
    return cf.asset({"all": asset, "one.txt": one, "two.txt": asset["d1/f1.txt"]}, name="again")


@cf.task()
def read(asset):
    cf.log_info("reading {asset}", asset=asset)
    files = asset.restore(at="there")
    return {path: file.read_text() for path, file in files.items()}


@cf.workflow()
def pass_on(n, name):
    first = make(n, name)
    second = again(first)
    return {"first": first, "second": second, "texts": read(second)}


@cf.workflow()
def single(text):
    Path("a b.json").write_text(text)
    return cf.asset("a b.json")


@cf.workflow()
def unknown(asset_id):
    return cf.Asset(asset_id, cf.AssetMetadata(None, 0, 0)).entries


@cf.workflow()
def smuggle(key):
    from coflux import _context
    return _context.current().ask("persist_asset", {"paths": [], "entries": {"x": [key, 1, {}]}})
`

// assetsMade are those that a run's executions have made, by name.
func assetsMade(run *client.Run) map[string]string {
	made := map[string]string{}
	for _, s := range run.Steps {
		for _, x := range s.Executions {
			for id, a := range x.Assets {
				if a.Name != nil {
					made[*a.Name] = id
				}
			}
		}
	}
	return made
}

// TestAssets has assets of many files made, passed between nodes and taken apart, read and downloaded through any node: when the
// node that made them is gone, when the run that made them is packed, and after the whole mesh has started again.
func TestAssets(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.write("keeping.py", keeping)
	for range 3 {
		m.add("--repo", "keeping", "--pack-after", "1s")
	}
	m.ready()
	n := m.nodes[0]
	const files = 60
	o := n.cli("submit", "keeping/pass_on", fmt.Sprint(files), `"first"`, "-o", "json")
	if o.status != 0 {
		t.Fatal(o)
	}
	run := decode[client.Run](t, o.stdout)
	id := strings.Split(slices.Sorted(maps.Keys(run.Steps))[0], ":")[0]
	if o := n.cli("runs", "result", id); !strings.Contains(o.stdout, "first 59") || strings.Count(o.stdout, "all/d") != files {
		t.Errorf("not all files came through: %s", o)
	}
	made := assetsMade(&run)
	doc := document[client.Asset](m.nodes[1], "assets", "inspect", made["again"])
	if len(doc.Entries) != files+2 || doc.Entries["one.txt"].BlobKey != doc.Entries["all/d0/f0.txt"].BlobKey ||
		doc.Entries["two.txt"].BlobKey != doc.Entries["all/d1/f1.txt"].BlobKey || doc.Entries["one.txt"].Metadata["type"] != "text/plain" {
		t.Errorf("%+v", doc)
	}
	n.said(`Name: again\nMatched 2 of 62 entries.\nPath +Size +Type +Blob key\none.txt +8 bytes +text/plain`, "assets", "inspect", made["again"], "--match", "*")
	n.said(`reading <asset "again" \(62 files, `, "logs", id)

	m.nodes[1].killed()
	m.downloads(m.nodes[2], made["first"], "first", files)
	m.nodes[1].start()
	m.ready()
	await(t, patience, func() string {
		if m.packedRuns(n) != 1 {
			return "the run is not packed"
		}
		return ""
	})
	for _, n := range m.nodes {
		n.stopped()
	}
	for _, n := range m.nodes {
		n.start()
	}
	m.ready()
	m.downloads(m.nodes[1], made["first"], "first", files)
	m.assetOddities(n, doc.Entries["one.txt"].BlobKey)
}

// assetOddities are assets of one file, of no file, and that are not there.
func (m *mesh) assetOddities(n *node, key string) {
	t := m.t
	for _, text := range []string{"one", "two", "one"} {
		run := n.said(`^R`, "submit", "keeping/single", fmt.Sprintf("%q", text))
		n.said(`<asset \(untitled\) \(1 file, 3 bytes\)>`, "runs", "result", run)
	}
	o := n.cli("submit", "keeping/unknown", `"Anothing"`)
	if o.status == 0 || !strings.Contains(o.stdout+o.stderr, "get_asset_error: not_found: asset Anothing does not exist") {
		t.Error(o)
	}
	if o := n.cli("submit", "keeping/smuggle", `"`+key+`"`); o.status != 0 {
		t.Error(o) // of a blob that is there
	}
	if o := n.cli("submit", "keeping/smuggle", `"`+strings.Repeat("0", 64)+`"`); o.status == 0 || !strings.Contains(o.stdout+o.stderr, "blob not found") {
		t.Error(o)
	}
	for _, args := range [][]string{{"inspect", "Anothing"}, {"download", "Anothing"}, {"inspect", ".."}} {
		if o := n.cli(append([]string{"assets"}, args...)...); o.status == 0 || !strings.Contains(o.stderr, "asset '"+args[1]+"' not found") {
			t.Error(o)
		}
	}
}

// downloads writes an asset of make's into a directory, twice.
func (m *mesh) downloads(n *node, id, name string, files int) {
	t := m.t
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new", "dir")
	n.said(fmt.Sprintf(`(?s)^Downloading %d files \(\d+ bytes\)\.\.\.\n  d0/f0.txt \(8 bytes\)\n.*\nDownload complete\.`, files), "assets", "download", id, "--to", dir)
	for i := range files {
		text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("d%d/f%d.txt", i%7, i)))
		if err != nil || string(text) != fmt.Sprintf("%s %d\n", name, i) {
			t.Errorf("file %d: %q %v", i, text, err)
		}
	}
	if o := n.cli("assets", "download", id, "--to", dir, "--match", "d0/*"); o.status == 0 || !strings.Contains(o.stderr, "file already exists at path: d0/f0.txt (use --force to overwrite)") {
		t.Error(o)
	}
	if err := os.WriteFile(filepath.Join(dir, "d0/f0.txt"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := n.cli("assets", "download", id, "--to", dir, "--match", "d0/*", "--force", "-o", "json")
	var said struct{ Files []string }
	if err := json.Unmarshal([]byte(o.stdout), &said); err != nil || o.status != 0 || len(said.Files) != (files+6)/7 {
		t.Errorf("%v\n%s", err, o)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "d0/f0.txt")); err != nil || string(text) != name+" 0\n" {
		t.Errorf("%q %v", text, err)
	}
	n.said(`^Nothing to download`, "assets", "download", id, "--match", "nothing*")
}
