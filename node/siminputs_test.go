package node

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/oklog/ulid/v2"
)

// asks makes an input and gives its id.
func (b *simBody) asks(req pyexec.InputRequest) (string, error) {
	b.number++
	req.Number = b.number
	type answer struct {
		id  string
		err error
	}
	ch := make(chan answer, 1)
	b.say(func() {
		b.host.Input(req, func(r pyexec.InputReply, err error) { ch <- answer{r.InputID, err} })
	})
	a := take(b, ch)
	return a.id, a.err
}

// hears waits for the response to an input, or polls.
func (b *simBody) hears(id string, poll bool) (*pyexec.Outcome, error) {
	b.number++
	req := pyexec.SelectRequest{Number: b.number, Handles: []pyexec.Handle{{Type: "input", ID: id}}}
	if poll {
		req.Timeout = new(pyexec.Millis)
	}
	type answer struct {
		out *pyexec.Outcome
		err error
	}
	ch := make(chan answer, 1)
	b.say(func() {
		b.host.Select(req, func(o *pyexec.Outcome, err error) { ch <- answer{o, err} })
	})
	a := take(b, ch)
	return a.out, a.err
}

// asking are the programs "ask", which asks and waits, and "poll", which asks and looks every 200 ms. began is told by
// execution when they begin to.
func asking(began *sync.Map) map[string]program {
	ask := func(b *simBody) (string, error) {
		id, err := b.asks(pyexec.InputRequest{Template: "Go on?", Schema: `{"type":"string"}`})
		b.sleep(time.Second) // the mesh is idle now
		began.Store(b.job.ExecutionID, time.Now())
		return id, err
	}
	return map[string]program{
		"ask": func(b *simBody, _ string) (string, error) {
			id, err := ask(b)
			if err != nil {
				return "", err
			}
			out, err := b.hears(id, false)
			if err != nil {
				return "", err
			}
			return outcomeText(out)
		},
		"poll": func(b *simBody, _ string) (string, error) {
			id, err := ask(b)
			if err != nil {
				return "", err
			}
			for {
				out, err := b.hears(id, true)
				if err != nil {
					return "", err
				}
				if out != nil {
					return outcomeText(out)
				}
				b.sleep(200 * time.Millisecond)
			}
		},
	}
}

// An input is shown to people within 50 ms of being waited for, though nothing else happens in the mesh (A17), and it reaches
// whoever waits, though the lead goes to another node meanwhile.
func TestSimInputs(t *testing.T) {
	var times sync.Map
	inCluster(t, 3, 1, asking(&times), func(t *testing.T, c *simCluster) {
		for _, target := range []string{"ask", "poll"} {
			root := c.trigger(target, "")
			var began any
			c.eventually("it waits", 10*time.Second, func() (ok bool) { began, ok = times.Load(root.String()); return ok })
			in := state.InputID{Run: root.Run, Number: 1}
			c.eventually("it is listed", time.Second, func() bool {
				l := c.leader()
				return l != nil && scheduler.Awaited(l.store.View(), in)
			})
			if took := time.Since(began.(time.Time)); took > lazyDelay+50*time.Millisecond {
				t.Errorf("%s: listed after %s", target, took)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_ = c.led().host.TransferLeadership(ctx)
			cancel()
			time.Sleep(2 * time.Second)
			r := &scheduler.RespondInput{RequestID: ulid.Make().String(), Input: in.String(), Value: state.Value{Data: []byte(`"yes"`)}}
			c.eventually("it is answered", 10*time.Second, func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				reply, err := c.led().coord.do(ctx, r)
				if err == nil && reply.Err != nil {
					t.Fatal(reply.Err)
				}
				return err == nil
			})
			c.value(root, time.Second, `"yes"`)
		}
	})
}

// Questions are taken back together although all of them do not fit an entry.
func TestSimLargeInputsAreTakenBackTogether(t *testing.T) {
	const questions = 12
	programs := map[string]program{"regrets": func(b *simBody, _ string) (string, error) {
		var handles []pyexec.Handle
		for range questions {
			id, err := b.asks(pyexec.InputRequest{Template: strings.Repeat("?", 100<<10)})
			if err != nil {
				return "", err
			}
			handles = append(handles, pyexec.Handle{Type: "input", ID: id})
		}
		ch := make(chan error, 1)
		b.say(func() { b.host.Cancel(pyexec.CancelRequest{Handles: handles}, func(err error) { ch <- err }) })
		return "1", take(b, ch)
	}}
	inCluster(t, 1, 1, programs, func(t *testing.T, c *simCluster) {
		root := c.trigger("regrets", "")
		c.value(root, 10*time.Second, `"1"`)
		for n := range questions {
			in := c.led().store.View().Input(state.InputID{Run: root.Run, Number: n + 1})
			if in.Response == nil || in.Response.Type != state.ResponseCancelled {
				t.Errorf("question %d ended as %+v", n+1, in.Response)
			}
		}
	})
}

// treeAsks asks what others of the run may ask too, and waits; it notes what it hears.
func treeAsks(b *simBody, key string) error {
	id, err := b.asks(pyexec.InputRequest{Template: "?", Key: key})
	if err != nil {
		return err
	}
	out, err := b.hears(id, false)
	if err == nil && out.Status == pyexec.StatusOK {
		b.runner.node.c.heard.Store([2]string{b.job.ExecutionID, id}, string(out.Value.Value))
	}
	return err
}

// people answer what is listed, each question with a word of its own, until the returned function is called.
func (n *nemesis) people() (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if l := n.leader(); l != nil {
				view := l.store.View()
				if w := view.WorkspaceByName("p", "w"); w != nil {
					for in := range view.OpenInputs(w.ID) {
						if scheduler.Awaited(view, in.ID()) {
							id := ulid.Make().String()
							n.ask(&scheduler.RespondInput{RequestID: id, Input: in.ID().String(), Value: state.Value{Data: []byte(`"` + id + `"`)}})
						}
					}
				}
			}
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	return sync.OnceFunc(func() { close(done); wg.Wait() })
}

// checkHeard holds what bodies heard against what is recorded.
func (n *nemesis) checkHeard() {
	n.t.Helper()
	view := n.led().store.View()
	n.heard.Range(func(key, value any) bool {
		id, _ := state.ParseInputID(key.([2]string)[1])
		if in := view.Input(id); in == nil || in.Response == nil || string(in.Response.Value.Data) != value {
			n.t.Errorf("%v heard %v, recorded is %+v", key, value, in)
		}
		return true
	})
}
