package pyexec

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHello(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	h := e.run("hello", "Joe")
	if h.res == nil || h.res.Error != nil || h.over != "terminated" {
		t.Fatalf("%+v %s", h.res, h.over)
	}
	if diff := cmp.Diff([]string{"1 Hello, Joe!"}, h.logs); diff != "" {
		t.Error(diff)
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	for _, c := range []struct {
		target string
		args   []any
		want   string
	}{
		{"echo", []any{7}, "7"},
		{"keyword", nil, "14"},
		{"catch", nil, `["ValueError","boom"]`},
		{"fan", []any{10}, "45"},
		{"count_down", []any{5}, "5"},
		{"later", []any{"x"}, `"x"`},
		{"echo", []any{strings.Repeat("y", 100000)}, `"` + strings.Repeat("y", 100000) + `"`},
	} {
		h := e.run(c.target, c.args...)
		if h.res.Error != nil {
			t.Errorf("%s: %+v", c.target, h.res.Error)
		} else if string(h.value) != c.want {
			t.Errorf("%s = %.80s, want %.80s", c.target, h.value, c.want)
		}
	}
}

func TestArgumentFromFile(t *testing.T) {
	t.Parallel()
	e := newEngine(t, nil)
	file := filepath.Join(t.TempDir(), "value")
	text := `{"type":"dict","items":["n",3.0,"big",123456789012345678901234567890,"e",1e5,"who",{"type":"ref","index":0}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ref := []json.RawMessage{[]byte(`["execution","R:7:1","m","t"]`)}
	h := e.start(Job{Target: "echo", Arguments: []Value{{Type: "file", Format: "json", Path: file, References: ref}}}).wait(t)
	if h.res.Error != nil {
		t.Fatalf("%+v", h.res.Error)
	}
	want := `{"type":"dict","items":["n",3.0,"big",123456789012345678901234567890,"e",100000.0,"who",{"type":"ref","index":0}]}`
	if diff := cmp.Diff(want, string(h.value)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(ref, h.res.Value.References); diff != "" {
		t.Error(diff)
	}
}

// One slot's worth of processes is enough for any depth: a waiting caller holds nothing that its callee needs.
func TestDeepRecursion(t *testing.T) {
	t.Parallel()
	e := newEngine(t, func(c *Config) { c.Warm = 1 })
	depth := 12
	if os.Getenv("COFLUX_SLOW") != "" {
		depth = 50
	}
	if h := e.run("count_down", depth); string(h.value) != strconv.Itoa(depth) {
		t.Error(h.ends())
	}
}

// vector is one value as sdk/tests/vectors.json has it; a fragment holds its content in place of its file.
type vector struct {
	Python     string            `json:"python"`
	Back       string            `json:"back"`
	Value      json.RawMessage   `json:"value"`
	References []json.RawMessage `json:"references"`
}

// The vectors that the Python package is tested with go through a body unchanged: the same text, the same fragments.
func TestVectors(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("sdk/tests/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%d vectors: %v", len(vectors), err)
	}
	e := newEngine(t, nil)
	dir := t.TempDir()
	// All in one list: each value takes a process otherwise.
	var values, references []string
	arg := Value{Type: "inline", Format: "json"}
	for _, v := range vectors {
		value := compact(t, v.Value)
		for i, ref := range v.References {
			place := len(references)
			value = strings.ReplaceAll(value, fmt.Sprintf(`"index":%d}`, i), fmt.Sprintf(`"index": %d}`, place))
			references = append(references, compact(t, ref))
			arg.References = append(arg.References, withFile(t, ref, filepath.Join(dir, strconv.Itoa(place))))
		}
		values = append(values, strings.ReplaceAll(value, `"index": `, `"index":`))
	}
	want := "[" + strings.Join(values, ",") + "]"
	arg.Value = json.RawMessage(want)
	h := e.start(Job{Target: "echo", Arguments: []Value{arg}}).wait(t)
	if h.res.Error != nil {
		t.Fatalf("%+v", h.res.Error)
	}
	if diff := cmp.Diff(want, string(h.value)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(references, h.refs); diff != "" {
		t.Error(diff)
	}
}

func compact(t *testing.T, text json.RawMessage) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, text); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// withFile puts the content of a fragment into a file, and its name into the reference.
func withFile(t *testing.T, ref json.RawMessage, file string) json.RawMessage {
	t.Helper()
	var parts []any
	if err := json.Unmarshal(ref, &parts); err != nil {
		t.Fatal(err)
	}
	if parts[0] != "fragment" {
		return ref
	}
	content, err := hex.DecodeString(parts[2].(string))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	parts[2] = file
	ref, err = json.Marshal(parts)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}
