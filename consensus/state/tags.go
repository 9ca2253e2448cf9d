package state

import (
	"slices"
	"strings"
)

// Tags are names with their values: what work requires, what a session provides or accepts. The values of a name are
// alternatives. Neither names nor values contain a colon, comma, semicolon or control character.
type Tags map[string][]string

// Text is the canonical form of tags: names in order, each `name:value,value;`, without doubles and empty names. Equal
// requirements have equal texts, "" is none.
func (t Tags) Text() string {
	var b strings.Builder
	names := make([]string, 0, len(t))
	for name, values := range t {
		if len(values) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		values := slices.Clone(t[name])
		slices.Sort(values)
		b.WriteString(name + ":" + strings.Join(slices.Compact(values), ",") + ";")
	}
	return b.String()
}

// Requirement is one name of a requirement set with the values of which one is needed.
type Requirement struct {
	Name   string
	Values []string
}

// ParseRequires reads a text that Text made.
func ParseRequires(text string) (out []Requirement) {
	for part := range strings.SplitSeq(text, ";") {
		if name, values, ok := strings.Cut(part, ":"); ok {
			out = append(out, Requirement{name, strings.Split(values, ",")})
		}
	}
	return out
}
