package schema

import (
	"cmp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// Violation says how a value does not satisfy its schema.
type Violation struct {
	// Reason lists what failed, as `/a: type; properties`: each place in the value with the keyword, from the inside out.
	Reason string
	// Message is a sentence for people.
	Message string
}

func (v *Violation) Error() string { return v.Message }

// failure is a keyword that was not satisfied at a place in the value.
type failure struct {
	place   []string
	keyword string
}

func newViolation(err *jsonschema.ValidationError) *Violation {
	var found []failure
	var messages []string
	collect(err, &found, &messages)
	slices.SortStableFunc(found, func(a, b failure) int {
		return cmp.Or(cmp.Compare(len(b.place), len(a.place)), slices.Compare(a.place, b.place))
	})
	var reasons []string
	for _, f := range found {
		text := f.keyword
		if len(f.place) > 0 {
			text = pointer(f.place) + ": " + text
		}
		if !slices.Contains(reasons, text) {
			reasons = append(reasons, text)
		}
	}
	const few = 5
	if len(messages) > few {
		messages = append(messages[:few:few], "and more")
	}
	return &Violation{Reason: bounded(strings.Join(reasons, "; ")), Message: "the answer does not fit the schema: " + bounded(strings.Join(messages, "; "))}
}

// collect walks the errors: leaves are what failed, the rest is where.
func collect(e *jsonschema.ValidationError, found *[]failure, messages *[]string) {
	switch e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference:
	default:
		if path := e.ErrorKind.KeywordPath(); len(path) > 0 {
			*found = append(*found, failure{e.InstanceLocation, path[0]})
		}
		if len(e.Causes) == 0 {
			*messages = append(*messages, strings.TrimPrefix(strings.ReplaceAll(e.Error(), "\n", " "), "at '': "))
		}
		*found = append(*found, around(e)...)
	}
	for _, cause := range e.Causes {
		collect(cause, found, messages)
	}
}

// around are the keywords by which the part of the schema that failed applies to places in the value: an object fails
// properties when one of them fails. They are read from the place in the schema, innermost first.
func around(e *jsonschema.ValidationError) (out []failure) {
	_, fragment, _ := strings.Cut(e.SchemaURL, "#")
	path := strings.Split(strings.TrimPrefix(fragment, "/"), "/")
	place := e.InstanceLocation
	for i := len(path) - 1; i >= 0 && len(place) > 0; i-- {
		step := 0
		switch path[i] {
		case "properties", "patternProperties", "prefixItems":
			step = 1
		case "items", "additionalProperties", "additionalItems", "unevaluatedProperties", "unevaluatedItems", "contains":
			if i > 0 && (path[i-1] == "properties" || path[i-1] == "$defs" || path[i-1] == "definitions") {
				continue // a name
			}
			step = 1
		case "$defs", "definitions":
			return out
		}
		if step == 1 {
			place = place[:len(place)-1]
			out = append(out, failure{place, path[i]})
		}
	}
	return out
}

func pointer(place []string) string {
	var b strings.Builder
	for _, part := range place {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(part))
	}
	return b.String()
}

func bounded(text string) string {
	const limit = 1000
	if len(text) > limit {
		return strings.ToValidUTF8(text[:limit], "") + "..."
	}
	return text
}
