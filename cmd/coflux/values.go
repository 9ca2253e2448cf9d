package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"time"
	"unicode"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// valueText is the human rendering of a recorded value; blobs are loaded.
func valueText(ctx context.Context, c *client.Client, v *client.Value) (string, error) {
	if v == nil {
		return "None", nil
	}
	data := []byte(v.Data)
	if v.Type == "blob" {
		var err error
		if data, err = c.Blob(ctx, v.Key); err != nil {
			return "", fmt.Errorf("failed to load blob %s: %w", v.Key, err)
		}
	}
	if len(data) == 0 {
		return "None", nil
	}
	return renderData(data, v.References)
}

// renderData renders the encoded data of a value.
func renderData(data []byte, refs []client.Reference) (string, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return "", fmt.Errorf("decode a value: %w", err)
	}
	var b strings.Builder
	(&renderer{refs: refs, out: &b}).any(v, 0)
	return b.String(), nil
}

// renderer writes one value.
type renderer struct {
	refs []client.Reference
	out  *strings.Builder
}

var integral = regexp.MustCompile(`^(-?[0-9]+)\.0+$`)

func (r *renderer) any(v any, depth int) {
	switch v := v.(type) {
	case nil:
		r.out.WriteString("None")
	case bool:
		r.out.WriteString(map[bool]string{true: "True", false: "False"}[v])
	case json.Number:
		r.out.WriteString(integral.ReplaceAllString(v.String(), "$1"))
	case string:
		r.out.WriteString(`"` + v + `"`)
	case []any:
		r.list("[", v, "]", depth)
	case map[string]any:
		r.object(v, depth)
	}
}

func (r *renderer) list(open string, items []any, end string, depth int) {
	r.out.WriteString(open)
	for i, item := range items {
		if i > 0 {
			r.out.WriteString(", ")
		}
		r.any(item, depth)
	}
	r.out.WriteString(end)
}

// object writes a typed wrapper, or a plain object as if it were a dict with sorted keys.
func (r *renderer) object(m map[string]any, depth int) {
	items, hasItems := m["items"].([]any)
	text, hasText := m["value"].(string)
	number, hasNumber := m["value"].(json.Number)
	index, hasIndex := m["index"].(json.Number)
	switch kind, _ := m["type"].(string); {
	case kind == "dict" && hasItems:
		r.dict(items, depth)
	case kind == "set" && hasItems && len(items) == 0:
		r.out.WriteString("∅")
	case kind == "set" && hasItems:
		r.list("{", items, "}", depth)
	case kind == "tuple" && hasItems:
		r.list("(", items, ")", depth)
	case (kind == "datetime" || kind == "date" || kind == "time" || kind == "decimal" || kind == "uuid") && hasText:
		r.out.WriteString(text)
	case kind == "duration" && hasNumber:
		seconds, _ := number.Float64()
		r.out.WriteString(durationText(seconds))
	case kind == "ref" && hasIndex:
		n, err := index.Int64()
		if err != nil || n < 0 || n >= int64(len(r.refs)) {
			r.out.WriteString("<reference>")
			return
		}
		r.out.WriteString(referenceText(r.refs[n]))
	default:
		keys := make([]string, 0, len(m))
		for k := range m {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		pairs := make([]any, 0, 2*len(keys))
		for _, k := range keys {
			pairs = append(pairs, k, m[k])
		}
		r.dict(pairs, depth)
	}
}

func (r *renderer) dict(pairs []any, depth int) {
	if len(pairs) == 0 {
		r.out.WriteString("{}")
		return
	}
	r.out.WriteString("{\n")
	for i := 0; i+1 < len(pairs); i += 2 {
		r.out.WriteString(strings.Repeat("  ", depth+1))
		r.any(pairs[i], depth+1)
		r.out.WriteString(" ↦ ")
		r.any(pairs[i+1], depth+1)
		r.out.WriteString("\n")
	}
	r.out.WriteString(strings.Repeat("  ", depth) + "}")
}

func referenceText(ref client.Reference) string {
	switch ref.Type {
	case "execution":
		return fmt.Sprintf("<execution %s/%s>", ref.Module, ref.Target)
	case "input":
		return fmt.Sprintf("<input %s>", ref.InputID)
	case "fragment":
		return fmt.Sprintf("<fragment %s (%s)>", ref.Format, sizeText(float64(ref.Size)))
	case "asset":
		name, count, size := ref.Name, ref.TotalCount, ref.TotalSize
		if ref.Asset != nil {
			name, count, size = ref.Asset.Name, ref.Asset.TotalCount, ref.Asset.TotalSize
		}
		title := "(untitled)"
		if name != nil && *name != "" {
			title = `"` + *name + `"`
		}
		return fmt.Sprintf("<asset %s (%s, %s)>", title, filesText(count), sizeText(size))
	}
	return "<" + ref.Type + ">"
}

// sizeText is a number of bytes for people.
func sizeText(n float64) string {
	if n < 1024 {
		return fmt.Sprintf("%.0f bytes", n)
	}
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	i := -1
	for n >= 1024 && i < len(units)-1 {
		n, i = n/1024, i+1
	}
	return fmt.Sprintf("%.1f%s", n, units[i])
}

// durationText is a Python duration: 1d2h3m1.5s.
func durationText(seconds float64) string {
	if seconds == 0 {
		return "0s"
	}
	sign := ""
	if seconds < 0 {
		sign, seconds = "-", -seconds
	}
	var b strings.Builder
	b.WriteString(sign)
	for _, u := range []struct {
		name string
		size float64
	}{{"d", 86400}, {"h", 3600}, {"m", 60}} {
		if n := int64(seconds / u.size); n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			seconds -= float64(n) * u.size
		}
	}
	if rest := strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.6f", seconds), "0"), "."); rest != "0" {
		b.WriteString(rest + "s")
	}
	return b.String()
}

// shortDuration is a measured time for people: 143ms, 3.2s, 2m05s, 1h02m.
func shortDuration(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// printable makes control characters visible, so that what a run printed can not steer the terminal.
// Line ends and tabs stay.
func printable(s string) string {
	clean := strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) < 0
	if clean {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			fmt.Fprintf(&b, "\\x%02x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
