package pyexec

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutations are faults that the tests that are named have to notice: each replaces a text that occurs once in its file.
var mutations = []struct{ name, by, file, old, new string }{
	{"a refusal that nobody asks about is lost", "EveryEnd", "sdk/coflux/_execute.py", "        context.settle()\n", ""},
	{"errors are retried whatever the filter says", "EveryEnd", "sdk/coflux/_execute.py", "    if retryable is not None:\n", "    if False:\n"},
	{"files of a result go with the process", "FilesOfValues", "executor.go", "held := e.held\n", "held := e.held && false\n"},
	{"files of foreign adapters stay", "FilesOfValues", "fragment.go", "strings.HasPrefix(name, \"coflux_\")", "strings.HasPrefix(name, \"_\")"},
	{"lines are not cut", "FloodsAreBounded", "executor.go", "maxOutputLine = 64 << 10 ", "maxOutputLine = 1 << 30 "},
	{"output waits in memory", "BackPressure", "executor.go", "e.out.onLine = func(line []byte) { e.onOutput(1, line) }", "e.out.onLine = func(line []byte) { line = bytes.Clone(line); go e.onOutput(1, line) }"},
	{"a forked child is the execution", "OddEnds", "sdk/coflux/_execute.py", "            _leave()  # a process", "            pass  # a process"},
	{"a failed child is the execution", "OddEnds", "sdk/coflux/_execute.py", "        if os.getpid() != channel.pid:\n            raise\n", ""},
	{"the fence waits for the grace", "FenceEndsGraces", "guard.go", "	g.grace.allOver()\n", ""},
	{"there is no grace", "GraceIsGiven", "executor.go", "	e.proc.end(e.pool.cfg.KillGrace)\n", "	e.proc.kill()\n"},
	{"the grace has no end", "GraceEnds", "grace.go", "func() { g.kill(id) }", "func() {}"},
	{"the group has no grace", "GraceIsGiven", "reap.go", "ours && !g.grace.lasts(id)", "ours"},
	{"signals are ignored in executors", "SubProcessesCanBeTerminated", "guard.go", "signal.Notify(make(chan os.Signal, 1), ", "signal.Ignore("},
	{"started executors have no limits", "Limits", "guard.go", "		g.limits.apply(pid)\n", ""},
	{"forked executors have no limits", "Limits", "template.go", "		g.limits.apply(pid)\n", ""},
	{"what is not told is not seen", "WaysToSave", "watch.go", "			changed = s.scan()\n", ""},
	{"environments share executors", "SeveralEnvironments", "environments.go", "		if l.py == py {\n", "		if l.py != nil {\n"},
	{"dirty directories are used again", "WorkingDirectories", "workdir.go", "err == nil && now == d.made && empty(d.path)", "err == nil && (now == d.made || true)"},
	{"nothing is imported ahead", "ImportedOnce", "lane.go", "if l.state == laneUp || len(l.idle) > 0 {", "if false {"},
	{"files share a position", "ImportedOnce", "sdk/coflux/_fork.py", "        self._files.open_again()\n        _ahead.reseed()\n        mark", "        _ahead.reseed()\n        mark"},
	{"forked executors have no group", "ForkedIsLikeSpawned", "template.go", "		unix.Setpgid(pid, pid) //", "		//"},
	{"forked executors have the number of their template", "ForkedAreApart", "sdk/coflux/_fork.py", "        self._environ[self._name] = mark\n", ""},
	{"orphans are not listed", "NothingIsLeftBehind", "reap.go", "			pids, rest = append(pids, rest), 0\n", "			rest = 0\n"},
	{"forks of user code keep threads", "ThreadsOfExecutors", "sdk/coflux/_ahead.py", "        handler.__code__ = code", "        pass"},
	{"threads are forked", "UnfitModules", "sdk/coflux/_ahead.py", "    if _thread._count() > 0:", "    if False:"},
	{"descriptors of others stay open", "ForkedIsLikeSpawned", "sdk/coflux/_fork.py", "        os.closerange(low, highest + 1)\n", ""},
	{"old code stays imported", "ReloadOfTemplates", "lane.go", "\t\t\tp.shut(l, laneOff)\n\t\t\tdelete(", "\t\t\tdelete("},
	{"groups are left behind", "NoGroups", "guardgroups.go", "err := os.Remove(dir)\n\tif err != nil", "err := error(nil)\n\tif err != nil"},
	{"memory is not bound together", "NoGroups", "executor.go", "	e.boundMemory(b.limits.Memory)\n", ""},
	{"the same code is new code", "ReloadOfTemplates", "discover.go", "case served && f.digest != \"\" && f.digest == last.digest:", "case false:"},
}

// TestNoticesMutations shows that the tests can fail. It builds the package once for each mutation.
func TestNoticesMutations(t *testing.T) {
	if os.Getenv("COFLUX_SLOW") == "" {
		t.Skip("takes minutes: set COFLUX_SLOW=1")
	}
	dir := t.TempDir()
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			original, err := os.ReadFile(m.file)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(original), m.old); n != 1 {
				t.Fatalf("%q occurs %d times in %s: name a text that occurs once", m.old, n, m.file)
			}
			if out, err := runMutated(t, dir, m.by, m.file, string(original)); err != nil {
				t.Fatalf("without the mutation: %v\n%s", err, out)
			}
			out, err := runMutated(t, dir, m.by, m.file, strings.Replace(string(original), m.old, m.new, 1))
			if err == nil {
				t.Fatal("nothing noticed")
			}
			if !strings.Contains(out, "--- FAIL: Test") && !strings.Contains(out, "panic: ") {
				t.Fatalf("failed for another reason: %s", out)
			}
		})
	}
}

// runMutated runs tests with another text in the place of one file.
func runMutated(t *testing.T, dir, tests, file, text string) (string, error) {
	t.Helper()
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: other}})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", list, "-vet=off", "-count=1", "-timeout", "2m", "-run", "^Test("+tests+")$", ".")
	cmd.Env = append(os.Environ(), "COFLUX_SLOW=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
