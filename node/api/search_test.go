package api

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
)

func TestSearch(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	flow := func(name string) scheduler.WorkflowDefinition {
		return scheduler.WorkflowDefinition{Name: name, Definition: []byte(`{}`)}
	}
	m.must(&scheduler.RegisterManifests{Workspace: w, Modules: []scheduler.ModuleManifest{
		{Module: "shop.orders", Workflows: []scheduler.WorkflowDefinition{flow("daily_report"), flow("orderAll")}},
		{Module: "shop.mail", Workflows: []scheduler.WorkflowDefinition{flow("report")}}}})
	m.must(&scheduler.OpenSession{Session: "S", Project: "default", Workspace: "default", Node: "n", NodeName: "n", Boot: "1", Slots: 1,
		Targets: []state.DeclaredTarget{{Module: "shop.mail", Name: "send_report", Type: state.TypeTask}}})
	m.must(&scheduler.SubmitRun{RequestID: ulid.Make().String(), Workspace: w, Module: "shop.mail", Target: "report"})
	for text, want := range map[string][]string{
		"report":      {"workflow shop.mail/report", "task shop.mail/send_report", "workflow shop.orders/daily_report"},
		"Rep":         {"workflow shop.mail/report", "task shop.mail/send_report", "workflow shop.orders/daily_report"},
		"order":       {"workflow shop.orders/orderAll", "module shop.orders", "workflow shop.orders/daily_report"},
		"ord all":     {"workflow shop.orders/orderAll"},
		"mail/report": {"workflow shop.mail/report", "task shop.mail/send_report"},
		"port":        nil,
		"nothing":     nil,
		"...":         nil,
	} {
		var got []string
		for _, match := range newMatches(m.store.View(), w, text) {
			switch x := match.(type) {
			case moduleMatch:
				got = append(got, x.Type+" "+x.Name)
			case targetMatch:
				got = append(got, fmt.Sprint(x.Type, " ", x.Module, "/", x.Name))
				if (x.Run != nil) != (x.Name == "report") {
					t.Errorf("%s has the run %+v", x.Name, x.Run)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
	rec := ask(s, "GET", "/api/search?workspaceId="+w+"&query=ord+all", "")
	if rec.Code != http.StatusOK {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}
