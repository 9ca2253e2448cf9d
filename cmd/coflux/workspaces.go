package main

import (
	"context"
	"fmt"
	"sort"

	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// workspacesListOptions list the workspaces that are not archived.
type workspacesListOptions struct{}

func (o *workspacesListOptions) AddFlags(*pflag.FlagSet) {}

func (o *workspacesListOptions) run(ctx context.Context, a *app, _ []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	doc, err := c.Workspaces(ctx)
	if err != nil {
		return fmt.Errorf("failed to get workspaces: %w", err)
	}
	if a.json() {
		return a.printJSON(doc.Raw)
	}
	var shown []client.Workspace
	for _, w := range doc.Value {
		if w.State != "archived" {
			shown = append(shown, w)
		}
	}
	if len(shown) == 0 {
		fmt.Fprintln(a.stdout, "No workspaces found.")
		return nil
	}
	sort.Slice(shown, func(i, j int) bool { return shown[i].Name < shown[j].Name })
	rows := [][]string{{"Name", "Base"}}
	for _, w := range shown {
		base := "(None)"
		if w.BaseID != nil {
			base = doc.Value[*w.BaseID].Name
		}
		rows = append(rows, []string{w.Name, base})
	}
	return a.table(rows)
}
