package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	t.Parallel()
	histories := filepath.Join("..", "internal", "checker", "testdata")
	for name, c := range map[string]struct {
		args   []string
		status int
		stdout []string
		stderr string
	}{
		"kept":          {[]string{filepath.Join(histories, "clean")}, 0, []string{"I1   ", "I13  ", "ok"}, ""},
		"one file":      {[]string{filepath.Join(histories, "clean", "history.jsonl")}, 0, []string{"ok"}, ""},
		"violated":      {[]string{filepath.Join(histories, "I5")}, 1, []string{"violated", "I5: R1:2:1 has 2 bodies"}, ""},
		"nothing there": {[]string{t.TempDir()}, 2, nil, "not a single event"},
		"no such place": {[]string{filepath.Join(histories, "none")}, 2, nil, "no such file"},
		"no arguments":  {nil, 2, nil, "Usage:"},
		"wrong flag":    {[]string{"--fast"}, 2, nil, "--fast"},
		"help":          {[]string{"--help"}, 0, nil, "Usage:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			if got := run(c.args, &stdout, &stderr); got != c.status {
				t.Errorf("exit status %d, want %d", got, c.status)
			}
			for _, want := range c.stdout {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("output lacks %q:\n%s", want, stdout.String())
				}
			}
			if !strings.Contains(stderr.String(), c.stderr) {
				t.Errorf("stderr lacks %q: %s", c.stderr, stderr.String())
			}
		})
	}
}
