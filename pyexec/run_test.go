package pyexec

import (
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
