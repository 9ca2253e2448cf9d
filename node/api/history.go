package api

import (
	"net/http"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// historyDoc is the document of /api/history: what is packed, and how long it is kept.
type historyDoc struct {
	PackAfterMs int64 `json:"packAfterMs"`
	keepDoc
	// Values are kept of packed executions for their cache keys, in the whole mesh.
	Values     int                         `json:"values"`
	Workspaces map[string]*workspaceRecord `json:"workspaces"` // by id
}

// keepDoc is what is kept: until so long after the end, at most so many runs and bytes of each workspace.
type keepDoc struct {
	KeepMs    int64 `json:"keepMs"`
	KeepRuns  int64 `json:"keepRuns"`
	KeepBytes int64 `json:"keepBytes"`
}

type workspaceRecord struct {
	Name    string `json:"name"`
	Packs   int    `json:"packs"`
	Runs    int    `json:"runs"`
	Removed int    `json:"removed"`
	Bytes   int64  `json:"bytes"` // of the packs' files, each copy
	Oldest  *int64 `json:"oldest"`
	keepDoc
	// Workflows with bounds of their own, by module/target; null where the workspace's hold.
	Workflows map[string]*workflowKeep `json:"workflows"`
}

type workflowKeep struct {
	KeepMs   *int64 `json:"keepMs"`
	KeepRuns *int64 `json:"keepRuns"`
}

// history shows what is packed of the project's runs.
func (s *Server) history(w http.ResponseWriter, r *http.Request) error {
	project, err := s.project(r)
	if err != nil {
		return err
	}
	reading, err := s.read(w, r)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, newHistoryDoc(reading.View, project))
	return nil
}

func newHistoryDoc(v *state.View, project string) *historyDoc {
	keep := func(workspace string) keepDoc {
		return keepDoc{v.ScopedSetting(state.SettingKeepAge, workspace, "", DefaultKeepAge), v.ScopedSetting(state.SettingKeepRuns, workspace, "", DefaultKeepRuns),
			v.ScopedSetting(state.SettingKeepBytes, workspace, "", DefaultKeepBytes)}
	}
	doc := &historyDoc{PackAfterMs: v.Setting(state.SettingPackAfter, 0), keepDoc: keep(""), Workspaces: map[string]*workspaceRecord{}}
	for range v.OldestKept() {
		doc.Values++
	}
	for w := range v.AllWorkspaces(project) {
		rec := &workspaceRecord{Name: w.Name, keepDoc: keep(w.ID), Workflows: map[string]*workflowKeep{}}
		for p := range v.PacksOf(w.ID) {
			rec.Removed += len(p.Gone())
			if p.Runs == "" {
				continue
			}
			rec.Packs, rec.Runs, rec.Bytes = rec.Packs+1, rec.Runs+p.Count(), rec.Bytes+p.Size
			if first := p.First; rec.Oldest == nil || first < *rec.Oldest {
				rec.Oldest = &first
			}
		}
		for _, name := range []string{state.SettingKeepAge, state.SettingKeepRuns} {
			prefix := state.Scoped(name, w.ID, "") + " "
			for set := range v.SettingsOf(prefix) {
				workflow := set.Name[len(prefix):]
				if rec.Workflows[workflow] == nil {
					rec.Workflows[workflow] = &workflowKeep{}
				}
				if value := set.Value; name == state.SettingKeepAge {
					rec.Workflows[workflow].KeepMs = &value
				} else {
					rec.Workflows[workflow].KeepRuns = &value
				}
			}
		}
		if w.Live() || rec.Packs > 0 {
			doc.Workspaces[w.ID] = rec
		}
	}
	return doc
}

// historyFields are the settings that setHistory changes.
var historyFields = []struct{ field, setting string }{
	{"packAfterMs", state.SettingPackAfter}, {"keepMs", state.SettingKeepAge}, {"keepRuns", state.SettingKeepRuns}, {"keepBytes", state.SettingKeepBytes},
}

// setHistory changes how long finished runs stay in memory, always of the mesh, and what is kept of them: of the mesh, of a
// workspace, or of one workflow of it. What is refused is refused as a whole.
func (s *Server) setHistory(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	var workspace, workflow string
	if b.has("workspaceId") {
		workspace = b.required("workspaceId", plainText, maxName)
	}
	if b.has("workflow") {
		if workflow = b.required("workflow", plainText, 2*maxName); workspace == "" {
			b.wrong("workspaceId", "required")
		}
	}
	var puts []*scheduler.PutSetting
	for _, f := range historyFields {
		if !b.has(f.field) {
			continue
		}
		put := &scheduler.PutSetting{Name: f.setting}
		b.into(f.field, &put.Value)
		switch {
		case f.setting == state.SettingKeepBytes && workflow != "":
			b.wrong(f.field, "not_scoped")
		case f.setting != state.SettingPackAfter && workspace != "":
			put.Name = state.Scoped(f.setting, workspace, workflow)
		}
		puts = append(puts, put)
	}
	if len(puts) == 0 {
		b.wrong("packAfterMs", "required")
		b.message = "nothing to change: give packAfterMs, keepMs, keepRuns or keepBytes"
	}
	if err := b.err(); err != nil {
		return err
	}
	if workspace != "" {
		if err := s.checkWorkspace(r.Context(), r, workspace); err != nil {
			return err
		}
	}
	for _, put := range puts { // all or nothing
		if err := put.Check(); err != nil {
			return err
		}
	}
	for _, put := range puts {
		if _, err := s.do(w, r, put); err != nil {
			return err
		}
	}
	writeJSON(w, http.StatusOK, map[string]bool{"ok": true})
	return nil
}
