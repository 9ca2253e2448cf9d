package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTagsOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		items []string
		want  map[string][]string
	}{
		{nil, map[string][]string{}},
		{[]string{"gpu"}, map[string][]string{"gpu": {"true"}}},
		{[]string{"region:eu", " region:us;gpu ", ""}, map[string][]string{"region": {"eu", "us"}, "gpu": {"true"}}},
		{[]string{":a", "b:"}, map[string][]string{"": {"a"}, "b": {""}}}, // refused by the node, in its words
	} {
		if diff := cmp.Diff(tt.want, tagsOf(tt.items)); diff != "" {
			t.Errorf("%q: %s", tt.items, diff)
		}
	}
}
