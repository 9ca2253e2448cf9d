package api

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// maxMatches is how many matches a search gives.
const maxMatches = 20

// moduleMatch and targetMatch are the forms of a match; the higher the score the better.
type (
	moduleMatch struct {
		Type  string  `json:"type"` // module
		Name  string  `json:"name"`
		Score float64 `json:"score"`
	}
	targetMatch struct {
		Type   string  `json:"type"` // workflow | task
		Module string  `json:"module"`
		Name   string  `json:"name"`
		Run    *runRef `json:"run"` // a workflow's newest in memory
		Score  float64 `json:"score"`
	}
	runRef struct {
		RunID      string `json:"runId"`
		StepID     string `json:"stepId"`
		StepNumber int    `json:"stepNumber"`
		Attempt    int    `json:"attempt"`
	}
)

// search finds modules and targets of a workspace by the beginnings of the parts of their names.
func (s *Server) search(w http.ResponseWriter, r *http.Request) error {
	workspace, err := query(r, "workspaceId")
	if err != nil {
		return err
	}
	text, err := query(r, "query")
	if err != nil {
		return err
	}
	reading, err := s.readWorkspace(w, r, workspace)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"matches": newMatches(reading.View, workspace, text)})
	return nil
}

// target is one that is registered or served.
type target struct {
	kind         state.TargetType
	module, name string
}

func newMatches(v *state.View, workspace, text string) []any {
	known, modules := map[target]bool{}, map[string]bool{}
	for f := range v.Workflows(workspace) {
		known[target{state.TypeWorkflow, f.Module, f.Name}], modules[f.Module] = true, true
	}
	for s := range v.SessionsByWorkspace(workspace) {
		for _, t := range s.Targets {
			known[target{t.Type, t.Module, t.Name}], modules[t.Module] = true, true
		}
	}
	type match struct {
		score float64
		name  string
		doc   any
	}
	words := parts(text)
	var found []match
	for module := range modules {
		if score := matching(words, parts(module), nil); score > 0 {
			found = append(found, match{score, module, moduleMatch{"module", module, score}})
		}
	}
	for t := range known {
		if score := matching(words, parts(t.name), parts(t.module)); score > 0 {
			found = append(found, match{score, t.module + "/" + t.name, targetMatch{string(t.kind), t.module, t.name, newestRun(v, workspace, t), score}})
		}
	}
	slices.SortFunc(found, func(a, b match) int { return cmp.Or(cmp.Compare(b.score, a.score), strings.Compare(a.name, b.name)) })
	matches := []any{}
	for _, m := range found[:min(len(found), maxMatches)] {
		matches = append(matches, m.doc)
	}
	return matches
}

// newestRun names the root of a workflow's newest run that is in memory, nil for none.
func newestRun(v *state.View, workspace string, t target) *runRef {
	if t.kind != state.TypeWorkflow {
		return nil
	}
	for run := range v.RunsByTarget(workspace, t.module, t.name) {
		if root := (seenRun{run, workspace}).root(v); root != nil {
			return &runRef{run.ID, root.ID().StepID().String(), 1, root.Attempt}
		}
	}
	return nil
}

// parts are the words of a name or a text, in lower case: `send_mailTo` has three.
func parts(name string) (out []string) {
	var word []rune
	end := func() {
		if len(word) > 0 {
			out, word = append(out, strings.ToLower(string(word))), nil
		}
	}
	lower := false
	for _, r := range name {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			end()
			lower = false
			continue
		case unicode.IsUpper(r) && lower:
			end()
		}
		word, lower = append(word, r), !unicode.IsUpper(r)
	}
	end()
	return out
}

// matching tells how well words are the beginnings of a name's parts, 0 when one of them is of none: up to 1 for each in the name
// itself, up to a half in what stands before it, on average.
func matching(words, name, before []string) (score float64) {
	for _, word := range words {
		best := 0.0
		for i, part := range append(slices.Clone(name), before...) {
			if !strings.HasPrefix(part, word) {
				continue
			}
			fit := float64(len(word)) / float64(len(part))
			if i >= len(name) {
				fit /= 2
			}
			best = max(best, fit)
		}
		if best == 0 {
			return 0
		}
		score += best / float64(len(words))
	}
	return score
}
