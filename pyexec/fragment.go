package pyexec

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Fragment is a reference to bytes outside the JSON of a value (adapter-protocol 3.2).
type Fragment struct {
	Format   string // bytes, pickle, json, parquet; others are passed on
	Path     string // absolute, of the file with the content
	Size     int64
	Metadata json.RawMessage // an object
}

// ParseFragment reads a reference; false when it is none to a fragment.
func ParseFragment(raw json.RawMessage) (f Fragment, ok bool) {
	var kind string
	parts := []any{&kind, &f.Format, &f.Path, &f.Size, &f.Metadata}
	if json.Unmarshal(raw, &parts) != nil || kind != "fragment" || f.Path == "" {
		return Fragment{}, false
	}
	return f, true
}

// Reference writes the fragment as executors read it.
func (f Fragment) Reference() (json.RawMessage, error) {
	metadata := f.Metadata
	if len(metadata) == 0 || string(metadata) == "null" {
		metadata = json.RawMessage("{}")
	}
	raw, err := json.Marshal([]any{"fragment", f.Format, f.Path, f.Size, metadata})
	if err != nil {
		return nil, fmt.Errorf("write a fragment: %w", err)
	}
	return raw, nil
}

// hold keeps the files of a result until the function it returns is called, even when the process is gone.
func (e *executor) hold(result *Value) (release func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held = true
	return sync.OnceFunc(func() {
		if result != nil {
			e.dropFiles(*result)
		}
		e.mu.Lock()
		e.held = false
		clean := e.clean
		e.mu.Unlock()
		if clean != nil {
			clean()
		}
	})
}

// dropFiles removes the files of a value that nobody will read again.
func (e *executor) dropFiles(v Value) {
	paths := []string{v.Path}
	for _, raw := range v.References {
		if f, ok := ParseFragment(raw); ok {
			paths = append(paths, f.Path)
		}
	}
	for _, path := range paths {
		if e.owns(path) {
			os.Remove(path)
		}
	}
}

// owns says whether a file was made to carry a value: it lies in the executor's own directory, or where and as the
// published package makes them. Others may be files of the user's.
func (e *executor) owns(path string) bool {
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	return dir == e.valuesDir || e.pool.py.foreign && dir == filepath.Clean(os.TempDir()) && strings.HasPrefix(name, "coflux_")
}
