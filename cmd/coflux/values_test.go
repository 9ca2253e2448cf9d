package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coflux-mesh/coflux/node/api/client"
)

func decodeJSON(text string, v any) error { return json.Unmarshal([]byte(text), v) }

func TestRenderData(t *testing.T) {
	t.Parallel()
	name := "n"
	refs := []client.Reference{
		{Type: "execution", Module: "m", Target: "t"},
		{Type: "asset", Asset: &client.AssetSummary{Name: &name, TotalCount: 2, TotalSize: 8}},
		{Type: "asset", TotalCount: 1, TotalSize: 1536},
		{Type: "fragment", Format: "bytes", Size: 3},
		{Type: "input", InputID: "Rk7Q/i1"},
	}
	for in, want := range map[string]string{
		`null`: "None", `true`: "True", `"a\"b"`: `"a"b"`, `3.0`: "3", `3.5`: "3.5", `-0.50`: "-0.50",
		`123456789012345678901234567890`: "123456789012345678901234567890",
		`[1, [2], "x"]`:                  `[1, [2], "x"]`,
		`[]`:                             "[]",
		`{"type":"dict","items":[]}`:     "{}",
		`{"type":"dict","items":["k",{"type":"dict","items":[1,2]}]}`: "{\n  \"k\" ↦ {\n    1 ↦ 2\n  }\n}",
		`{"b":1,"a":null}`:                               "{\n  \"a\" ↦ None\n  \"b\" ↦ 1\n}",
		`{"type":"set","items":[]}`:                      "∅",
		`{"type":"set","items":[1,2]}`:                   "{1, 2}",
		`{"type":"tuple","items":[1,"a"]}`:               `(1, "a")`,
		`{"type":"datetime","value":"2024-05-01T10:00"}`: "2024-05-01T10:00",
		`{"type":"duration","value":93781.5}`:            "1d2h3m1.5s",
		`{"type":"duration","value":0}`:                  "0s",
		`{"type":"duration","value":-90}`:                "-1m30s",
		`{"type":"duration","value":3600}`:               "1h",
		`{"type":"decimal","value":"1.10"}`:              "1.10",
		`{"type":"uuid","value":"u"}`:                    "u",
		`{"type":"ref","index":0}`:                       "<execution m/t>",
		`{"type":"ref","index":1}`:                       `<asset "n" (2 files, 8 bytes)>`,
		`{"type":"ref","index":2}`:                       "<asset (untitled) (1 file, 1.5KiB)>",
		`{"type":"ref","index":3}`:                       "<fragment bytes (3 bytes)>",
		`{"type":"ref","index":4}`:                       "<input Rk7Q/i1>",
		`{"type":"ref","index":5}`:                       "<reference>",
		`{"type":"other","value":1}`:                     "{\n  \"type\" ↦ \"other\"\n  \"value\" ↦ 1\n}",
	} {
		got, err := renderData([]byte(in), refs)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
}

func TestTexts(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0ms", 143 * time.Millisecond: "143ms", 3200 * time.Millisecond: "3.2s",
		125 * time.Second: "2m05s", 62 * time.Minute: "1h02m",
	} {
		if got := shortDuration(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	for n, want := range map[float64]string{0: "0 bytes", 1023: "1023 bytes", 1024: "1.0KiB", 5 << 20: "5.0MiB", 1 << 50: "1024.0TiB"} {
		if got := sizeText(n); got != want {
			t.Errorf("%v: %q, want %q", n, got, want)
		}
	}
	if got, want := printable("a\x1b[31m\tb\nc\x00"), "a\\x1b[31m\tb\nc\\x00"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestParseExecution(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]execution{"R1": {"R1", 0, 0}, "R1:2": {"R1", 2, 0}, "R1:2:3": {"R1", 2, 3}} {
		if got, err := parseExecution(in); err != nil || got != want {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", ":1", "R1:", "R1:0", "R1:x", "R1:1:1:1", "R1:-1"} {
		if got, err := parseExecution(in); err == nil {
			t.Errorf("%q: %v without error", in, got)
		}
	}
}
