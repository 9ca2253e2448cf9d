package node

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// simMutations are faults that the meshes in virtual time have to notice, by the tests that are named: each
// replaces a text that occurs once in its file.
var simMutations = []struct{ name, by, file, old, new string }{
	{"renewals are answered without a majority", "SimDeposedLeaderExtendsNoLease", "serve.go", "if l.confirmLease(ctx) == nil && l.hub", "if l.hub"},
	{"a new leader counts leases from nowhere", "SimNemesis|SimFrozenLeader", "hub.go", "at = h.started", "at = 0"},
	{"leases run out early at the leader", "SimFrozenAgent", "leases.go", "!l.hub.expired(s.ID, abandon)", "!l.hub.expired(s.ID, abandon/2)"},
	{"leases run out late at the agent", "SimFrozenAgent", "agent_lease.go", "until := sent + fence;", "until := sent + 2*fence;"},
	{"leases count from the answer", "SimLeaseCountsFromTheSending", "agent_lease.go", "a.confirmLocked(at, a.lease.fence)", "a.confirmLocked(at-at+a.Clock(), a.lease.fence)"},
	{"the guard is not told of the lease", "SimFrozenAgent", "agent_lease.go", "		a.lease.fenceAt = until\n		a.Runner.AliveUntil(int64(until))", "		a.lease.fenceAt = until"},
	{"the agent does not fence itself", "SimAgentFences", "agent_lease.go", "over := a.lease.fenceAt > 0", "over := false && a.lease.fenceAt > 0"},
	{"a fenced runner is taken for a broken one", "SimLeaseRenewed", "execution.go", "			e.a.refused() // nothing was started\n			continue\n", ""},
	{"a lost session waits for its dead", "SimFrozenAgent", "agent_lease.go", "		a.forgetLocked(e)\n", ""},
	{"a hung stream is kept", "SimHungStream", "agent_lease.go", "silent = silent || now-at >= limit", "_, _ = at, limit"},
	{"earlier terms are taken", "AgentRefuses", "agent.go", "if w.Term < a.term {", "if false {"},
	{"requests are forgotten with the stream", "SimNemesis", "agent.go", "	a.askAgainLocked()\n", ""},
	{"waits are forgotten with the stream", "SimNemesis", "agent.go", "		e.selectAgainLocked()\n", "		_ = e\n"},
	{"what is declared during hello is lost", "AgentDeclares", "agent.go", "if !wasFresh || a.changed || a.manifests != nil {", "if !wasFresh || a.manifests != nil {"},
	{"finished executions are forgotten", "SimKnown", "execution.go", " || a.known.has(w.Execution)", ""},
	{"running executions are forgotten", "SimKnown", "execution.go", "a.executions[w.Execution] != nil || ", ""},
	{"work is placed on agents that are not there", "SimPlaces", "hub.go", "	return soft\n}", "	for s := range h.l.store.View().Sessions() {\n		if _, ok := soft.Sessions[s.ID]; !ok {\n			soft.Sessions[s.ID] = scheduler.SoftSession{Serves: servesOf(s)}\n		}\n	}\n	return soft\n}"},
	{"what did not arrive is not sent again", "SimFrozenLeaderHolds|SimNemesis", "hub.go", "if !known[name] {", "if false {"},
	{"what is held in vain lives on", "SimCancel", "hub.go", "		s.send(&Frame{Abort: &Abort{Execution: name}})\n", ""},
	{"processes that may be alive are not counted", "SimAttempts", "hub.go", "return k != nil && k.held[execution] != nil", "return k == nil && false"},
	{"blocked callers keep their slots", "SimFifty", "hub.go", "			e.blocked = true\n			k.running--", "			e.blocked = false"},
	{"answered waits wake later ones", "SimAnswered", "hub.go", "	h.unwaitLocked(w, e)\n	if e.blocked && len(e.waits) == 0 {", "	if e.blocked {"},
	{"free slots go unnoticed", "SimFiveHundred|SimBlockedRoots", "leader.go", "	l.kicked = true\n", ""},
	{"a refused proposal ends the lead", "SimLeaderOutlives", "leader.go", "			if !l.resume() {\n				return\n			}", "			<-l.ctx.Done()\n			return"},
	{"a first question without an answer ends the lead", "SimLeaderOutlives", "coordinator.go", "			if !pause(ctx, againAfter) {\n				return\n			}", "			return"},
	{"who waits for an attempt is not told of the last one", "SimRetry", "hub_events.go", "		told := h.resolveLocked(&Outcome{Execution: name, Result: result})\n", "		var told map[string]bool\n		if e.Result == result {\n			told = h.resolveLocked(&Outcome{Execution: name, Result: result})\n		}\n"},
	{"who waits for an input is not told", "SimInputs", "hub_events.go", "h.resolveLocked(&Outcome{Execution: e.Input.String(), Response: in.Response})", "_ = in"},
	{"a wait for an input is not noted", "SimInputs", "hub.go", "	h.l.kick()\n	h.l.note(session, q)", "	h.l.kick()"},
	{"a poll of an input is not noted", "SimInputs", "hub.go", "(input || !q.Poll)", "(input && !q.Poll || !q.Poll)"},
	{"whatever is known wins", "SimTheFirst", "execution_select.go", "if winner < 0 || q.looking && winner > 0 {", "if winner < 0 {"},
	{"the time of a wait begins anew with each leader", "SimTheTime", "execution_select.go", "			q.looking = q.looks()\n", "			q.looking = q.looks()\n			if q.timer != nil {\n				q.timer.Reset(q.request.Timeout.Duration())\n			}\n"},
	{"waits for several do not wait", "SimSuspendingWaits", "execution_select.go", "case !q.atOnce():", "case q.e == nil:"},
	{"what ends a suspension is forgotten", "SimSuspendingWaits", "execution_suspend.go", "		r.Handles = append(", "		_ = append("},
	{"a suspension holds up nothing", "SimSuspensionThrough", "execution_suspend.go", "Delay: int64(req.Delay), ", ""},
	{"nodes drop what nothing names", "NodesDropWhat", "blobs_keeper.go", "if named[key] && len(ask)", "if len(ask)"},
	{"nodes drop what the store has lost", "NodesDropWhat", "blobs_keeper.go", "case has:", "case has || err == nil:"},
	{"a store loses what logs may name", "TheArchiveHas", "blobs_keeper.go", "if err != nil || !whole {", "if _ = whole; err != nil {"},
	{"another bucket's content is not checked", "StoresAreRead", "blobs_keeper.go", "blob.Checked(key, r)", "r"},
	{"a bucket that is away has nothing", "StoresAreRead", "blobs_bucket.go", "if len(failed) > 0 {", "if false {"},
	{"nodes without the store do not count", "NothingIsDropped", "blobs_collect.go", "store != \"\" && store != s.store", "store == s.store && false"},
	{"a full stream is kept", "SimSlowAgent", "serve.go", "		case <-s.done():\n			cancel()\n", ""},
}

// TestSimNoticesMutations shows that the virtual meshes can fail. It builds the package once for each mutation.
func TestSimNoticesMutations(t *testing.T) {
	if os.Getenv("COFLUX_SLOW") == "" {
		t.Skip("takes minutes: set COFLUX_SLOW=1")
	}
	dir := t.TempDir()
	if out, err := runMutated(t, dir, "Sim|Agent", "", ""); err != nil {
		t.Fatalf("without a mutation: %v\n%s", err, out)
	}
	for _, m := range simMutations {
		t.Run(m.name, func(t *testing.T) {
			original, err := os.ReadFile(m.file)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(original), m.old); n != 1 {
				t.Fatalf("%q occurs %d times in %s: name a text that occurs once", m.old, n, m.file)
			}
			out, err := runMutated(t, dir, m.by, m.file, strings.Replace(string(original), m.old, m.new, 1))
			if err == nil {
				t.Fatal("nothing noticed")
			}
			if !strings.Contains(out, "--- FAIL: Test") && !strings.Contains(out, "panic: ") {
				t.Fatalf("failed for another reason: %s", out)
			}
			for line := range strings.Lines(out) {
				if strings.Contains(line, "--- FAIL: Test") {
					t.Log(strings.TrimSpace(line))
				}
			}
		})
	}
}

// runMutated runs the virtual meshes with another text in the place of one file.
func runMutated(t *testing.T, dir, tests, file, text string) (string, error) {
	t.Helper()
	replace := map[string]string{}
	if file != "" {
		path, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		replace[path] = filepath.Join(dir, file)
		if err := os.WriteFile(replace[path], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", list, "-vet=off", "-count=1", "-failfast", "-timeout", "2m",
		"-run", "^Test("+tests+")", "-skip", "Mutations", ".")
	cmd.Env = append(os.Environ(), "COFLUX_SLOW=", "COFLUX_SIM_SEED=", "COFLUX_SIM_SEEDS=60")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestSimMutationsNameTextThatIsThere keeps the table above up with the code: change a place, change its mutation.
func TestSimMutationsNameTextThatIsThere(t *testing.T) {
	t.Parallel()
	for _, m := range simMutations {
		text, err := os.ReadFile(m.file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), m.old); n != 1 {
			t.Errorf("%s: %q occurs %d times in %s, want once", m.name, m.old, n, m.file)
		}
	}
}
