package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A step that is suspended, or recurs, is no failure, in the tree as in the lines of dev.
func TestSuspendedSteps(t *testing.T) {
	t.Parallel()
	suspended, recurred := `{"type":"suspended","createdBy":null,"successor":2}`, `{"type":"recurred","createdBy":null,"successor":2}`
	doc := decodeRun(t, fakeRun(
		fakeStep("R1", 1, "saves", "null", `{"stepId":"R1:2","attempt":1,"groupId":null}`, suspended, "queued"),
		fakeStep("R1", 2, "polls", `"R1:1:2"`, "", recurred, "queued"),
	))
	var got []string
	for _, l := range treeLines("R1", doc, time.UnixMilli(fakeCreated+2010), nil) {
		got = append(got, l.render(0, false))
	}
	if diff := cmp.Diff("○ 1:2 example1.repo/saves [R1]  n1  suspended", got[0]); diff != "" || !strings.HasSuffix(got[len(got)-1], "Queued") {
		t.Errorf("%s%q", diff, got)
	}
	for number, want := range map[string]string{"R1:1": "followed", "R1:2": "followed"} {
		if got := stateOf(doc.Steps[number].Executions["1"]); got != want {
			t.Errorf("%s counts as %s", number, got)
		}
	}
}
