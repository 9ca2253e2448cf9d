package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// BadPatternError is a Grep that is no regular expression.
type BadPatternError struct{ Reason string }

func (e *BadPatternError) Error() string {
	return "the pattern is no regular expression: " + e.Reason
}

// filter is the part of a query that a single entry decides.
type filter struct {
	Query
	grep *regexp.Regexp // nil: all
}

func newFilter(q Query) (filter, error) {
	f := filter{Query: q}
	if q.Grep == "" {
		return f, nil
	}
	re, err := regexp.Compile(q.Grep)
	if err != nil {
		return f, &BadPatternError{strings.TrimPrefix(err.Error(), "error parsing regexp: ")}
	}
	f.grep = re
	return f, nil
}

func (f filter) matches(e Entry) bool {
	return (f.ExecutionID == "" || e.ExecutionID == f.ExecutionID) &&
		(len(f.Workspaces) == 0 || slices.Contains(f.Workspaces, e.WorkspaceID)) &&
		f.matchesMetric(e.Metric) && e.Timestamp >= f.From && e.Level >= f.Level && (f.grep == nil || f.grep.MatchString(text(e)))
}

func (f filter) matchesMetric(m *Metric) bool {
	if f.Kind == "" && len(f.Keys) == 0 {
		return true
	}
	return m != nil && (f.Kind == "" || (f.Kind == Definitions) == (len(m.Definition) > 0)) &&
		(len(f.Keys) == 0 || slices.Contains(f.Keys, m.Key))
}

var placeholder = regexp.MustCompile(`\{[A-Za-z_][A-Za-z0-9_]*\}`)

// text is what Grep looks at: the template with its placeholders filled, other values behind it as key=value in the order
// of their keys. Values are JSON, strings without quotes; those kept as blobs are not read.
func text(e Entry) string {
	out := ""
	if e.Template != nil {
		out = *e.Template
	}
	used := map[string]bool{}
	out = placeholder.ReplaceAllStringFunc(out, func(m string) string {
		v, ok := e.Values[m[1:len(m)-1]]
		if !ok || v.Type != "raw" {
			return m
		}
		used[m[1:len(m)-1]] = true
		return valueText(v)
	})
	var rest []string
	for name, v := range e.Values {
		if !used[name] && v.Type == "raw" {
			rest = append(rest, fmt.Sprintf("%s=%s", name, valueText(v)))
		}
	}
	slices.Sort(rest)
	return strings.TrimSpace(out + " " + strings.Join(rest, " "))
}

func valueText(v Value) string {
	var s string
	if json.Unmarshal(v.Data, &s) == nil {
		return s
	}
	var b bytes.Buffer
	if json.Compact(&b, v.Data) != nil {
		return string(v.Data)
	}
	return b.String()
}
