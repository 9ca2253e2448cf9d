package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// least is the smallest definition.
const least = `"parameters":[],"waitFor":[],"delay":0`

func TestBadManifests(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	flow := func(definition string) string { return `{"m":{"f":` + definition + `}}` }
	with := func(more string) string { return flow(`{` + least + `,` + more + `}`) }
	before := m.store.Index()
	for name, manifests := range map[string]string{
		"a list": `[]`, "a text": `"x"`, "module is no object": `{"m":1}`, "module name": `{"a b":{}}`, "empty module name": `{"":{}}`,
		"workflow name": `{"m":{"a b":{` + least + `}}}`, "definition is null": flow(`null`), "definition is a list": flow(`[]`), "nothing": flow(`{}`),
		"no parameters": flow(`{"waitFor":[],"delay":0}`), "no waitFor": flow(`{"parameters":[],"delay":0}`), "no delay": flow(`{"parameters":[],"waitFor":[]}`),
		"parameters": flow(`{"parameters":{},"waitFor":[],"delay":0}`), "parameter without name": flow(`{"parameters":[{}],"waitFor":[],"delay":0}`),
		"many parameters": flow(`{"parameters":[` + strings.Repeat(`{"name":"x"},`, 20) + `{"name":"y"}],"waitFor":[],"delay":0}`),
		"negative index":  flow(`{"parameters":[],"waitFor":[-1],"delay":0}`), "negative delay": flow(`{"parameters":[],"waitFor":[],"delay":-1}`),
		"fraction": flow(`{"parameters":[],"waitFor":[],"delay":1.5}`), "timeout": with(`"timeout":-1`), "memo": with(`"memo":[0]`),
		"cache": with(`"cache":{}`), "cache params": with(`"cache":{"params":"x"}`), "cache age": with(`"cache":{"params":true,"maxAge":-1}`),
		"defer": with(`"defer":{"params":null}`), "retries": with(`"retries":{"limit":-1}`), "backoff": with(`"retries":{"backoffMin":-1}`),
		"requires": with(`"requires":{"a b":"x"}`), "requires a number": with(`"requires":{"a":1}`), "recurrent": with(`"recurrent":1`),
		"limits": with(`"limits":{"cpu":-1}`), "limits that are a number": with(`"limits":1`),
		"instruction": with(`"instruction":"` + strings.Repeat("x", 5001) + `"`),
	} {
		t.Run(name, func(t *testing.T) {
			rep := ask(s, "POST", "/api/register_manifests", `{"workspaceId":"`+w+`","manifests":`+manifests+`}`)
			checkRefusal(t, rep, 400, "bad_request", fields{"manifests": "invalid"})
		})
	}
	if m.store.Index() != before {
		t.Error("the state changed")
	}
}

func TestRegister(t *testing.T) {
	t.Parallel()
	s, w := newMemory(t).server(nil)
	register := func(manifests string) {
		t.Helper()
		changed(t, s, "register_manifests", `{"workspaceId":"`+w+`","manifests":`+manifests+`}`)
	}
	names := func() (all []string) {
		var doc map[string]map[string]any
		rep := ask(s, "GET", "/topics/workspaces/"+w+"/manifests", "")
		if err := json.Unmarshal(rep.Body.Bytes(), &doc); err != nil {
			t.Fatal(rep.Body)
		}
		for _, module := range []string{"m", "n"} {
			for _, name := range []string{"f", "g", "h"} {
				if doc[module][name] != nil {
					all = append(all, module+"/"+name)
				}
			}
		}
		return all
	}
	see := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, names()); diff != "" {
			t.Error(diff)
		}
	}
	register(`{"m":{"f":{` + least + `},"g":{` + least + `}},"n":{"h":{` + least + `}}}`)
	see("m/f", "m/g", "n/h")
	full := `{"parameters":[{"name":"order","default":"1","annotation":"int"},{"name":"x"}],"waitFor":[0],"delay":5,"cache":{"params":[0, 1],"maxAge":60000},
		"defer":{"params":true},"retries":{"limit":null,"backoffMin":1,"backoffMax":2},"recurrent":true,"timeout":7,"requires":{"gpu":true,"region":["eu","us"]},"memo":true,"instruction":"a <b>",
		"limits":{"memory":134217728,"cpu":60}}`
	register(`{"m":{"f":` + full + `}}`)
	see("m/f", "n/h")
	rep := ask(s, "GET", "/topics/workspaces/"+w+"/workflows/m/f", "")
	golden(t, "workflow_full", rep.Body.Bytes())
	golden(t, "manifests_full", ask(s, "GET", "/topics/workspaces/"+w+"/manifests", "").Body.Bytes())
	register(`{"n":{}}`)
	see("m/f")
	register(`{}`)
	see("m/f")
	for range 2 {
		changed(t, s, "archive_module", `{"workspaceId":"`+w+`","moduleName":"m"}`)
		see()
	}
	checkRefusal(t, ask(s, "GET", "/topics/workspaces/"+w+"/workflows/m/f", ""), 404, "not_found", nil)
}
