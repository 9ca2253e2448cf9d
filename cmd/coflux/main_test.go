package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coflux-mesh/coflux/node/api/client"
	"github.com/coflux-mesh/coflux/pyexec"
)

var update = flag.Bool("update", false, "rewrite the expected outputs in the scripts")

func TestMain(m *testing.M) {
	if pyexec.GuardMain() {
		return
	}
	if filepath.Base(os.Args[0]) != "coflux" { // the tests, not a command of a script
		realPython()
	}
	testscript.Main(m, map[string]func(){"coflux": main})
}

// realPython puts the interpreter itself first on PATH, where python3 is a script that looks for it: that takes longer than
// most of the tests.
func realPython() {
	if out, err := exec.Command("python3", "-c", "import os, sys; print(os.path.dirname(sys.executable))").Output(); err == nil {
		os.Setenv("PATH", strings.TrimSpace(string(out))+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
}

// TestScripts runs the command line against a fake node.
func TestScripts(t *testing.T) {
	t.Parallel()
	type key struct{}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			n := newFakeNode()
			env.Defer(n.Close)
			env.Values[key{}] = n
			// The spec promises that nothing but PATH is needed.
			env.Vars = []string{"PATH=" + env.Getenv("PATH"), "WORK=" + env.WorkDir, "COFLUX_HOST=" + n.Listener.Addr().String(),
				"GORACE=atexit_sleep_ms=0"}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// asked FILE writes what the node was asked to do.
			"asked": func(ts *testscript.TestScript, _ bool, args []string) {
				n := ts.Value(key{}).(*fakeNode)
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(n.report(t)), 0o600))
			},
		},
	})
}

// terminalApp is an app on a terminal of the given height.
func terminalApp(n *fakeNode, height int) (a *app, stdout, stderr *bytes.Buffer) {
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	a = &app{
		stdout: stdout, stderr: stderr, stdoutTTY: true, stderrTTY: true,
		size: func() (int, int) { return 80, height },
		now:  func() time.Time { return time.UnixMilli(fakeCreated + 3000) },
		env: func(name string) (string, bool) {
			if name == "COFLUX_HOST" {
				return n.Listener.Addr().String(), true
			}
			return "", false
		},
	}
	return a, stdout, stderr
}

// plainText drops the escapes.
func plainText(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		i := strings.IndexByte(s, 0x1b)
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		end := strings.IndexAny(s[i:], "mJA")
		s = s[i+end+1:]
	}
	return b.String()
}

func TestTreeOnTerminal(t *testing.T) {
	t.Parallel()
	n := newFakeNode()
	defer n.Close()
	a, stdout, stderr := terminalApp(n, 24)
	if code := a.main(t.Context(), []string{"workflow.run", "example1.repo", "my_workflow", `"Joe"`}); code != 0 {
		t.Fatalf("status %d: %s", code, stderr)
	}
	want := "● 1:1 example1.repo/my_workflow [Rgood]  n1  143ms\n" +
		"  ● 2:1 example1.repo/build_greeting  n2  286ms\n" +
		"Result: \"Hello, Joe!\"\n"
	if diff := cmp.Diff(want, strings.ReplaceAll(plainText(stdout.String()), "\r", "")); diff != "" {
		t.Error(diff)
	}
	if stderr.Len() > 0 {
		t.Errorf("stderr: %s", stderr)
	}
}

func TestFailedTreeOnTerminal(t *testing.T) {
	t.Parallel()
	n := newFakeNode()
	defer n.Close()
	a, stdout, stderr := terminalApp(n, 24)
	if code := a.main(t.Context(), []string{"submit", "example1.repo/fails"}); code != 1 {
		t.Fatalf("status %d: %s", code, stderr)
	}
	if want := "✗ 1:1 example1.repo/fails [Rbad]  n1  143ms  ValueError: bad name\n"; !strings.HasSuffix(plainText(stdout.String()), want) {
		t.Errorf("stdout %q does not end in %q", plainText(stdout.String()), want)
	}
	want := "Traceback (most recent call last):\n  File \"repo.py\", line 9, in my_workflow\n    check(name)\n" +
		"  File \"repo.py\", line 4, in check\nValueError: bad name\n"
	if diff := cmp.Diff(want, stderr.String()); diff != "" {
		t.Error(diff)
	}
}

func TestTreeLines(t *testing.T) {
	t.Parallel()
	group := `{"stepId":"R1:2","attempt":1,"groupId":0},{"stepId":"R1:3","attempt":1,"groupId":0},{"stepId":"R1:4","attempt":1,"groupId":0}`
	doc := decodeRun(t, fakeRun(
		fakeStep("R1", 1, "fan_out", "null", group+`,{"stepId":"R1:5","attempt":2,"groupId":null}`, ""),
		fakeStep("R1", 2, "member", `"R1:1:1"`, "", valueOK),
		fakeStep("R1", 3, "member", `"R1:1:1"`, "", "queued"),
		fakeStep("R1", 4, "member", `"R1:1:1"`, "", valueError),
		fakeStep("R1", 5, "retried", `"R1:1:1"`, `{"stepId":"R1:6","attempt":1,"groupId":null}`, valueError, ""),
		fakeStep("R1", 6, "child", `"R1:5:2"`, "", `{"type":"spawned","execution":{"executionId":"R2:1:1","module":"m","target":"t"},"result":null}`),
	))
	var got []string
	for _, l := range treeLines("R1", doc, time.UnixMilli(fakeCreated+2010), nil) {
		got = append(got, l.render(0, false))
	}
	want := []string{
		"◐ 1:1 example1.repo/fan_out [R1]  n1  2.0s  Running...",
		"  ▸ greetings 1 of 3 (1 pending, 1 error)",
		"    ● 2:1 example1.repo/member  n2  286ms",
		"  ◐ 5:2 example1.repo/retried  n5  2.0s  Running...",
		"    ◐ 6:1 example1.repo/child  n6  858ms  [R2] Running...",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// An attempt that follows a failure says after what it comes, and when it is due.
func TestTreeOfRetries(t *testing.T) {
	t.Parallel()
	failure := strings.Replace(valueError, `"retry":null`, `"retry":2`, 1)
	var got []string
	for _, second := range []string{"queued", "", valueError, valueOK} {
		text := fakeRun(fakeStep("R1", 1, "retried", "null", "", failure, second))
		if second == "queued" {
			at := strings.LastIndex(text, `"executeAfter":null`)
			text = text[:at] + `"executeAfter":` + fmt.Sprint(fakeCreated+5010) + text[at+len(`"executeAfter":null`):]
		}
		for _, l := range treeLines("R1", decodeRun(t, text), time.UnixMilli(fakeCreated+2010), nil) {
			got = append(got, l.render(0, false))
		}
	}
	want := []string{
		"○ 1:2 example1.repo/retried [R1]  n1  Due in 3.0s  after ValueError: bad name",
		"◐ 1:2 example1.repo/retried [R1]  n1  2.0s  Running...  after ValueError: bad name",
		"✗ 1:2 example1.repo/retried [R1]  n1  143ms  ValueError: bad name  after ValueError: bad name",
		"● 1:2 example1.repo/retried [R1]  n1  143ms",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func decodeRun(t *testing.T, text string) *client.Run {
	t.Helper()
	var doc client.Run
	if err := decodeJSON(text, &doc); err != nil {
		t.Fatal(err)
	}
	return &doc
}

func TestScreenCutsAndRedraws(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := &screen{out: &out, size: func() (int, int) { return 12, 4 }}
	lines := []line{{{plain, "one"}}, {{plain, "two is too long"}}, {{plain, "three"}}, {{plain, "four"}}}
	s.draw(lines)
	if diff := cmp.Diff("\r\x1b[Jone\ntwo is too…\n\x1b[2m… 2 more\x1b[0m\n", out.String()); diff != "" {
		t.Error(diff)
	}
	out.Reset()
	s.finish(lines)
	if diff := cmp.Diff("\x1b[3A\r\x1b[Jone\ntwo is too long\nthree\nfour\n", out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestBaseURL(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for _, tt := range []struct {
		host   string
		secure *bool
		want   string // "" = refused
	}{
		{"localhost:7777", nil, "http://localhost:7777"},
		{"localhost", nil, "http://localhost:7777"},
		{"acme.localhost:80", nil, "http://acme.localhost:80"},
		{"[::1]:7777", nil, "http://[::1]:7777"},
		{"::1", nil, "http://[::1]:7777"},
		{"127.0.0.1", &yes, "https://127.0.0.1:443"},
		{"mesh.example.com", nil, "http://mesh.example.com:7777"}, {"mesh.example.com", &yes, "https://mesh.example.com:443"},
		{"mesh.example.com:7777", &no, "http://mesh.example.com:7777"},
		{"http://10.0.0.5", nil, "http://10.0.0.5:7777"},
		{"https://x:8443/", nil, "https://x:8443"},
		{"ftp://x", nil, ""}, {"", nil, ""}, {"a b", nil, ""}, {"x:0", nil, ""}, {"x:y", nil, ""}, {"x/y", nil, ""}, {":7777", nil, ""},
	} {
		got, err := baseURL(tt.host, tt.secure)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%q: %q, %v; want %q", tt.host, got, err, tt.want)
		}
	}
}
