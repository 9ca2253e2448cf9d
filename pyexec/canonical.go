package pyexec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Canonical rewrites the JSON text of an encoded value (adapter-protocol 3.3) so that equal values have equal texts,
// whichever package encoded them: what keys of caches and memos are to be made of. The pairs of dicts and the items of
// sets are sorted, strings are written in one way, numbers keep their text (3, 3.0 and "3" differ).
func Canonical(text []byte) ([]byte, error) {
	var compacted bytes.Buffer
	if err := json.Compact(&compacted, text); err != nil {
		return nil, fmt.Errorf("a value is not JSON: %w", err)
	}
	return canonical(compacted.Bytes())
}

func canonical(text json.RawMessage) (json.RawMessage, error) {
	switch text[0] {
	case '"':
		return canonicalString(text)
	case '[':
		items, err := canonicalItems(text)
		return list(items), err
	case '{':
		return canonicalObject(text)
	}
	return text, nil
}

func canonicalString(text json.RawMessage) (json.RawMessage, error) {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	if strings.ContainsRune(s, '\uFFFD') {
		return text, nil // perhaps half of a surrogate pair, which Go cannot hold
	}
	return json.Marshal(s)
}

func canonicalItems(text json.RawMessage) (items []json.RawMessage, err error) {
	if err := json.Unmarshal(text, &items); err != nil {
		return nil, err
	}
	for i := range items {
		if items[i], err = canonical(items[i]); err != nil {
			return nil, err
		}
	}
	return items, nil
}

func canonicalObject(text json.RawMessage) (json.RawMessage, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, err
	}
	kind := string(object["type"])
	for name, field := range object {
		c, err := canonical(field)
		if err != nil {
			return nil, err
		}
		object[name] = c
	}
	items := object["items"]
	if (kind == `"dict"` || kind == `"set"`) && len(items) > 0 && items[0] == '[' {
		sorted, err := sortedParts(items, map[string]int{`"dict"`: 2, `"set"`: 1}[kind])
		if err != nil {
			return nil, err
		}
		object["items"] = sorted
	}
	return json.Marshal(object) // sorts the names
}

// sortedParts sorts a canonical list in parts of n items.
func sortedParts(text json.RawMessage, n int) (json.RawMessage, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(text, &items); err != nil {
		return nil, err
	}
	parts := slices.Collect(slices.Chunk(items, n))
	slices.SortStableFunc(parts, func(a, b []json.RawMessage) int { return bytes.Compare(a[0], b[0]) })
	return list(slices.Concat(parts...)), nil
}

func list(items []json.RawMessage) json.RawMessage {
	out := []byte{'['}
	for i, item := range items {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, item...)
	}
	return append(out, ']')
}
