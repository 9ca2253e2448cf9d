package pyexec

import (
	"encoding/json"
	"fmt"
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
