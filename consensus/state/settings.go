package state

import "iter"

// Setting is one replicated setting of the whole mesh.
type Setting struct {
	rowCommon
	Name  string `codec:"n"`
	Value int64  `codec:"v"`
}

func (*Setting) table() Table  { return TableSettings }
func (s *Setting) key() string { return s.Name }

// Names of settings; values are whole numbers.
const (
	// SettingVoters is the number of voting nodes aimed at.
	SettingVoters = "voters"
	// SettingFence is T_fence: milliseconds without a confirmed lease after which an agent's bodies are killed.
	SettingFence = "fence_ms"
	// SettingAbandon is T_abandon: milliseconds without a renewal after which the leader gives a session up.
	SettingAbandon = "abandon_ms"
	// SettingPackAfter is how long what is over stays in the tables before it is packed, milliseconds of log time.
	SettingPackAfter = "pack_after_ms"
	// SettingKeepAge, SettingKeepRuns and SettingKeepBytes bound what is kept of packed runs of each workspace: milliseconds since
	// they ended, how many, and the bytes of their packs. May be scoped.
	SettingKeepAge   = "keep_ms"
	SettingKeepRuns  = "keep_runs"
	SettingKeepBytes = "keep_bytes"
)

// Scoped names a setting for one workspace, or for one of its workflows (module/target).
func Scoped(name, workspace, workflow string) string {
	if workflow != "" {
		workspace += " " + workflow
	}
	return name + " " + workspace
}

// ScopedSetting reads a setting as it holds for a workflow of a workspace, "" for the workspace itself: its own, else that of the
// workspace, else that of the mesh, else fallback.
func (v *View) ScopedSetting(name, workspace, workflow string, fallback int64) int64 {
	of := v.Setting(Scoped(name, workspace, ""), v.Setting(name, fallback))
	if workflow == "" {
		return of
	}
	return v.Setting(Scoped(name, workspace, workflow), of)
}

// SettingsOf walks the settings whose names begin with the text.
func (v *View) SettingsOf(prefix string) iter.Seq[*Setting] {
	return walk[*Setting](v, TableSettings, "id", prefix, "")
}

// Setting reads a setting, or fallback where it was never set.
func (v *View) Setting(name string, fallback int64) int64 {
	if s := one[*Setting](v, TableSettings, "id", name); s != nil {
		return s.Value
	}
	return fallback
}
