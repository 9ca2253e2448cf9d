package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// Limits of a definition.
const (
	maxParameters  = 20
	maxWaitFor     = 20
	maxInstruction = 5000
)

func (s *Server) registerManifests(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	q := &scheduler.RegisterManifests{RequestID: b.requestID(), Workspace: b.required("workspaceId", plainText, maxName)}
	q.Modules = b.manifests("manifests")
	return s.changeWorkspace(w, r, b, q.Workspace, q, &q.RequestID)
}

func (s *Server) archiveModule(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	q := &scheduler.ArchiveModule{RequestID: b.requestID(), Workspace: b.required("workspaceId", plainText, maxName),
		Module: b.required("moduleName", moduleName, maxName)}
	return s.changeWorkspace(w, r, b, q.Workspace, q, &q.RequestID)
}

// manifests reads module -> name -> definition.
func (b *body) manifests(field string) (out []scheduler.ModuleManifest) {
	if !b.has(field) {
		b.wrong(field, "required")
		return nil
	}
	var given map[string]map[string]json.RawMessage
	b.into(field, &given)
	refuse := func(what string, err error) []scheduler.ModuleManifest {
		b.wrong(field, "invalid")
		b.message = what + ": " + err.Error()
		return nil
	}
	for _, module := range slices.Sorted(maps.Keys(given)) {
		if len(module) > maxName || !moduleName.MatchString(module) {
			return refuse("module "+quoted(module), errors.New("a module is called as in an import statement"))
		}
		m := scheduler.ModuleManifest{Module: module}
		for _, name := range slices.Sorted(maps.Keys(given[module])) {
			if len(name) > maxName || !targetName.MatchString(name) {
				return refuse("workflow "+quoted(name), errors.New("a workflow is called as a function"))
			}
			text, err := readDefinition(given[module][name])
			if err != nil {
				return refuse("workflow "+quoted(module+"/"+name), err)
			}
			m.Workflows = append(m.Workflows, scheduler.WorkflowDefinition{Name: name, Definition: text})
		}
		out = append(out, m)
	}
	return out
}

// givenDefinition is a definition as clients write it.
type givenDefinition struct {
	Parameters  *[]Parameter         `json:"parameters"`
	WaitFor     *[]int               `json:"waitFor"`
	Cache       *Cache               `json:"cache"`
	Defer       *Defer               `json:"defer"`
	Delay       *int64               `json:"delay"`
	Retries     *Retries             `json:"retries"`
	Requires    map[string]tagValues `json:"requires"`
	Recurrent   bool                 `json:"recurrent"`
	Timeout     int64                `json:"timeout"`
	Memo        bool                 `json:"memo"`
	Durable     bool                 `json:"durable"`
	Instruction string               `json:"instruction"`
	Limits      *Limits              `json:"limits"`
}

// readDefinition checks a definition and gives it in the form in which it is kept.
func readDefinition(raw json.RawMessage) ([]byte, error) {
	var g givenDefinition
	if err := json.Unmarshal(raw, &g); err != nil || bytes.Equal(raw, []byte("null")) {
		return nil, errors.New("its definition is not an object with the fields of a workflow, of their kinds")
	}
	requires := state.Tags{}
	for name, values := range g.Requires {
		requires[name] = values
	}
	if err := errors.Join(g.check(), scheduler.CheckTags(requires)); err != nil {
		return nil, err
	}
	if g.Limits != nil && *g.Limits == (Limits{}) {
		g.Limits = nil
	}
	return Workflow{Parameters: *g.Parameters, WaitFor: *g.WaitFor, Cache: g.Cache, Defer: g.Defer, Delay: *g.Delay, Retries: g.Retries,
		Requires: requires, Recurrent: g.Recurrent, Timeout: g.Timeout, Memo: g.Memo, Durable: g.Durable, Instruction: g.Instruction,
		Limits: g.Limits}.Definition()
}

// check says in a sentence what is wrong.
func (g *givenDefinition) check() error {
	switch {
	case g.Parameters == nil || g.WaitFor == nil || g.Delay == nil:
		return errors.New("parameters, waitFor and delay must be there")
	case len(*g.Parameters) > maxParameters:
		return fmt.Errorf("it has %d parameters, more than the %d that are possible", len(*g.Parameters), maxParameters)
	case len(*g.WaitFor) > maxWaitFor:
		return fmt.Errorf("it waits for %d parameters, more than the %d that are possible", len(*g.WaitFor), maxWaitFor)
	case !milliseconds(*g.Delay) || !milliseconds(g.Timeout):
		return errors.New("delay and timeout are milliseconds, not negative")
	case len(g.Instruction) > 4*maxInstruction || len([]rune(g.Instruction)) > maxInstruction:
		return fmt.Errorf("its instruction is longer than %d characters", maxInstruction)
	case g.Cache != nil && (!validParams(g.Cache.Params) || g.Cache.MaxAge != nil && !milliseconds(*g.Cache.MaxAge)):
		return errors.New("cache needs params, true, false or a list of indexes, and maxAge in milliseconds if any")
	case g.Defer != nil && !validParams(g.Defer.Params):
		return errors.New("defer needs params, true, false or a list of indexes")
	}
	if l := g.Limits; l != nil && (l.Memory < 0 || l.CPU < 0 || l.Files < 0) {
		return errors.New("limits are memory in bytes, cpu in seconds and files, not negative")
	}
	if r := g.Retries; r != nil && (r.Limit != nil && *r.Limit < 0 || !milliseconds(r.BackoffMin) || !milliseconds(r.BackoffMax)) {
		return errors.New("retries need a limit that is not negative, if any, and backoffs in milliseconds")
	}
	for _, p := range *g.Parameters {
		if !plainText.MatchString(p.Name) {
			return fmt.Errorf("%s cannot name a parameter", quoted(p.Name))
		}
	}
	if slices.ContainsFunc(*g.WaitFor, func(i int) bool { return i < 0 }) {
		return errors.New("waitFor holds indexes of parameters from 0 on")
	}
	return nil
}

func milliseconds(n int64) bool { return n >= 0 && n <= maxMillis }

// validParams tells whether a selection of parameters is true, false or a list of indexes.
func validParams(raw json.RawMessage) bool {
	var all bool
	var indexes []int
	switch {
	case json.Unmarshal(raw, &all) == nil && string(raw) != "null":
		return true
	case json.Unmarshal(raw, &indexes) != nil || indexes == nil:
		return false
	}
	return !slices.ContainsFunc(indexes, func(i int) bool { return i < 0 })
}
