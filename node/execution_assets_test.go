package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/pyexec"
	"golang.org/x/sys/unix"
)

// newLoneExecution is a body whose blobs lie in a directory.
func newLoneExecution(t *testing.T) (*execution, string) {
	t.Helper()
	a, _ := newLoneAgent(t)
	dir := t.TempDir()
	a.Values = values{blobs: dirBlobs(dir)}
	a.assigned(&Assign{Execution: "R:1:1"})
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.executions["R:1:1"], dir
}

func TestFilesAreStoredAndWritten(t *testing.T) {
	t.Parallel()
	e, _ := newLoneExecution(t)
	dir := t.TempDir()
	source, target := filepath.Join(dir, "source"), filepath.Join(dir, "new", "target")
	if err := os.WriteFile(source, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	upload := func(path string) (string, error) {
		type answer struct {
			key string
			err error
		}
		ch := make(chan answer, 1)
		e.UploadBlob(path, func(key string, err error) { ch <- answer{key, err} })
		a := <-ch
		return a.key, a.err
	}
	download := func(key, path string) error {
		ch := make(chan error, 1)
		e.DownloadBlob(key, path, func(err error) { ch <- err })
		return <-ch
	}
	key, err := upload(source)
	if err != nil || key != blob.KeyOf([]byte("content")) {
		t.Fatal(key, err)
	}
	for range 2 { // the second time over the first
		if err := download(key, target); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(target); err != nil || string(text) != "content" {
		t.Errorf("%q %v", text, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "new", ".*")); len(left) > 0 {
		t.Errorf("%v stays", left)
	}
	for path, want := range map[string]string{"source": "not an absolute path", dir: "is not a file", pipe: "is not a file", source + "x": "no such file"} {
		if _, err := upload(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, c := range []struct{ key, path, want string }{{key, "target", "not an absolute path"}, {"../x", target, "blob not found: ../x"},
		{strings.Repeat("0", 64), target, "no such file"}, {key, filepath.Join(source, "below"), "cannot write"}} {
		if err := download(c.key, c.path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s to %s: %v", c.key, c.path, err)
		}
	}
}

func TestWhatAnAssetConsistsOf(t *testing.T) {
	t.Parallel()
	e, _ := newLoneExecution(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "one.txt")
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := e.upload(file)
	if err != nil {
		t.Fatal(err)
	}
	entry := func(key string, size int) json.RawMessage { return fmt.Appendf(nil, `[%q,%d,{"a":1}]`, key, size) }
	empty := ""
	list, err := e.assetList(pyexec.AssetRequest{Name: &empty, Paths: []string{file}, Entries: map[string]json.RawMessage{"a/b": entry(key, 999)}})
	if err != nil || list.Name != nil || list.Size() != 14 || list.Entries["one.txt"].Metadata["type"] != "text/plain" || list.Entries["a/b"].BlobKey != key {
		t.Errorf("%+v %v: sizes are those of what was stored", list, err)
	}
	for name, c := range map[string]struct {
		q    pyexec.AssetRequest
		want string
	}{
		"the same name twice": {pyexec.AssetRequest{Paths: []string{file, filepath.Join(dir, ".", "one.txt")}}, "two files of the path one.txt"},
		"no entry":            {pyexec.AssetRequest{Entries: map[string]json.RawMessage{"x": []byte(`{}`)}}, "x: an entry of an asset is"},
		"no file":             {pyexec.AssetRequest{Paths: []string{file + "x"}}, "no such file"},
	} {
		if _, err := e.assetList(c.q); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = e.assetList(pyexec.AssetRequest{Entries: map[string]json.RawMessage{"x": entry(strings.Repeat("0", 64), 1)}})
	if !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("of a blob that is nowhere: %v", err)
	}
}

// What was stored long before is leased anew: its lease may be over before the asset has a row.
func TestOldFilesOfAnAssetAreHeldAgain(t *testing.T) {
	t.Parallel()
	e, dir := newLoneExecution(t)
	key := blob.KeyOf([]byte("content"))
	entries := map[string]json.RawMessage{"x": fmt.Appendf(nil, `[%q,1,{}]`, key)}
	e.files.stored[key] = storedFile{7, time.Now().Add(-blob.Lease)}
	if _, err := e.assetList(pyexec.AssetRequest{Entries: entries}); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("it is gone, and nobody looked: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, key), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if list, err := e.assetList(pyexec.AssetRequest{Entries: entries}); err != nil || list.Size() != 7 {
		t.Errorf("%+v %v", list, err)
	}
}
