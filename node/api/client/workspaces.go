package client

import "context"

// Workspace is an entry of the workspace list.
type Workspace struct {
	Name   string  `json:"name"`
	BaseID *string `json:"baseId"`
	State  string  `json:"state"` // active | paused | archived
}

// Workspaces lists the workspaces by id, the archived ones too.
func (c *Client) Workspaces(ctx context.Context) (Document[map[string]Workspace], error) {
	return read[map[string]Workspace](ctx, c, topic("workspaces"), nil)
}

// CreateWorkspace creates a workspace, based on the one with the id base if that is not empty, and returns its id. This
// and the other changes are repeated as a submission is, until they are answered or the context ends.
func (c *Client) CreateWorkspace(ctx context.Context, name, base string) (string, error) {
	body := map[string]any{"name": name}
	if base != "" {
		body["baseId"] = base
	}
	var out struct {
		ID string `json:"id"`
	}
	err := c.change(ctx, "/api/create_workspace", body, &out)
	return out.ID, err
}

// WorkspaceUpdate says what to change of a workspace.
type WorkspaceUpdate struct {
	Name string  // "" = leave it
	Base *string // id of the new base, "" for none; nil = leave it
}

// UpdateWorkspace changes a workspace's name or base.
func (c *Client) UpdateWorkspace(ctx context.Context, id string, u WorkspaceUpdate) error {
	body := map[string]any{"workspaceId": id}
	if u.Name != "" {
		body["name"] = u.Name
	}
	if u.Base != nil {
		body["baseId"] = nil
		if *u.Base != "" {
			body["baseId"] = *u.Base
		}
	}
	return c.change(ctx, "/api/update_workspace", body, nil)
}

// PauseWorkspace has nothing new started in a workspace.
func (c *Client) PauseWorkspace(ctx context.Context, id string) error {
	return c.change(ctx, "/api/pause_workspace", map[string]any{"workspaceId": id}, nil)
}

// ResumeWorkspace ends a pause.
func (c *Client) ResumeWorkspace(ctx context.Context, id string) error {
	return c.change(ctx, "/api/resume_workspace", map[string]any{"workspaceId": id}, nil)
}

// ArchiveWorkspace ends a workspace for ever.
func (c *Client) ArchiveWorkspace(ctx context.Context, id string) error {
	return c.change(ctx, "/api/archive_workspace", map[string]any{"workspaceId": id}, nil)
}
