package e2e

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// abandonAfter is T_abandon, and late how much later than that a lost node's work may be given up (invariant I7).
const (
	abandonAfter = 10 * time.Second
	late         = 5 * time.Second
)

// runOnFollower starts bodies until one runs on a node that does not lead.
func (m *mesh) runOnFollower(prefix string) (run string, body effect, on *node) {
	m.t.Helper()
	leader := m.leader()
	for i := range 50 {
		token := prefix + strconv.Itoa(i)
		run = m.submit(leader, "single", token, token)
		body = m.begun(token)
		if on = m.where(body); on != leader {
			return run, body, on
		}
		m.open(token)
		m.value(leader, run)
	}
	m.t.Fatal("the leader gets all the work")
	return "", effect{}, nil
}

// abandoned waits until a run is given up.
func (m *mesh) abandoned(n *node, run string, timeout time.Duration) {
	m.t.Helper()
	r, err := m.result(n, run, timeout)
	if err != nil {
		m.t.Fatal(err)
	}
	if r.Type != client.ResultAbandoned {
		m.t.Fatalf("run %s ended with %s, want abandoned", run, r.Raw)
	}
}

// sessions are the ids of the sessions that are connected.
func (m *mesh) sessions(n *node) map[string]bool {
	m.t.Helper()
	doc, err := n.client.Sessions(m.t.Context(), m.workspace)
	if err != nil {
		m.t.Fatal(err)
	}
	ids := map[string]bool{}
	for id, s := range doc.Value {
		if s.Connected {
			ids[id] = true
		}
	}
	return ids
}

// TestExecutingNodeDies kills the node that executes: its guard says so, and the execution is abandoned at once.
func TestExecutingNodeDies(t *testing.T) {
	t.Parallel()
	m := startMesh(t, 3)
	run, body, on := m.runOnFollower("d")
	leader := m.leader()
	began := time.Now()
	on.killed()
	m.abandoned(leader, run, abandonAfter+late)
	took := time.Since(began)
	t.Logf("F6b: abandoned %s after kill -9 of the executing node", took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("abandoned only after %s, though the guard lives", took)
	}
	if alive(body.PID) {
		t.Error("the body is alive although it was given up (I6)")
	}
	o := exe(t, m.dir, nil, 20*time.Second, "coflux", "--host", leader.host(), "runs", "result", run)
	if o.status != 0 || o.stdout != "Abandoned\n" {
		t.Errorf("runs result: %s", o)
	}
	if got := m.runs(leader)[run].Status; got != "abandoned" {
		t.Errorf("runs list says %q", got)
	}
	// The node comes back with a new session and serves again.
	on.start()
	m.ready()
	m.settle(patience)
	m.verify(false)
}

// TestWaitingClientLearnsOfLoss looks at what a user sees who waits for a run whose node dies.
func TestWaitingClientLearnsOfLoss(t *testing.T) {
	slow(t)
	t.Parallel()
	m := startMesh(t, 3)
	leader := m.leader()
	for i := range 50 {
		token := "w" + strconv.Itoa(i)
		log := m.dir + "/cli-" + token
		p := launch(t, log, m.dir, []string{bin + "/coflux", "--host", leader.host(), "submit", "flows/single", `"` + token + `"`, `"` + token + `"`})
		on := m.where(m.begun(token))
		if on == leader {
			m.open(token)
			p.wait(t, patience)
			continue
		}
		on.killed()
		if status := p.wait(t, abandonAfter+late); status != 1 {
			t.Errorf("the exit status is %d, want 1", status)
		}
		said, err := os.ReadFile(log)
		if err != nil || !strings.Contains(string(said), "Abandoned: the node that ran it was lost\n") {
			t.Errorf("said %q, %v", said, err)
		}
		return
	}
	t.Fatal("the leader gets all the work")
}

// TestExecutingNodeAndGuardDie also kills the guard: then the lease has to run out.
func TestExecutingNodeAndGuardDie(t *testing.T) {
	slow(t)
	t.Parallel()
	m := startMesh(t, 3)
	run, body, on := m.runOnFollower("g")
	leader := m.leader()
	began := time.Now()
	for _, pid := range guards(on.id) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	on.killed()
	await(t, 2*time.Second, func() string {
		if alive(body.PID) {
			return "the body outlives node and guard"
		}
		return ""
	})
	m.abandoned(leader, run, abandonAfter+late)
	t.Logf("abandoned %s after kill -9 of the executing node and its guard", time.Since(began).Round(time.Millisecond))
	if took := time.Since(began); took > abandonAfter+late {
		t.Errorf("abandoned only after %s", took)
	}
	m.verify(false)
}

// TestExecutingNodeHangs stops the node's process: the guard ends its bodies before the leader gives them up; after it
// goes on it has a new session.
func TestExecutingNodeHangs(t *testing.T) {
	slow(t)
	t.Parallel()
	m := startMesh(t, 3)
	run, body, on := m.runOnFollower("h")
	leader := m.leader()
	before := m.sessions(leader)
	began := time.Now()
	on.signal(t, syscall.SIGSTOP)
	outlived := make(chan bool, 1) // whether the body was alive when it was given up
	go func() {
		_, _ = awaitResult(t.Context(), leader, m.workspace, run, abandonAfter+late)
		outlived <- alive(body.PID)
	}()
	await(t, abandonAfter+late, func() string {
		if alive(body.PID) {
			return "the body of a hung node is alive"
		}
		return ""
	})
	fenced := time.Since(began)
	m.open(body.Token)
	if <-outlived {
		t.Error("the body was alive when it was given up (I6)")
	}
	m.abandoned(leader, run, abandonAfter+late)
	lost := time.Since(began)
	t.Logf("a hung node: body dead after %s, abandoned after %s", fenced.Round(time.Millisecond), lost.Round(time.Millisecond))
	if fenced >= abandonAfter {
		t.Errorf("the body lived for %s, T_abandon is %s", fenced, abandonAfter)
	}
	on.signal(t, syscall.SIGCONT)
	m.ready()
	fresh := 0
	for id := range m.sessions(leader) {
		if !before[id] {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("%d sessions are new after the node went on, want 1", fresh)
	}
	m.abandoned(on, run, patience) // a late result did not count
	again := m.submit(on, "single", "again", "")
	m.value(on, again)
	m.settle(patience)
	m.verify(false)
}

// TestGuardDies kills the guard of a node that executes: its bodies die with it, and the node goes on with a new one.
func TestGuardDies(t *testing.T) {
	slow(t)
	t.Parallel()
	m := startMesh(t, 3)
	run, body, on := m.runOnFollower("u")
	old := guards(on.id)
	if len(old) != 1 {
		t.Fatalf("%s has the guards %v", on.name, old)
	}
	began := time.Now()
	if err := syscall.Kill(old[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, 2*time.Second, func() string {
		if alive(body.PID) {
			return "the body outlives its guard"
		}
		return ""
	})
	m.abandoned(m.leader(), run, abandonAfter+late)
	t.Logf("abandoned %s after kill -9 of the guard", time.Since(began).Round(time.Millisecond))
	for i := range 50 {
		token := "v" + strconv.Itoa(i)
		m.value(on, m.submit(on, "single", token, ""))
		if m.where(m.begun(token)) == on {
			if now := guards(on.id); len(now) != 1 || now[0] == old[0] {
				t.Errorf("%s has the guards %v", on.name, now)
			}
			m.settle(patience)
			m.verify(false)
			return
		}
	}
	t.Errorf("%s gets no work any more", on.name)
}
