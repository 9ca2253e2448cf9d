package consensus

import (
	"strings"
	"testing"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	// says is the answer of a server in term 7 whose log reaches entry 90, as it is changed.
	says := func(id string, change ...func(*answer)) answer {
		a := answer{Node: id, Term: 7, Status: &status{logEnd: logEnd{LastIndex: 90, LastTerm: 7}}, View: &view{Voters: []string{"a", "b", "x"}}}
		for _, f := range change {
			f(&a)
		}
		return a
	}
	leads := func(a *answer) { a.View.Leads = true }
	voters := func(ids string) func(*answer) { return func(a *answer) { a.View.Voters = strings.Fields(ids) } }
	all := func(answers ...answer) map[string]answer {
		out := map[string]answer{}
		for _, a := range answers {
			out[a.Node] = a
		}
		return out
	}
	for name, tc := range map[string]struct {
		first, second map[string]answer
		want          string // "" = proved
		final         bool
	}{
		"two of three": {first: all(says("a", leads), says("b")), second: all(says("a", leads), says("b"))},
		"its log grew meanwhile": {first: all(says("a", leads), says("b")),
			second: all(says("a", leads, func(a *answer) { a.Status.LastIndex = 99 }), says("b"))},
		"a replica was damaged": {first: all(says("a", leads, voters("a"))), second: all(says("a", leads))},
		"it was in no configuration any more": {first: all(says("a", leads, voters("a b c"))),
			second: all(says("a", leads), says("b"))},
		"three of five": {first: all(says("a", leads, voters("a b c d x"))),
			second: all(says("a", leads), says("b"), says("c"))},
		"two of five": {first: all(says("a", leads, voters("a b c d x"))), second: all(says("a", leads), says("b")),
			want: "only 2 of its 5 voters"},
		"nobody":         {want: "0 other nodes"},
		"no leader":      {first: all(says("a"), says("b")), want: "2 other nodes of the cluster answer, and none of them leads"},
		"one of three":   {first: all(says("a", leads)), second: all(says("a", leads)), want: "only 1 of its 3 voters"},
		"one of two":     {first: all(says("a", leads, voters("a x"))), second: all(says("a", leads)), want: "only 1 of its 2 voters"},
		"the only voter": {first: all(says("b", voters("x"))), want: "none of them leads"},
		"itself does not count": {first: all(says("a", leads)), second: all(says("a", leads), says("x")),
			want: "only 1 of its 3 voters"},
		"a later term": {first: all(says("a", leads)),
			second: all(says("a", leads), says("b", func(a *answer) { a.Term = 8 })), want: "only 1 of its 3"},
		"an earlier term": {first: all(says("a", leads)),
			second: all(says("a", leads), says("b", func(a *answer) { a.Term = 6 })), want: "only 1 of its 3"},
		"a log that is behind": {first: all(says("a", leads)),
			second: all(says("a", leads), says("b", func(a *answer) { a.Status.LastIndex = 89 })), want: "only 1 of its 3"},
		"a log of another term": {first: all(says("a", leads)),
			second: all(says("a", leads), says("b", func(a *answer) { a.Status.LastTerm = 6 })), want: "only 1 of its 3"},
		"it leads no more": {first: all(says("a", leads)), second: all(says("a"), says("b")), want: "the node a leads, but"},
		"a former leader counts no more": {first: all(says("b", leads, func(a *answer) { a.Term = 6 }), says("a", leads)),
			second: all(says("a", leads), says("b", leads, func(a *answer) { a.Term = 6 })), want: "the node a leads, but without this node only 1"},
		"removed": {first: all(says("a", leads), says("b", func(a *answer) { a.View.Removed = true })),
			second: all(says("a", leads), says("b")), want: "has removed the node x", final: true},
		"still heard": {first: all(says("a", leads, func(a *answer) { a.View.Hears = true }), says("b")),
			second: all(says("a", leads), says("b")), want: "hears another process"},
		"it runs elsewhere": {first: all(says("a", leads), says("b"), says("x")),
			second: all(says("a", leads), says("b")), want: "a copy of its own", final: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			why, final := testimony{old: "x", first: tc.first, second: tc.second}.verdict()
			if (tc.want == "") != (why == "") || !strings.Contains(why, tc.want) || final != tc.final {
				t.Fatalf("got %q, %v; want %q, %v", why, final, tc.want, tc.final)
			}
		})
	}
}
