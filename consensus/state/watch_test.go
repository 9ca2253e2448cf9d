package state

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"
)

// fires tells whether a watch fires now.
func fires(t *testing.T, w *Watch) bool {
	t.Helper()
	bell := w.watches.hang(w)
	defer w.watches.unhang(w, bell)
	select {
	case <-bell:
		return true
	default:
		return false
	}
}

func TestWatchesFireOnWhatWasRead(t *testing.T) {
	t.Parallel()
	s := New()
	commit(t, s, 1, put(exec("R1", 1), exec("R2", 1)))
	reads := map[string]func(*View){
		"a row":           func(v *View) { v.Execution(ExecutionID{"R1", 1, 1}) },
		"no row":          func(v *View) { v.Execution(ExecutionID{"R1", 7, 1}) },
		"rows of a run":   func(v *View) { drain(v.RunExecutions("R1", 0)) },
		"a whole index":   func(v *View) { drain(v.EndedRoots()) },
		"the last of all": func(v *View) { last[*Execution](v, TableExecutions, "id", "R1\x00") },
	}
	for what, read := range reads {
		v := s.View().Watching()
		read(v)
		if fires(t, v.Changed()) {
			t.Errorf("%s: fires before anything", what)
		}
		commit(t, s, 2, put(exec("R3", 1)))
		if what != "a whole index" && fires(t, v.Changed()) {
			t.Errorf("%s: fires for another run", what)
		}
		e := exec("R1", 1)
		e.Result = &Result{Type: ResultValue}
		commit(t, s, 3, put(e))
		if !fires(t, v.Changed()) {
			t.Errorf("%s: does not fire", what)
		}
		commit(t, s, 4, put(exec("R1", 1)))
	}
	v := s.View().Watching()
	v.Run("R9")
	for i := range remembered {
		commit(t, s, 5, put(exec(fmt.Sprint("Q", i), 1)))
	}
	if !fires(t, v.Changed()) {
		t.Error("what was forgotten is taken for no change")
	}
	v = s.View().Watching()
	v.Run("R9")
	var snapshot bytes.Buffer
	if _, err := s.Freeze().WriteTo(&snapshot); err != nil {
		t.Fatal(err)
	}
	commit(t, s, 6, put(exec("R4", 1)))
	if fires(t, v.Changed()) {
		t.Error("fires for another run")
	}
	if err := s.Restore(&snapshot); err != nil {
		t.Fatal(err)
	}
}

func drain[T any](rows func(func(T) bool)) {
	for range rows {
	}
}

// Whoever waits is woken by the change and by nothing else, and leaves nothing behind.
func TestWaitersAreWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		woken := make(chan string, 2)
		for _, run := range []string{"R1", "R2"} {
			v := s.View().Watching()
			drain(v.RunExecutions(run, 0))
			go func() {
				if err := v.Changed().Wait(context.Background()); err == nil {
					woken <- run
				}
			}()
		}
		synctest.Wait()
		commit(t, s, 1, put(exec("R3", 1)))
		synctest.Wait()
		if len(woken) > 0 {
			t.Errorf("%s was woken by another", <-woken)
		}
		commit(t, s, 2, put(exec("R2", 1)))
		if got := <-woken; got != "R2" {
			t.Errorf("%s was woken", got)
		}
		var replaced bytes.Buffer
		if _, err := New().Freeze().WriteTo(&replaced); err != nil {
			t.Fatal(err)
		}
		if err := s.Restore(&replaced); err != nil {
			t.Fatal(err)
		}
		if got := <-woken; got != "R1" {
			t.Errorf("%s was woken", got)
		}
		synctest.Wait()
		if len(s.watches.bells) > 0 {
			t.Errorf("%d bells hang", len(s.watches.bells))
		}
	})
}
