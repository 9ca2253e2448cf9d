// Package asset is the list of the files that make an asset, as it is kept in a blob.
package asset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Bounds of an asset.
const (
	MaxEntries = 100_000
	// MaxList is what its list may take, bytes.
	MaxList     = 64 << 20
	maxPath     = 1 << 10
	maxName     = 1 << 10
	maxMetadata = 4 << 10
)

// List is an asset: a name, which may be missing, and files by their paths. Lists that say the same are encoded alike.
type List struct {
	Name    *string          `json:"name"`
	Entries map[string]Entry `json:"entries"`
}

// Entry is a file. In JSON it is an array: [key of the blob, size, metadata].
type Entry struct {
	BlobKey  string
	Size     int64 // bytes
	Metadata map[string]any
}

// MarshalJSON writes the array.
func (e Entry) MarshalJSON() ([]byte, error) {
	if e.Metadata == nil {
		e.Metadata = map[string]any{}
	}
	return json.Marshal([]any{e.BlobKey, e.Size, e.Metadata})
}

// UnmarshalJSON reads the array. Metadata may be missing.
func (e *Entry) UnmarshalJSON(text []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(text, &parts); err != nil || len(parts) < 2 || len(parts) > 3 {
		return fmt.Errorf("an entry of an asset is [blob key, size, metadata], not %.100s", text)
	}
	err := errors.Join(json.Unmarshal(parts[0], &e.BlobKey), json.Unmarshal(parts[1], &e.Size))
	if len(parts) == 3 {
		numbers := json.NewDecoder(bytes.NewReader(parts[2]))
		numbers.UseNumber() // kept as they were written
		err = errors.Join(err, numbers.Decode(&e.Metadata))
	}
	if err != nil {
		return fmt.Errorf("an entry of an asset is [blob key, size, metadata], not %.100s: %w", text, err)
	}
	return nil
}

// Encode checks a list and writes it.
func Encode(l List) ([]byte, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(l) // the keys of maps are sorted
	if err == nil && len(text) > MaxList {
		err = fmt.Errorf("the list of the asset's files has %d MiB: at most %d", len(text)>>20, MaxList>>20)
	}
	return text, err
}

// Decode reads a list.
func Decode(text []byte) (l List, err error) {
	if err := json.Unmarshal(text, &l); err != nil {
		return l, fmt.Errorf("this is not the list of an asset: %w", err)
	}
	return l, l.check()
}

// Size is what the files have together, bytes.
func (l List) Size() (bytes int64) {
	for _, e := range l.Entries {
		bytes += e.Size
	}
	return bytes
}

// Only is the one file of an asset that has no other.
func (l List) Only() (path string, e Entry, ok bool) {
	if len(l.Entries) == 1 {
		for path, e = range l.Entries {
			return path, e, true
		}
	}
	return "", Entry{}, false
}

func (l List) check() error {
	switch {
	case len(l.Entries) == 0:
		return errors.New("an asset needs a file")
	case len(l.Entries) > MaxEntries:
		return fmt.Errorf("an asset has at most %d files, not %d", MaxEntries, len(l.Entries))
	case l.Name != nil && len(*l.Name) > maxName:
		return fmt.Errorf("the name of an asset has at most %d bytes, not %d", maxName, len(*l.Name))
	}
	paths := make([]string, 0, len(l.Entries))
	for p, e := range l.Entries {
		if err := CheckPath(p); err != nil {
			return err
		}
		if e.Size < 0 {
			return fmt.Errorf("%s in the asset cannot have %d bytes", p, e.Size)
		}
		if text, err := json.Marshal(e.Metadata); err != nil || len(text) > maxMetadata {
			return fmt.Errorf("the metadata of %s has more than %d bytes", p, maxMetadata)
		}
		paths = append(paths, p+"/")
	}
	slices.Sort(paths)
	for i := 1; i < len(paths); i++ { // what begins with a path follows it at once
		if strings.HasPrefix(paths[i], paths[i-1]) {
			return fmt.Errorf("%s is a file in the asset, so %s cannot be in it", strings.TrimSuffix(paths[i-1], "/"), strings.TrimSuffix(paths[i], "/"))
		}
	}
	return nil
}

// CheckPath refuses what is not the plain form of a path inside an asset: relative, with slashes, without . and .. in it.
func CheckPath(p string) error {
	if p == "" || p == "." || path.IsAbs(p) || path.Clean(p) != p || p == ".." || strings.HasPrefix(p, "../") || strings.ContainsRune(p, 0) {
		return fmt.Errorf("%q is not a path in an asset: it must be relative and plain, and must not lead out of it", p)
	}
	if len(p) > maxPath {
		return fmt.Errorf("a path in an asset has at most %d bytes: %.50q has %d", maxPath, p, len(p))
	}
	return nil
}
