package scheduler

import (
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// broken is a request whose decision has a bug or is refused after it has written.
type broken struct{ how string }

func (b *broken) decide(d *decision) (Answer, error) {
	d.Put(&state.Setting{Name: "trace", Value: 1})
	d.tell(EventFinished, "trace", state.ExecutionID{Run: "R", Step: 1, Attempt: 1})
	answer := Answer{RunID: "trace"}
	switch b.how {
	case "panics":
		panic("a bug")
	case "nil":
		var s *state.Session
		return answer, refuse(CodeBadRequest, "%s", s.ID)
	case "refused":
		return answer, refuse(CodeBadRequest, "no")
	case "too large":
		d.Put(&state.Run{ID: strings.Repeat("x", state.MaxEntry)})
	}
	return answer, nil
}

func TestABadRequestSpoilsNothing(t *testing.T) {
	t.Parallel()
	for how, code := range map[string]string{"panics": CodeInternal, "nil": CodeInternal, "refused": CodeBadRequest, "too large": CodeTooLarge} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			w := r.workspace()
			told := 0
			scratch := r.store.Scratch()
			out := Step(scratch, Input{Now: r.now, Random: r.ids, Log: func(string, ...any) { told++ },
				Requests: []Request{submitRun(w, r.now), &broken{how}, submitRun(w, r.now)}})
			if len(out.Replies) != 3 || out.Replies[0].Err != nil || out.Replies[2].Err != nil {
				t.Fatalf("replies %+v", out.Replies)
			}
			if e := out.Replies[1].Err; e == nil || e.Code != code || out.Replies[1].Answer != (Answer{}) {
				t.Errorf("the bad one answered %+v", out.Replies[1])
			}
			if (code == CodeInternal) != (told == 1) {
				t.Errorf("%d bugs told", told)
			}
			if scratch.View().Setting("trace", -1) != -1 || len(out.Events) != 0 {
				t.Errorf("left a trace, events %v", out.Events)
			}
			for _, effect := range scratch.Entry(r.now).Effects {
				if effect.Table == state.TableSettings {
					t.Error("its effect is in the entry")
				}
			}
		})
	}
}

func TestBatchLimits(t *testing.T) {
	t.Parallel()
	sized := func(w string, bytes int) *SubmitRun {
		s := submitRun(w, start)
		s.Arguments = []state.Value{{Data: make([]byte, bytes)}}
		return s
	}
	for name, c := range map[string]struct {
		sizes []int
		want  int // decided in the first batch
	}{
		"many small ones":                     {make([]int, 600), 0},
		"the one that crosses the aim is in":  {[]int{60 << 10, 60 << 10, 1}, 2},
		"one of 500 KB is legal":              {[]int{500 << 10, 1}, 1},
		"what does not fit any more waits":    {[]int{60 << 10, 500 << 10, 1}, 1},
		"what fits no entry is refused alone": {[]int{600 << 10, 1, 1}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			w := r.workspace()
			var batch []Request
			for _, n := range c.sizes {
				batch = append(batch, sized(w, n))
			}
			first := len(r.step(batch...))
			if name == "many small ones" {
				if first < 50 || r.entry > state.BatchBytes+2_000 || r.entry < state.BatchBytes-8_000 {
					t.Errorf("%d decided in %d bytes", first, r.entry)
				}
			} else if first != c.want {
				t.Errorf("%d decided, want %d", first, c.want)
			}
			for left := batch[first:]; len(left) > 0; {
				n := len(r.step(left...))
				if n == 0 {
					t.Fatal("stands still")
				}
				left = left[n:]
			}
		})
	}
	t.Run("requests", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		batch := make([]Request, MaxRequests+10)
		for i := range batch {
			batch[i] = &LoseSession{Session: "S9"}
		}
		if n := len(r.step(batch...)); n != MaxRequests {
			t.Errorf("%d decided, want %d", n, MaxRequests)
		}
	})
}

func TestStepIsAFunctionOfItsArguments(t *testing.T) {
	t.Parallel()
	run := func() (uint64, string) {
		r := newRig(t)
		w := r.workspace()
		for _, s := range []string{"S1", "S2", "S3"} {
			r.session(s, 3)
		}
		var text strings.Builder
		var batch []Request
		for i := range 20 {
			s := submitRun(w, start)
			s.RequestID = "01HF7YAT" + strings.Repeat("0", 16) + string(rune('A'+i/10)) + string(rune('0'+i%10))
			batch = append(batch, s)
		}
		r.step(batch...)
		text.WriteString(strings.Join(r.events(), "\n"))
		_, digest := r.store.Digest()
		return digest, text.String()
	}
	d1, e1 := run()
	for range 5 {
		if d2, e2 := run(); d1 != d2 || e1 != e2 {
			t.Fatalf("the same batch gave\n%s\nand\n%s", e1, e2)
		}
	}
}
