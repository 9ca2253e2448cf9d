package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// maxDepth is how deeply arguments from outside may be nested: each object becomes two levels, and Python reads them
// recursively.
const maxDepth = 128

var (
	errNotJSON = errors.New("not JSON")
	errTooDeep = errors.New("nested too deeply")
)

// wrap turns JSON text from outside into the form that executors speak: every object becomes
// {"type":"dict","items":[k,v,...]} with its keys sorted, of equal keys the last. The text of numbers and strings stays as
// it is.
func wrap(text []byte) ([]byte, error) {
	if !json.Valid(text) {
		return nil, errNotJSON
	}
	w := wrapper{in: text}
	var out bytes.Buffer
	if err := w.value(&out, 0); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// wrapper walks through JSON text that is known to be valid.
type wrapper struct {
	in []byte
	at int
}

// next gives the next character that is no space.
func (w *wrapper) next() byte {
	for strings.IndexByte(" \t\r\n", w.in[w.at]) >= 0 {
		w.at++
	}
	return w.in[w.at]
}

// take gives the next character that is no space and steps over it.
func (w *wrapper) take() byte {
	c := w.next()
	w.at++
	return c
}

func (w *wrapper) value(out *bytes.Buffer, depth int) error {
	if depth > maxDepth {
		return errTooDeep
	}
	switch w.next() {
	case '{':
		return w.object(out, depth)
	case '[':
		return w.array(out, depth)
	case '"':
		out.Write(w.text())
	default:
		start := w.at
		for w.at < len(w.in) && strings.IndexByte(",]} \t\r\n", w.in[w.at]) < 0 {
			w.at++
		}
		out.Write(w.in[start:w.at])
	}
	return nil
}

// text gives a string with its quotes, as it is written.
func (w *wrapper) text() []byte {
	w.next()
	start := w.at
	for w.at++; w.in[w.at] != '"'; w.at++ {
		if w.in[w.at] == '\\' {
			w.at++
		}
	}
	w.at++
	return w.in[start:w.at]
}

func (w *wrapper) array(out *bytes.Buffer, depth int) error {
	out.WriteByte(w.take())
	for first := true; w.next() != ']'; first = false {
		if !first {
			out.WriteByte(w.take()) // the comma
		}
		if err := w.value(out, depth+1); err != nil {
			return err
		}
	}
	out.WriteByte(w.take())
	return nil
}

// member is one pair of an object; name is the key as it compares, key as it is written.
type member struct {
	name       string
	key, value []byte
}

func (w *wrapper) object(out *bytes.Buffer, depth int) error {
	var members []member
	w.take() // {
	for w.next() != '}' {
		if len(members) > 0 {
			w.take() // ,
			w.next()
		}
		key := w.text()
		w.take() // :
		var value bytes.Buffer
		if err := w.value(&value, depth+1); err != nil {
			return err
		}
		var name string
		if err := json.Unmarshal(key, &name); err != nil {
			return errNotJSON
		}
		members = append(members, member{name, key, value.Bytes()})
	}
	w.take() // }
	slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	out.WriteString(`{"type":"dict","items":[`)
	wrote := false
	for i, m := range members {
		if i+1 < len(members) && members[i+1].name == m.name {
			continue
		}
		if wrote {
			out.WriteByte(',')
		}
		wrote = true
		out.Write(m.key)
		out.WriteByte(',')
		out.Write(m.value)
	}
	out.WriteString(`]}`)
	return nil
}
