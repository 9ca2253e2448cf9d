package node

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// hubWith gives the hub of a leader that decides nothing, on a state with these rows.
func hubWith(t *testing.T, clock func() time.Duration, rows ...state.Row) (*hub, func(...state.Row)) {
	t.Helper()
	store := state.New()
	put := func(rows ...state.Row) {
		scratch := store.Scratch()
		err := scratch.Try(func(tx *state.Tx) error {
			for _, r := range rows {
				tx.Put(r)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		entry, err := scratch.Entry(1).Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Apply(entry); err != nil {
			t.Fatal(err)
		}
	}
	put(rows...)
	l := &leader{coordinator: &coordinator{store: store, clock: clock}, wake: make(chan struct{}, 1), lazyAt: -1}
	l.hub = newHub(l)
	return l.hub, put
}

func helloOf(session string) *Hello {
	return &Hello{Open: scheduler.OpenSession{Session: session}}
}

// A body of two threads waits for two children. While one thread still waits the execution takes no slot: with a single
// one, what it waits for could never run otherwise.
func TestThreadsThatWaitKeepNoSlot(t *testing.T) {
	t.Parallel()
	h, _ := hubWith(t, boottime,
		&state.Session{ID: "S1", State: state.SessionOpen, Slots: 1},
		&state.Execution{Run: "R", Step: 1, Attempt: 1, Session: "S1", Due: true},
		&state.Execution{Run: "R", Step: 2, Attempt: 1, Due: true},
		&state.Execution{Run: "R", Step: 3, Attempt: 1, Due: true})
	agent, s := newPipe()
	defer agent.cut()
	if !h.attach(helloOf("S1"), s, &Welcome{}) {
		t.Fatal("not attached")
	}
	running := func() int { return h.soft().Sessions["S1"].Running }
	h.selects("S1", &Select{Execution: "R:1:1", Number: 1, Handles: []string{"R:2:1"}})
	h.selects("S1", &Select{Execution: "R:1:1", Number: 2, Handles: []string{"R:3:1"}})
	if running() != 0 {
		t.Errorf("%d slots used while both threads wait", running())
	}
	h.unblock("S1", &Unblock{Execution: "R:1:1", Number: 1})
	if running() != 0 {
		t.Errorf("%d slots used while one thread waits", running())
	}
	h.unblock("S1", &Unblock{Execution: "R:1:1", Number: 2})
	if running() != 1 {
		t.Errorf("%d slots used when none waits", running())
	}
}

// A session that was lost between its admission and its welcome is not taken for alive: it would be renewed for ever and
// given nothing.
func TestLostSessionIsNotAttached(t *testing.T) {
	t.Parallel()
	h, put := hubWith(t, boottime, &state.Session{ID: "S1", State: state.SessionOpen})
	put(&state.Session{ID: "S1", State: state.SessionLost})
	h.tell([]scheduler.Event{{Kind: scheduler.EventSessionLost, Session: "S1"}})
	agent, s := newPipe()
	defer agent.cut()
	if h.attach(helloOf("S1"), s, &Welcome{}) {
		t.Error("a lost session was attached")
	}
}

// Once a lease has run out it is not renewed any more, unless the session could not be given up (rules A5).
func TestExpiredLeaseIsNotRenewed(t *testing.T) {
	t.Parallel()
	now := time.Duration(0)
	h, _ := hubWith(t, func() time.Duration { return now }, &state.Session{ID: "S1", State: state.SessionOpen})
	if !h.renewed("S1", time.Second) || !h.renewed("S1", 0) {
		t.Fatal("not renewed")
	}
	now = 10 * time.Second
	if h.expired("S1", 10*time.Second) {
		t.Error("expired before its time: an older renewal counted")
	}
	now = 11 * time.Second
	if !h.expired("S1", 10*time.Second) {
		t.Fatal("never expires")
	}
	if h.renewed("S1", now) {
		t.Error("renewed while it is being given up")
	}
	h.kept("S1")
	if !h.renewed("S1", now) || h.expired("S1", 10*time.Second) {
		t.Error("not renewed after all")
	}
}

// A leader that hangs takes the connection and says nothing: the agent looks elsewhere long before its lease is over.
func TestDialLeavesALeaderThatHangs(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	began := time.Now()
	if s, err := dialStream(t.Context(), &http.Client{Transport: &http.Transport{}}, "http://"+ln.Addr().String()+"/"); err == nil {
		s.cut()
		t.Fatal("connected")
	}
	if took := time.Since(began); took > 2*stalled {
		t.Errorf("it took %v", took)
	}
}
