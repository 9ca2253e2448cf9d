package state

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
)

// Setting reads a setting, or fallback where it was never set.
func (v *View) Setting(name string, fallback int64) int64 {
	if s := one[*Setting](v, TableSettings, "id", name); s != nil {
		return s.Value
	}
	return fallback
}
