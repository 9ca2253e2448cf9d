package main

import (
	"context"
	"encoding/json"
	"errors"
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
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(doc.Raw, &raw); err != nil {
		return fmt.Errorf("decode the workspaces: %w", err)
	}
	var shown []client.Workspace
	for id, w := range doc.Value {
		if w.State == "archived" {
			delete(raw, id)
			continue
		}
		shown = append(shown, w)
	}
	if a.json() {
		b, err := json.Marshal(raw)
		if err != nil {
			return err
		}
		return a.printJSON(b)
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

// baseWorkspace finds the id of the workspace to inherit from.
func baseWorkspace(ctx context.Context, c *client.Client, name string) (string, error) {
	id, err := findWorkspace(ctx, c, name)
	if err == nil && id == "" {
		err = &hintError{fmt.Errorf("base workspace not found: %s", name), "'coflux workspaces list' shows those that exist"}
	}
	return id, err
}

// changedWorkspace says what was done.
func (a *app) changedWorkspace(did, id, name string) error {
	if a.json() {
		return a.printJSONValue(map[string]string{"id": id})
	}
	_, err := fmt.Fprintf(a.stdout, "%s workspace '%s'.\n", did, printable(name))
	return err
}

// workspacesCreateOptions create a workspace.
type workspacesCreateOptions struct{ base string }

func (o *workspacesCreateOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.base, "base", "", "inherit from the workspace `NAME`: its cached and memoised results, its steps for re-runs")
}

func (o *workspacesCreateOptions) run(ctx context.Context, a *app, args []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	base := ""
	if o.base != "" {
		if base, err = baseWorkspace(ctx, c, o.base); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, submitPatience)
	defer cancel()
	id, err := c.CreateWorkspace(ctx, args[0], base)
	if err != nil {
		return err
	}
	return a.changedWorkspace("Created", id, args[0])
}

// workspacesUpdateOptions change the workspace that the settings name.
type workspacesUpdateOptions struct {
	name, base string
	noBase     bool
	flags      *pflag.FlagSet
}

func (o *workspacesUpdateOptions) AddFlags(f *pflag.FlagSet) {
	o.flags = f
	f.StringVar(&o.name, "name", "", "call it `NAME` from now on; its id stays")
	f.StringVar(&o.base, "base", "", "inherit from the workspace `NAME`")
	f.BoolVar(&o.noBase, "no-base", false, "inherit from none")
}

func (o *workspacesUpdateOptions) run(ctx context.Context, a *app, _ []string) error {
	update := client.WorkspaceUpdate{Name: o.name}
	rebase := o.flags.Changed("base")
	switch {
	case rebase && o.noBase:
		return errors.New("--base and --no-base exclude each other: give one of them")
	case o.flags.Changed("name") && o.name == "" || rebase && o.base == "":
		return errors.New("a workspace's name cannot be empty: check --name and --base")
	case o.name == "" && !rebase && !o.noBase:
		return errors.New("nothing to change: give --name, --base or --no-base")
	}
	c, id, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	if rebase || o.noBase {
		base := ""
		if rebase {
			if base, err = baseWorkspace(ctx, c, o.base); err != nil {
				return err
			}
		}
		update.Base = &base
	}
	ctx, cancel := context.WithTimeout(ctx, submitPatience)
	defer cancel()
	if err := c.UpdateWorkspace(ctx, id, update); err != nil {
		return err
	}
	name := a.opts.workspace
	if o.name != "" {
		name = o.name
	}
	return a.changedWorkspace("Updated", id, name)
}

// workspaceChange does one thing to the workspace that the settings name.
type workspaceChange struct {
	did    string
	change func(c *client.Client, ctx context.Context, id string) error
}

func changeWorkspace(did string, change func(*client.Client, context.Context, string) error) options {
	return &workspaceChange{did, change}
}

func (o *workspaceChange) AddFlags(*pflag.FlagSet) {}

func (o *workspaceChange) run(ctx context.Context, a *app, _ []string) error {
	c, id, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, submitPatience)
	defer cancel()
	if err := o.change(c, ctx, id); err != nil {
		return err
	}
	return a.changedWorkspace(o.did, id, a.opts.workspace)
}
