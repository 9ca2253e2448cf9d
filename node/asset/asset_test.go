package asset

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func list(paths ...string) List {
	l := List{Entries: map[string]Entry{}}
	for i, p := range paths {
		l.Entries[p] = Entry{BlobKey: strings.Repeat("ab", 32), Size: int64(i)}
	}
	return l
}

func TestListsThatSayTheSameAreEncodedAlike(t *testing.T) {
	name := "n"
	one := List{Name: &name, Entries: map[string]Entry{}}
	err := json.Unmarshal([]byte(`{"b/x":["k",3,{"z":1.50,"a":"<"}],"a":["l",2]}`), &one.Entries)
	if err != nil {
		t.Fatal(err)
	}
	two := List{Name: &name, Entries: map[string]Entry{}}
	if err := json.Unmarshal([]byte(`{"a":["l",2,{}], "b/x":["k",3,{"a":"\u003c","z":1.50}]}`), &two.Entries); err != nil {
		t.Fatal(err)
	}
	a, errA := Encode(one)
	b, errB := Encode(two)
	if errA != nil || errB != nil || string(a) != string(b) {
		t.Fatalf("%s %v\n%s %v", a, errA, b, errB)
	}
	back, err := Decode(a)
	if err != nil || back.Size() != 5 || *back.Name != "n" || fmt.Sprint(back.Entries["b/x"].Metadata["z"]) != "1.50" {
		t.Errorf("%+v %v", back, err)
	}
}

func TestWhatIsNoAssetIsRefused(t *testing.T) {
	long := "x"
	for name, l := range map[string]List{
		"empty":             list(),
		"absolute":          list("/a"),
		"leads out":         list("a/../../b"),
		"parent":            list(".."),
		"not plain":         list("a//b"),
		"dot":               list("./a"),
		"nothing":           list(""),
		"NUL":               list("a\x00b"),
		"file as directory": list("a", "a/b"),
		"the same, apart":   list("a", "a b", "a-", "a/b"),
		"long path":         list(strings.Repeat(long, maxPath+1)),
		"negative":          {Entries: map[string]Entry{"a": {Size: -1}}},
		"metadata":          {Entries: map[string]Entry{"a": {Metadata: map[string]any{"m": strings.Repeat(long, maxMetadata)}}}},
	} {
		if text, err := Encode(l); err == nil {
			t.Errorf("%s: encoded as %s", name, text)
		}
	}
	for _, l := range []List{list("a"), list("..a"), list("a b/c", "a/c", "a-"), list("...")} {
		if _, err := Encode(l); err != nil {
			t.Error(err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"name":"n","entries":{"a/b":["00",3,{"type":"text/plain"}]}}`))
	f.Add([]byte(`{"entries":{"..":[]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := Decode(text)
		if err != nil {
			return
		}
		again, err := Encode(l)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if third, err := Decode(again); err != nil || len(third.Entries) != len(l.Entries) {
			t.Fatalf("%s: %v", again, err)
		}
	})
}
