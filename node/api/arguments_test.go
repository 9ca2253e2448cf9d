package api

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrap(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{`1`, `1`},
		{` 3.0 `, `3.0`},
		{`-0.10e+5`, `-0.10e+5`},
		{`123456789012345678901234567890`, `123456789012345678901234567890`},
		{`"J\u006fe\ud800"`, `"J\u006fe\ud800"`},
		{`"}],{\"\\"`, `"}],{\"\\"`},
		{`[ 1 , "a" ,null,true, [ ] ]`, `[1,"a",null,true,[]]`},
		{`{}`, `{"type":"dict","items":[]}`},
		{`{"b": 1, "a" : {"z":[{"y":2.50}]}}`, `{"type":"dict","items":["a",{"type":"dict","items":["z",[{"type":"dict","items":["y",2.50]}]]},"b",1]}`},
		{`{"a":1,"\u0061":2,"b":0,"a":3}`, `{"type":"dict","items":["a",3,"b",0]}`},
		{`{"type":"dict","items":[]}`, `{"type":"dict","items":["items",[],"type","dict"]}`},
		{`{"é":1,"<":"&"}`, `{"type":"dict","items":["<","&","é",1]}`},
	}
	for _, tt := range tests {
		got, err := wrap([]byte(tt.in))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %s %v, want %s", tt.in, got, err, tt.want)
		}
	}
	for _, bad := range []string{``, ` `, `{`, `joe`, `NaN`, `01`, `[1,]`, `{"a"}`, `1 2`, "\"\x01\"", `{a:1}`} {
		if _, err := wrap([]byte(bad)); err != errNotJSON {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for depth, want := range map[int]error{maxDepth: nil, maxDepth + 2: errTooDeep} {
		if _, err := wrap([]byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))); err != want {
			t.Errorf("depth %d: %v", depth, err)
		}
		if _, err := wrap([]byte(strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth))); err != want {
			t.Errorf("objects of depth %d: %v", depth, err)
		}
	}
}

// unwrap is the reverse of wrap on decoded JSON.
func unwrap(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = unwrap(v[i])
		}
	case map[string]any:
		out, items := map[string]any{}, v["items"].([]any)
		for i := 0; i < len(items); i += 2 {
			out[items[i].(string)] = unwrap(items[i+1])
		}
		return out
	}
	return v
}

func decodeExact(t *testing.T, text []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// FuzzWrap: what comes out is JSON without plain objects, and means what went in.
func FuzzWrap(f *testing.F) {
	for _, seed := range []string{`1`, `{"a":[1.0,{"b":null}]}`, `"\ud800"`, `[[{}]]`, `{"a":1,"a":2}`, `{`, ` {"é" : "\"}" } `} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := wrap([]byte(in))
		if err != nil {
			if json.Valid([]byte(in)) && err != errTooDeep {
				t.Fatal(err)
			}
			return
		}
		if diff := cmp.Diff(decodeExact(t, []byte(in)), unwrap(decodeExact(t, got))); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzSubmission: no body panics, and what is accepted fits the state's keys.
func FuzzSubmission(f *testing.F) {
	f.Add(`{"workspaceId":"W","module":"m","target":"t","arguments":[["json","1"]],"delay":5,"retries":null}`)
	f.Add(`{"workspaceId":"W","module":"m","target":"t","arguments":[["json"]],"waitFor":[1],"requires":{"a":[true]}}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, in string) {
		b, err := parseBody([]byte(in))
		if err != nil {
			return
		}
		sub, err := parseSubmission(b)
		if err != nil {
			if asError(err).Code == "internal" {
				t.Fatal(err)
			}
			return
		}
		if sub.Workspace == "" || sub.Module == "" || sub.Target == "" || sub.Delay < 0 || sub.Timeout < 0 ||
			strings.ContainsRune(sub.Workspace+sub.Module+sub.Target+sub.IdempotencyKey, 0) {
			t.Fatalf("accepted %+v", sub)
		}
		for _, a := range sub.arguments {
			if !json.Valid(a) {
				t.Fatalf("argument %s", a)
			}
		}
	})
}
