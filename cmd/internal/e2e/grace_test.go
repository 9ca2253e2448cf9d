package e2e

import (
	"syscall"
	"testing"
	"time"
)

// polite is a module whose body cleans up when it is asked to end.
const polite = `
import os, signal, time
from coflux import workflow
import flows


@workflow()
def clean(token):
    def asked(*_):
        flows.effect("asked", token)
        os._exit(0)
    signal.signal(signal.SIGTERM, asked)
    flows.effect("start", token)
    while True:
        time.sleep(1000)
`

// TestKillGrace cancels a body that cleans up when it is asked to end, and has the node die, which asks nobody.
func TestKillGrace(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.write("polite.py", polite)
	n := m.add("--repo", "polite", "--kill-grace", "10m")
	m.ready()
	asked := func(token string) bool {
		for _, e := range m.effects() {
			if e.Event == "asked" && e.Token == token {
				return true
			}
		}
		return false
	}
	run := submitted(n, "polite/clean", `"cancelled"`)
	body := m.begun("cancelled")
	n.said(``, "runs", "cancel", run)
	await(t, patience, func() string {
		if !asked("cancelled") || alive(body.PID) {
			return "the cancelled body did not clean up and end"
		}
		return ""
	})

	submitted(n, "polite/clean", `"fenced"`)
	body = m.begun("fenced")
	n.signal(t, syscall.SIGSTOP) // its guard kills what it ran when its lease is over
	began := time.Now()
	await(t, patience, func() string {
		if alive(body.PID) {
			return "the body of a hung node lives on"
		}
		return ""
	})
	t.Logf("the body of the hung node ended %s after the node", time.Since(began).Round(time.Millisecond))
	if asked("fenced") {
		t.Error("the fence asked instead of killing")
	}
	n.signal(t, syscall.SIGCONT)
}
