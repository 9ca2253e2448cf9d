package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coflux-mesh/coflux/cmd/internal/checker"
	"github.com/coflux-mesh/coflux/node/api/client"
)

// runs lists all runs as a node sees them, by id.
func (m *mesh) runs(n *node) map[string]client.RunSummary {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	all := map[string]client.RunSummary{}
	for cursor := ""; ; {
		page, err := n.client.Runs(ctx, m.workspace, 500, cursor)
		if err != nil {
			m.t.Fatalf("list runs through %s: %v", n.name, err)
		}
		for _, r := range page.Value.Runs {
			all[r.RunID] = r
		}
		if page.Value.Cursor == nil {
			return all
		}
		cursor = *page.Value.Cursor
	}
}

// settle waits until nothing is queued or running. It gives up when for so long nothing has come to an end.
func (m *mesh) settle(still time.Duration) {
	m.t.Helper()
	least := -1
	for {
		left := least
		what := poll(still, func() string {
			ctx, cancel := context.WithTimeout(m.t.Context(), 12*time.Second)
			defer cancel()
			queue, err := m.running()[0].client.Queue(ctx, m.workspace)
			if err != nil {
				return err.Error()
			}
			if left = len(queue.Value); left == 0 || least < 0 || left < least {
				return ""
			}
			for id, q := range queue.Value {
				return fmt.Sprintf("%d executions have no result, for one %s of %s/%s", left, id, q.Module, q.Target)
			}
			return ""
		})
		if what != "" {
			m.t.Fatalf("for %s nothing came to an end: %s (I7)", still, what)
		}
		if least = left; left == 0 {
			return
		}
	}
}

// verify checks the promises over all that happened. Nothing may be running any more. exactly is for histories in which
// no executing node was lost: each body of an acknowledged run ran once and to its end.
func (m *mesh) verify(exactly bool) {
	m.t.Helper()
	up := m.running()
	first := m.runs(up[0])
	for _, n := range up[1:] {
		if diff := cmp.Diff(first, m.runs(n)); diff != "" {
			m.t.Errorf("%s and %s do not see the same runs (I14):\n%s", up[0].name, n.name, diff)
		}
	}
	events := m.hist.all()
	started, ended := m.counts()
	for _, e := range events {
		if exactly && e.Op == "submit" && e.Phase == "ok" && (started[e.Token] != 1 || ended[e.Token] != 1) {
			m.t.Errorf("the body of %s, run %s, began %d times and ended %d times (I5): it %s", e.Token, e.Run, started[e.Token], ended[e.Token],
				m.story(up[0], e.Run))
		}
	}
	for token, n := range started {
		if most := m.most(token); n > most {
			m.t.Errorf("%d bodies of %s have begun, at most %d may (I5)", n, token, most)
		}
	}
	for _, e := range m.effects() {
		id, boot, _ := strings.Cut(e.Boot, "/")
		events = append(events, checker.Event{Type: checker.TypeEffect, Event: e.Event, Execution: e.Execution, Token: e.Token, Node: id,
			Boot: boot, PID: e.PID, At: e.Mono, Child: e.Child, Value: e.Value, Status: map[bool]string{true: client.ResultValue}[e.Child != ""]})
	}
	for _, n := range up {
		events = append(events, m.finals(n, first)...)
	}
	m.check(events)
}

// most is how many bodies of a token may begin. Those that begin with "any." are called by several runs, a
// patient one (.p) is suspended, a trek (.t) is durable, and what they have called and lost they call again; what the module's web calls ends in a letter for its kind.
func (m *mesh) most(token string) int {
	switch {
	case strings.HasPrefix(token, "any."), strings.Contains(token+".", ".p."), strings.Contains(token+".", ".t."):
		return 1_000_000
	case strings.HasSuffix(token, ".r") || strings.HasSuffix(token, ".a"):
		return 3
	}
	return 1 + m.retries[token]
}

// story tells what became of a run, for people.
func (m *mesh) story(n *node, run string) string {
	_, root := m.document(n, run).Steps[run+":1"].Latest()
	where := "no node"
	if root.Node != nil {
		where = *root.Node
	}
	return fmt.Sprintf("was given to %s and ended with %v", where, outcome(root.Result))
}

// finals is what a node says of all executions in the end.
func (m *mesh) finals(n *node, runs map[string]client.RunSummary) (events []checker.Event) {
	m.t.Helper()
	for run := range runs {
		doc := m.document(n, run)
		for id, step := range doc.Steps {
			for attempt, x := range step.Executions {
				e := outcome(x.Result)
				if r := step.Retries; r != nil {
					e.Backoff, e.Retries = min(r.BackoffMin, r.BackoffMax), -1
					if r.Limit != nil {
						e.Retries = *r.Limit
					}
				}
				if step.Durable {
					e.Retries = -1
				}
				if r := x.Result; r != nil {
					for _, next := range []*int{r.Retry, r.Successor} {
						if next != nil {
							e.Retry = *next
						}
					}
					if r.Execution != nil {
						e.Link = r.Execution.ExecutionID
					}
				}
				e.Call = step.Module + "/" + step.Target
				for _, a := range step.Arguments {
					e.Call += " " + compact(string(a.Data))
				}
				if id == run+":1" && doc.Parent != nil {
					e.Parent = doc.Parent.ExecutionID
				}
				e.Type, e.Node, e.Run, e.Execution = checker.TypeFinal, n.name, run, id+":"+attempt
				if step.ParentID != nil {
					e.Parent = *step.ParentID
				}
				if len(step.Arguments) > 0 {
					_ = json.Unmarshal(step.Arguments[0].Data, &e.Token) // not all are tokens
				}
				events = append(events, e)
			}
		}
	}
	return events
}

// check has the checker decide; a history that breaks a promise is kept.
func (m *mesh) check(events []checker.Event) {
	m.t.Helper()
	h, err := checker.New(events)
	if err != nil {
		m.t.Fatal(err)
	}
	broken := false
	for _, v := range checker.Check(h) {
		m.t.Logf("%-3s %-11s %6d  %s", v.Invariant, v.Status, v.Looked, v.Promise)
		if v.Status == checker.Violated {
			broken = true
			m.t.Errorf("%s is broken %d times:\n%s", v.Invariant, v.Found, strings.Join(v.Problems, "\n"))
		}
	}
	if !broken {
		return
	}
	f, err := os.CreateTemp("", "coflux-history-*.jsonl")
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	for enc, i := json.NewEncoder(f), 0; i < len(events); i++ {
		if err := enc.Encode(events[i]); err != nil {
			m.t.Fatal(err)
		}
	}
	m.t.Logf("the history is kept in %s", f.Name())
}
