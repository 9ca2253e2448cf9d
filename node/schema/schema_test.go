package schema

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ schema, want string }{
		{`{}`, ""},
		{`{"type":"object","properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"type":"integer"}}}`, ""},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","type":"string"}`, ""},
		{`{"$ref":"https://json-schema.org/draft/2020-12/schema"}`, ""}, // built in
		{`{`, "not JSON"},
		{``, "not JSON"},
		{`{} {}`, "not JSON"},
		{`true`, "a schema is a JSON object"},
		{`[]`, "a schema is a JSON object"},
		{`{"type":"strin"}`, "/type"},
		{`{"required":"a"}`, "/required"},
		{`{"$schema":"http://json-schema.org/draft-04/schema#","type":"strin"}`, "/type"},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","type":"strin"}`, "/type"},
		{`{"$schema":"https://json-schema.org/draft/2019-09/schema","type":"strin"}`, "/type"},
		{`{"pattern":"("}`, "pattern"},
		{`{"$ref":"#/$defs/none"}`, "none"},
		{`{"$ref":"http://127.0.0.1:1/x"}`, "can only refer to itself"},
		{`{"$ref":"file:///etc/passwd"}`, "can only refer to itself"},
		{`{"$ref":"other.json"}`, "can only refer to itself"},
		{`{"$schema":"http://127.0.0.1:1/x"}`, "can only refer to itself"},
		{`{"minimum":1e999999999}`, "too large"},
	} {
		err := Check(c.schema)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.schema, err, c.want)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("%s: more than a line: %v", c.schema, err)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	object := `{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"array","items":{"maxLength":2}}},"required":["a"]}`
	for _, c := range []struct{ schema, value, reason string }{
		{object, `{"a":1}`, ""},
		{object, `{"a":1.0}`, ""},
		{object, `{"a":"x"}`, "/a: type; properties"},
		{object, `{}`, "required"},
		{object, `1`, "type"},
		{object, `{"a":1,"b":["ok","long"]}`, "/b/1: maxLength; /b: items; properties"},
		{object, `{"a":"x","b":["long"]}`, "/b/0: maxLength; /a: type; /b: items; properties"},
		{`{"properties":{"a/b":{"type":"null"}}}`, `{"a/b":1}`, "/a~1b: type; properties"},
		{`{"properties":{"items":{"type":"null"}}}`, `{"items":1}`, "/items: type; properties"},
		{`{"additionalProperties":false}`, `{"x":1}`, "additionalProperties"},
		{`{"anyOf":[{"type":"string"},{"type":"null"}]}`, `1`, "anyOf; type"},
		{`{"properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"type":"integer"}}}`, `{"a":"x"}`, "/a: type"},
		{`{"type":"boolean"}`, `false`, ""},
		{`{"type":"null"}`, `null`, ""},
		{`{"type":"number"}`, `0`, ""},
		{`{"type":"string"}`, `""`, ""},
		{`{"type":"integer"}`, `123456789012345678901234567890`, ""},
		{`{"type":"string","format":"date"}`, `"2024-05-01"`, ""},
		{`{"type":"string","format":"date"}`, `"tomorrow"`, "format"},
		{`{"type":"string","format":"time"}`, `"10:00:00"`, ""},
		{`{"type":"string","format":"time"}`, `"10:00:00.5+01:00"`, ""},
		{`{"type":"string","format":"time"}`, `"10:00"`, ""},
		{`{"type":"string","format":"time"}`, `"10"`, "format"},
		{`{"type":"string","format":"date-time"}`, `"2024-05-01T10:00:00"`, ""},
		{`{"type":"string","format":"date-time"}`, `"2024-05-01T10:00:00Z"`, ""},
		{`{"type":"string","format":"date-time"}`, `"2024-05-01"`, "format"},
		{`{"type":"string","format":"own"}`, `"x"`, ""},
	} {
		err := Validate(c.schema, []byte(c.value))
		var v *Violation
		if c.reason == "" && err != nil || c.reason != "" && (!errors.As(err, &v) || v.Reason != c.reason) {
			t.Errorf("%s against %s: %v (%+v), want %q", c.value, c.schema, err, v, c.reason)
		}
	}
}

func TestWhatCannotBeChecked(t *testing.T) {
	t.Parallel()
	for _, value := range []string{`{`, ``, `1 2`, `1e5000`, strings.Repeat("9", 2000), strings.Repeat("[", 20_000)} {
		var v *Violation
		if err := Validate(`{"multipleOf":3}`, []byte(value)); err == nil || errors.As(err, &v) {
			t.Errorf("%.20s: %v", value, err)
		}
	}
	if err := Validate(`{"$ref":"#"}`, []byte("1")); err == nil {
		t.Error("a schema that refers to nothing but itself is taken")
	}
}

func TestACheckEndsInTime(t *testing.T) { // alone: it looks at what else is being checked
	for _, c := range []struct{ dialect, keyword, leaf string }{
		{"https://json-schema.org/draft/2020-12/schema", "anyOf", `{"type":"string"}`},
		{"http://json-schema.org/draft-07/schema", "allOf", `{}`},
	} {
		var defs strings.Builder
		for i := range 60 { // each is checked twice as often as the one before
			fmt.Fprintf(&defs, `"d%d":{"%s":[{"$ref":"#/definitions/d%d"},{"$ref":"#/definitions/d%d"}]},`, i, c.keyword, i+1, i+1)
		}
		schema := fmt.Sprintf(`{"$schema":"%s","$ref":"#/definitions/d0","definitions":{%s"d60":%s}}`, c.dialect, defs.String(), c.leaf)
		doc, err := object(schema)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(200*time.Millisecond, doc, []byte("1")); err == nil || !strings.Contains(err.Error(), "longer than") {
			t.Errorf("%+v: %v", c, err)
		}
		for end := time.Now().Add(10 * time.Second); len(checking) > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%+v: the check goes on for ever", c)
			}
		}
	}
}

func TestInitial(t *testing.T) {
	t.Parallel()
	schema := `{"type":"object","required":["a","o"],"properties":{"a":{"type":"integer"},"required":{"type":"string"},
		"o":{"type":"object","required":["x"]},"r":{"$ref":"#/$defs/R"}},"$defs":{"R":{"required":["y"]}}}`
	for value, ok := range map[string]bool{
		`{}`: true, `{"o":{}}`: true, `{"a":1}`: true, `{"a":"x"}`: false, `[]`: false, `{"r":{}}`: false, `{"r":{"y":1}}`: true,
		`{"required":1}`: false, `{"required":"x"}`: true,
	} {
		if err := CheckInitial(schema, []byte(value)); (err == nil) != ok {
			t.Errorf("%s: %v, want accepted %v", value, err, ok)
		}
	}
}

func FuzzValidate(f *testing.F) {
	f.Add(`{"type":"object","properties":{"a":{"multipleOf":2}}}`, `{"a":3}`)
	f.Add(`{"$ref":"#"}`, `1e10`)
	f.Fuzz(func(t *testing.T, schema, value string) {
		if err := Validate(schema, []byte(value)); err != nil && err.Error() == "" {
			t.Error("refused without a word")
		}
	})
}
