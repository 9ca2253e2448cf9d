package pyexec

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCanonical(t *testing.T) {
	t.Parallel()
	dict := func(items string) string { return `{"type":"dict","items":[` + items + `]}` }
	set := func(items string) string { return `{"type":"set","items":[` + items + `]}` }
	equal := [][]string{
		{`3`, ` 3 `}, {`3.0`}, {`"3"`}, {`true`}, {`1`}, {`1.0`}, {`-0.0`}, {`0`}, {`null`}, {`[]`}, {`[null]`},
		{`9007199254740993`}, {`9007199254740992`},
		{`"é"`, `"\u00e9"`}, {`"e\u0301"`}, {`"a\/<b"`, `"a/<b"`},
		{`"\ud800"`}, {`"\ud801"`}, {`"\ud83d\ude00"`, `"😀"`},
		{dict(`"a",1,"b",[2]`), dict(`"b",[2],"a",1`), `{"items":["b",[ 2 ],"a",1],"type":"dict"}`},
		{dict(`"a",[2],"b",1`)}, {dict(`1,"a"`)}, {dict(`"1","a"`)}, {dict(`"a",1,"b",1`)}, {dict(`"a","b","c"`)},
		{set(`1,` + set(`2,3`)), set(set(`3,2`) + `,1`)}, {set(``)}, {dict(``)},
		{`{"type":"tuple","items":[1,2]}`}, {`{"type":"tuple","items":[2,1]}`}, {`[1,2]`}, {`[2,1]`},
		{`{"x":1,"y":2}`, `{"y":2,"x":1}`}, {`{"type":"dict","items":5}`},
		{dict(dict(`1,2,3,4`) + `,` + dict(`"b",{"type":"ref","index":0},"a",1`)), dict(dict(`3,4,1,2`) + `,` + dict(`"a",1,"b",{"index":0,"type":"ref"}`))},
	}
	seen := map[string]string{}
	for _, class := range equal {
		first := ""
		for _, text := range class {
			got, err := Canonical([]byte(text))
			if err != nil || !json.Valid(got) {
				t.Fatalf("%s: %s %v", text, got, err)
			}
			if again, _ := Canonical(got); string(again) != string(got) {
				t.Errorf("%s: not stable: %s %s", text, got, again)
			}
			if first == "" {
				first = string(got)
				if other := seen[first]; other != "" {
					t.Errorf("%s and %s are not equal but have one text", text, other)
				}
				seen[first] = text
			}
			if first != string(got) {
				t.Errorf("%s and %s are equal but %s and %s", class[0], text, first, got)
			}
		}
	}
	for _, text := range []string{"", " ", "{", "[1", `{"type":"dict","items":[1,}`, "1 2"} {
		if got, err := Canonical([]byte(text)); err == nil {
			t.Errorf("%q: %s", text, got)
		}
	}
	deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	if got, err := Canonical([]byte(deep)); err != nil || string(got) != deep {
		t.Error(err)
	}
}
