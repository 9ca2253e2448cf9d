package api

import (
	"io"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// wideRun gives a run of 10,000 steps.
func wideRun(b *testing.B) (m *memory, s *Server, w, run string) {
	m = clocked(b)
	s, w = m.server(nil)
	m.openSession("s1", "n1", "alpha", workflowTarget("m", "flow"))
	a := m.submit(w, "m", "flow")
	for n := range int64(9999) {
		m.must(&scheduler.SubmitStep{Session: "s1", Parent: a.ExecutionID, Number: n + 1, Module: "m", Target: "task", Type: state.TypeTask,
			Arguments: []state.Value{{Data: []byte("1")}}})
	}
	return m, s, w, a.RunID
}

func BenchmarkRunDocument(b *testing.B) {
	m, _, w, run := wideRun(b)
	b.ResetTimer()
	for b.Loop() {
		body, err := encodeJSON(newRunDoc(m.store.View(), w, run))
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Discard.Write(body)
	}
}

// BenchmarkRunDelta is what one more result of a wide run costs its watcher.
func BenchmarkRunDelta(b *testing.B) {
	m, _, _, run := wideRun(b)
	watch := newRunWatch(seenRun{Run: m.store.View().Run(run)})
	watch.look(m.store.View())
	b.ResetTimer()
	for b.Loop() {
		if docs, _ := watch.look(m.store.View()); len(docs) != 0 {
			b.Fatal("changes out of nothing")
		}
	}
}

func BenchmarkSubmit(b *testing.B) {
	m := newMemory(b)
	s, w := m.server(nil)
	body := `{"workspaceId":"` + w + `","module":"m","target":"t","arguments":[["json","{\"a\":[1,2,3]}"]]}`
	for b.Loop() {
		if rep := ask(s, "POST", "/api/submit_workflow", body); rep.Code != 200 {
			b.Fatal(rep.Body)
		}
	}
}
