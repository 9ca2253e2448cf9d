package client

import "context"

// Keep is what is kept of finished runs: until so many milliseconds after the end; of each workspace at most so many runs, and so
// many bytes of packs.
type Keep struct {
	KeepMs    int64 `json:"keepMs"`
	KeepRuns  int64 `json:"keepRuns"`
	KeepBytes int64 `json:"keepBytes"`
}

// History is what is packed of a project's finished runs.
type History struct {
	PackAfterMs int64 `json:"packAfterMs"`
	Keep
	Values     int                        `json:"values"`
	Workspaces map[string]WorkspaceRecord `json:"workspaces"` // by id
}

// WorkspaceRecord is what is packed of a workspace.
type WorkspaceRecord struct {
	Name    string `json:"name"`
	Packs   int    `json:"packs"`
	Runs    int    `json:"runs"`
	Removed int    `json:"removed"`
	Bytes   int64  `json:"bytes"`
	Oldest  *int64 `json:"oldest"` // ms
	Keep
	Workflows map[string]struct {
		KeepMs   *int64 `json:"keepMs"`
		KeepRuns *int64 `json:"keepRuns"`
	} `json:"workflows"` // those with bounds of their own, by module/target
}

// HistoryChange says what is to hold from now on: fields that are nil stay. Without a workspace it is the mesh's, PackAfterMs in any
// case.
type HistoryChange struct {
	Workspace, Workflow                      string // id; module/target
	PackAfterMs, KeepMs, KeepRuns, KeepBytes *int64
}

// History reads what is packed.
func (c *Client) History(ctx context.Context) (Document[History], error) {
	return read[History](ctx, c, "/api/history", nil)
}

// SetHistory changes how long finished runs stay in memory, and what is kept of them.
func (c *Client) SetHistory(ctx context.Context, h HistoryChange) error {
	body := map[string]any{}
	for name, value := range map[string]*int64{"packAfterMs": h.PackAfterMs, "keepMs": h.KeepMs, "keepRuns": h.KeepRuns, "keepBytes": h.KeepBytes} {
		if value != nil {
			body[name] = *value
		}
	}
	if h.Workspace != "" {
		body["workspaceId"] = h.Workspace
	}
	if h.Workflow != "" {
		body["workflow"] = h.Workflow
	}
	return c.change(ctx, "/api/set_history", body, nil)
}
