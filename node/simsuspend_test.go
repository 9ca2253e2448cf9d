package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/coflux-mesh/coflux/scheduler"
)

// memoised calls work in a way that every attempt finds it again.
func (b *simBody) memoised(arg string) (string, error) {
	return b.submitWith(pyexec.SubmitRequest{Memo: json.RawMessage("true")}, "work", arg)
}

// suspended are the programs that give their process up.
var suspended = map[string]program{
	"work": work,
	// frugal waits for works of the given times: "TIMEOUT WORK..."
	"frugal": func(b *simBody, arg string) (string, error) {
		words := strings.Fields(arg)
		timeout, err := time.ParseDuration(words[0])
		if err != nil {
			return "", err
		}
		var handles []string
		for _, each := range words[1:] {
			h, err := b.memoised(each)
			if err != nil {
				return "", err
			}
			handles = append(handles, h)
		}
		out, err := b.suspends(timeout, handles...)
		switch {
		case err != nil:
			return "", err
		case out == nil:
			b.sleep(time.Second) // a reply right before the end
			return "", errors.New("the process lives on")
		}
		return outcomeText(out)
	},
	// dozes suspends itself twice.
	"dozes": func(b *simBody, arg string) (string, error) {
		if strings.HasSuffix(b.job.ExecutionID, ":3") {
			return arg, nil
		}
		d, err := time.ParseDuration(arg)
		if err != nil {
			return "", err
		}
		ch := make(chan error, 1)
		b.say(func() {
			b.host.Suspend(pyexec.SuspendRequest{Delay: pyexec.Millis(d.Milliseconds()), ExecuteAfter: 1}, func(err error) { ch <- err })
		})
		if err := take(b, ch); err != nil {
			return "", err
		}
		b.sleep(time.Minute)
		return "", errors.New("the process lives on")
	},
	// both waits in two threads, in one of them without a time.
	"both": func(b *simBody, arg string) (string, error) {
		h, err := b.memoised("500ms")
		if err != nil || strings.HasSuffix(b.job.ExecutionID, ":2") {
			return arg, err
		}
		answers := b.runner.node.c.answers
		b.number += 2
		select1 := pyexec.SelectRequest{Number: b.number - 1, Suspend: true, Handles: []pyexec.Handle{{Type: "execution", ID: h}}}
		select2 := select1
		now := pyexec.Millis(20)
		select2.Number, select2.Timeout = b.number, &now
		for _, req := range []pyexec.SelectRequest{select1, select2} {
			b.say(func() {
				b.host.Select(req, func(o *pyexec.Outcome, err error) { answers <- fmt.Sprint(o, err) })
			})
		}
		b.sleep(time.Minute)
		return "", errors.New("the process lives on")
	},
	// first waits for one of two that others called, after the second of them.
	"first": func(b *simBody, arg string) (string, error) {
		handles := strings.Fields(arg)
		if _, err := b.selects(-1, handles[1]); err != nil {
			return "", err
		}
		out, err := b.selects(time.Second, handles...)
		if err != nil {
			return "", err
		}
		_, err = b.selects(-1, "Rnone:1:1", handles[0], handles[1])
		return fmt.Sprint(out.Winner, " ", err), nil
	},
	// waits is the time that a wait of the given time takes.
	"waits": func(b *simBody, arg string) (string, error) {
		h, err := b.submit("work", "1h")
		if err != nil {
			return "", err
		}
		timeout, err := time.ParseDuration(arg)
		if err != nil {
			return "", err
		}
		began := time.Now()
		if out, err := b.selects(timeout, h); out != nil || err != nil {
			return "", fmt.Errorf("%v %w", out, err)
		}
		return time.Since(began).Round(time.Second / 2).String(), nil
	},
}

// attempts are those of a root.
func (c *simCluster) attempts(id state.ExecutionID) (n int) {
	for range c.led().store.View().Attempts(id.StepID()) {
		n++
	}
	return n
}

// A wait that finds nothing within its time gives the process up, and goes on when one of the handles is final.
func TestSimSuspendingWaits(t *testing.T) {
	inCluster(t, 1, 2, suspended, func(t *testing.T, c *simCluster) {
		for arg, want := range map[string]struct {
			value    string
			attempts int
		}{
			"0s 300ms":           {"300ms", 2},
			"50ms 300ms":         {"300ms", 2},
			"10s 300ms":          {"300ms", 1},
			"10s 300ms 400ms":    {"300ms", 1},
			"20ms 500ms 100ms":   {"", 2}, // what others called may still run
			"30ms 30ms":          {"", 0},
			"1ms 0s":             {"", 0},
			"0s 1ms 1ms":         {"", 0},
			"100ms 99ms 5s 98ms": {"", 0},
		} {
			id := c.trigger("frugal", arg)
			if r := c.await(id, time.Minute); r == nil || r.Type != state.ResultValue || want.value != "" && string(r.Value.Data) != fmt.Sprintf("%q", want.value) {
				t.Errorf("%s gave %+v", arg, r)
			}
			if n := c.attempts(id); want.attempts > 0 && n != want.attempts {
				t.Errorf("%s took %d attempts, want %d", arg, n, want.attempts)
			}
		}
	})
}

// All waits of a suspended execution are answered, with nothing, before its process ends.
func TestSimSuspensionAnswersAllWaits(t *testing.T) {
	inCluster(t, 1, 1, suspended, func(t *testing.T, c *simCluster) {
		c.answers = make(chan string, 4)
		c.value(c.trigger("both", "x"), time.Minute, `"x"`)
		for range 2 {
			select {
			case got := <-c.answers:
				if got != "<nil> <nil>" {
					t.Errorf("a wait was answered with %s", got)
				}
			default:
				t.Error("a wait was not answered")
			}
		}
	})
}

// One slot is enough however many wait, because the suspended hold no process.
func TestSimTheSuspendedHoldNoProcess(t *testing.T) {
	inCluster(t, 1, 1, suspended, func(t *testing.T, c *simCluster) {
		var ids []state.ExecutionID
		for n := range 60 {
			ids = append(ids, c.trigger("frugal", fmt.Sprintf("0s %dms", 100+n)))
		}
		for _, id := range ids {
			if r := c.await(id, time.Minute); r.Type != state.ResultValue {
				t.Errorf("%s ended as %+v", id, r)
			}
		}
		c.sweepEffects(func(open map[string]effect) {
			if len(open) > 3 {
				t.Errorf("%d processes at once", len(open))
			}
		})
	})
}

// The next attempt starts when the process of the one before is gone, after the delay, whatever the leaders do.
func TestSimSuspensionThroughLeaders(t *testing.T) {
	inCluster(t, 3, 2, suspended, func(t *testing.T, c *simCluster) {
		began := c.clock()
		id := c.trigger("dozes", "2s")
		waits := c.trigger("frugal", "1s 8s")
		time.Sleep(900 * time.Millisecond)
		c.led().freeze()
		for range 2 {
			time.Sleep(1500 * time.Millisecond)
			c.eventually("somebody leads", 10*time.Second, func() bool { return c.leader() != nil })
		}
		for _, n := range c.all() {
			n.thaw()
		}
		c.value(id, 30*time.Second, `"2s"`)
		if took := c.clock() - began; took < 4*time.Second {
			t.Errorf("two delays of 2s took %v", took)
		}
		if r := c.await(waits, 60*time.Second); r.Type != state.ResultValue && r.Type != state.ResultAbandoned {
			t.Errorf("%+v", r)
		}
		for _, root := range []state.ExecutionID{id, waits} {
			var before *effect
			for attempt := 1; attempt <= c.attempts(root); attempt++ {
				root.Attempt = attempt
				for _, e := range c.effects.of(root.String()) {
					if before != nil && (before.end == 0 || before.end > e.start) {
						t.Errorf("%s began while %s was alive", e.execution, before.execution)
					}
					before = &e
				}
			}
		}
	})
}

// Of several that are final the first wins, also where the agent was told of another only; and an unknown one spoils all.
func TestSimTheFirstOfTheFinalWins(t *testing.T) {
	inCluster(t, 3, 2, suspended, func(t *testing.T, c *simCluster) {
		var handles []string
		for range 2 {
			id := c.trigger("waits", "0s")
			c.value(id, time.Minute, `"0s"`)
			handles = append(handles, id.String())
		}
		for range 4 {
			c.value(c.trigger("first", strings.Join(handles, " ")), time.Minute, `"0 select_error: not_found: execution Rnone:1:1 does not exist"`)
		}
	})
}

// The time of a wait goes on while the lead changes.
func TestSimTheTimeOfAWaitOutlivesLeaders(t *testing.T) {
	inCluster(t, 3, 4, suspended, func(t *testing.T, c *simCluster) {
		var ids []state.ExecutionID
		for range 3 {
			ids = append(ids, c.trigger("waits", "6s"))
		}
		for range 3 {
			time.Sleep(1500 * time.Millisecond)
			_ = c.led().host.TransferLeadership(t.Context())
		}
		for _, id := range ids {
			c.value(id, 30*time.Second, `"6s"`)
		}
	})
}

// What becomes final between the end of a wait and the decision has the next attempt start at once.
func TestSimEndsThatRaceSuspensions(t *testing.T) {
	inCluster(t, 1, 2, suspended, func(t *testing.T, c *simCluster) {
		var ids []state.ExecutionID
		for n := range 40 {
			ids = append(ids, c.trigger("frugal", fmt.Sprintf("%dms %dms", 20+n%5, 18+n%7)))
		}
		for _, id := range ids {
			if r := c.await(id, time.Minute); r.Type != state.ResultValue {
				t.Errorf("%s ended as %+v", id, r)
			}
		}
		view := c.led().store.View()
		for _, id := range ids {
			for e := range view.RunExecutions(id.Run, 0) {
				if len(scheduler.WaitsFor(view, e)) > 0 || e.Wait != state.WaitNone {
					t.Errorf("%s still waits", e.ID())
				}
			}
		}
	})
}
