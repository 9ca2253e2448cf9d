package pyexec

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTraceback(t *testing.T) {
	t.Parallel()
	files, _ := filepath.Glob("testdata/traceback/*.txt")
	if len(files) == 0 {
		t.Fatal("no texts")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		golden, err := os.ReadFile(strings.TrimSuffix(file, ".txt") + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var want []Frame
		if err := json.Unmarshal(golden, &want); err != nil {
			t.Fatal(err)
		}
		got := parseTraceback(string(text))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
		if len(want) > 1 {
			if diff := cmp.Diff(want, parseTraceback(formatTraceback(got))); diff != "" {
				t.Errorf("%s does not survive formatting: %s", file, diff)
			}
		}
	}
}

// Lines reach the handler whole and in order however the pipe cuts them.
func TestTap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		cut  bool
		in   []string
		want []string
	}{
		{"pieces", false, []string{"a", "b\nc\n", "\n", "d"}, []string{"ab", "c", ""}},
		{"unfinished output", true, []string{"ab\nc"}, []string{"ab", "c"}},
		{"long output", true, []string{strings.Repeat("x", 15) + "éé" + "\n"}, []string{strings.Repeat("x", 8), "xxxxxxx", "éé"}},
		{"long message", false, []string{"ok\n", "0123", "45678", "9\n"}, []string{"ok", "(long)", "9"}},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		tp, err := newTap(r, 8, c.cut)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		tp.onLine = func(b []byte) { got = append(got, string(b)) }
		tp.onLong = func() { got = append(got, "(long)") }
		for _, s := range c.in {
			if _, err := w.WriteString(s); err != nil {
				t.Fatal(err)
			}
			tp.drain()
		}
		tp.finish()
		w.Close()
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}
