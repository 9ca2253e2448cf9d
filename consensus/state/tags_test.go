package state

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTagsHaveOneText(t *testing.T) {
	t.Parallel()
	for want, tags := range map[string][]Tags{
		"":                              {nil, {}, {"gpu": {}}},
		"gpu:true;":                     {{"gpu": {"true"}}, {"gpu": {"true", "true"}}, {"gpu": {"true"}, "cpu": nil}},
		"gpu:a100,h100;region:eu;":      {{"region": {"eu"}, "gpu": {"h100", "a100"}}, {"gpu": {"a100", "h100"}, "region": {"eu", "eu"}}},
		"gpu:a100;gpux:1;region:eu,us;": {{"gpux": {"1"}, "region": {"us", "eu"}, "gpu": {"a100"}}},
	} {
		for _, tags := range tags {
			if got := tags.Text(); got != want {
				t.Errorf("%v has the text %q, want %q", tags, got, want)
			}
		}
		again := Tags{}
		for _, r := range ParseRequires(want) {
			again[r.Name] = r.Values
		}
		if got := again.Text(); got != want {
			t.Errorf("%q was read as %v", want, again)
		}
	}
}

func TestClassesDifferByRequirements(t *testing.T) {
	s := New()
	var rows []Row
	for i, requires := range []string{"gpu:a;region:eu;", "", "gpu:b;", "gpu:a;", "", "gpux:1;"} {
		e := exec("R1", i+1)
		e.Requires = requires
		rows = append(rows, e)
	}
	other := exec("R2", 1)
	other.Target = "u"
	commit(t, s, 1, put(append(rows, other)...))
	v := s.View()
	var got []string
	for c := range v.Classes() {
		n := 0
		for e := range v.Queue(c) {
			if e.Class() != c {
				t.Errorf("%s stands in the queue of %v", e.ID(), c)
			}
			n++
		}
		got = append(got, c.Target+" "+c.Requires+" "+string(rune('0'+n)))
	}
	want := []string{"t  2", "t gpu:a; 1", "t gpu:a;region:eu; 1", "t gpu:b; 1", "t gpux:1; 1", "u  1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	first, _ := v.ClassFrom("")
	for past, want := range map[string]string{"": "u ", "\x00": "t gpu:a;", "gpu:": "t gpux:1;", "gpu:a;": "t gpu:b;"} {
		if c, ok := v.ClassFrom(first.Past(past)); !ok || c.Target+" "+c.Requires != want {
			t.Errorf("past %q comes %v, want %q", past, c, want)
		}
	}
	if c, ok := v.ClassFrom((Class{Workspace: "W1", Module: "m", Target: "u", Type: TypeTask}).Past("")); ok {
		t.Errorf("past the last comes %v", c)
	}
}
