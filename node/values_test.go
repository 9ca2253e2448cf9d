package node

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/pyexec"
)

// dirBlobs keeps blobs in a directory.
type dirBlobs string

func (d dirBlobs) Put(_ context.Context, r io.Reader) (string, int64, error) {
	content, err := io.ReadAll(r)
	if err != nil {
		return "", 0, err
	}
	key := blob.KeyOf(content)
	return key, int64(len(content)), os.WriteFile(filepath.Join(string(d), key), content, 0o600)
}

func (d dirBlobs) Path(_ context.Context, key string) (string, error) {
	path := filepath.Join(string(d), key)
	_, err := os.Stat(path)
	return path, err
}

func (d dirBlobs) Hold(ctx context.Context, keys []string) error {
	for _, key := range keys {
		if _, err := d.Path(ctx, key); err != nil {
			return fmt.Errorf("%w: %s", blob.ErrNotFound, key)
		}
	}
	return nil
}

// The vectors that the Python package is tested with survive the state: the same text, the same bytes beside it.
func TestVectorsThroughTheState(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../pyexec/sdk/tests/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Python     string            `json:"python"`
		Value      json.RawMessage   `json:"value"`
		References []json.RawMessage `json:"references"`
	}
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%d vectors: %v", len(vectors), err)
	}
	v := values{blobs: dirBlobs(t.TempDir())}
	for _, c := range vectors {
		in := pyexec.Inline(c.Value)
		for _, ref := range c.References {
			in.References = append(in.References, swap(t, ref, func(content string) string {
				data, err := hex.DecodeString(content)
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(t.TempDir(), "fragment")
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
				return path
			}))
		}
		kept, err := v.toState(t.Context(), &in)
		if err != nil {
			t.Fatalf("%s: %v", c.Python, err)
		}
		out, err := v.toPython(t.Context(), &kept)
		if err != nil {
			t.Fatalf("%s: %v", c.Python, err)
		}
		if string(out.Value) != string(c.Value) {
			t.Errorf("%s: %s became %s", c.Python, c.Value, out.Value)
		}
		for i, ref := range out.References {
			got := swap(t, ref, func(path string) string {
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				return hex.EncodeToString(data)
			})
			var want bytes.Buffer
			if err := json.Compact(&want, c.References[i]); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.String(), string(got)); diff != "" {
				t.Errorf("%s: %s", c.Python, diff)
			}
		}
		if len(out.References) != len(c.References) {
			t.Errorf("%s: %d references", c.Python, len(out.References))
		}
	}
}

// swap replaces the third part of a fragment.
func swap(t *testing.T, ref json.RawMessage, by func(string) string) json.RawMessage {
	t.Helper()
	var parts []any
	if err := json.Unmarshal(ref, &parts); err != nil {
		t.Fatal(err)
	}
	if parts[0] == "fragment" {
		parts[2] = by(parts[2].(string))
	}
	out, err := json.Marshal(parts)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWrongReferences(t *testing.T) {
	t.Parallel()
	v := values{blobs: dirBlobs(t.TempDir())}
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ ref, want string }{
		{`5`, "5 is not a reference"},
		{`["execution"]`, "is not a reference"},
		{`["execution",5]`, "has no execution id"},
		{`["input",5]`, "has no input id"},
		{`["blob","A1",null,1,2]`, `references of kind "blob" are not known`},
		{`["fragment","bytes"]`, "is not a fragment"},
		{`["fragment","bytes",7,1,{}]`, "is not a fragment"},
		{`["fragment","bytes","/no/such/file",1,{}]`, "open a fragment's file: open /no/such/file"},
		{`["fragment","bytes","` + file + `",0,{"x":"` + strings.Repeat("x", maxMetadata) + `"}]`, "is longer than 4096 bytes"},
	} {
		in := pyexec.Inline([]byte(`{"type":"ref","index":0}`))
		in.References = []json.RawMessage{json.RawMessage(c.ref)}
		if _, err := v.toState(t.Context(), &in); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "reference 0: ") {
			t.Errorf("%.60s: %v", c.ref, err)
		}
	}
	in := pyexec.Inline([]byte(`{"type":"ref","index":0}`))
	in.References = []json.RawMessage{json.RawMessage(`["fragment","bytes","` + file + `",0,null]`)}
	if kept, err := v.toState(t.Context(), &in); err != nil || kept.References[0].Metadata != nil {
		t.Errorf("%+v %v", kept, err)
	}
}

// What is kept in the state is a matter of size, which the configuration sets.
func TestTheThresholdOfBlobs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		config Config
		size   int // the largest that is no blob
	}{{Config{}, 4096}, {Config{Adapter: []string{"x"}}, 100}, {Config{Adapter: []string{"x"}, BlobThreshold: 7}, 7}, {Config{BlobThreshold: maxInline}, maxInline}} {
		v := values{dirBlobs(t.TempDir()), c.config.threshold()}
		for size, blob := range map[int]bool{c.size: false, c.size + 1: true} {
			text := `"` + strings.Repeat("v", size-2) + `"`
			in := pyexec.Inline([]byte(text))
			file := filepath.Join(t.TempDir(), "value")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, in := range []pyexec.Value{in, {Type: "file", Path: file}} {
				got, err := v.toState(t.Context(), &in)
				if err != nil || (got.BlobKey != "") != blob || got.BlobKey == "" && string(got.Data) != text {
					t.Errorf("%+v: a value of %d bytes (%s) is a blob: %t, %v", c.config, size, in.Type, got.BlobKey != "", err)
				}
			}
		}
	}
	for _, n := range []int{-1, maxInline + 1} {
		c := Default()
		c.BlobThreshold = n
		if err := c.Validate(); err == nil {
			t.Errorf("a threshold of %d is taken", n)
		}
	}
}
