package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// nodesOptions list the members of the mesh.
type nodesOptions struct{}

func (o *nodesOptions) AddFlags(*pflag.FlagSet) {}

func (o *nodesOptions) run(ctx context.Context, a *app, _ []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	doc, err := c.Nodes(ctx)
	if err != nil {
		return fmt.Errorf("failed to list nodes: %w", err)
	}
	if a.json() {
		return a.printJSON(doc.Raw)
	}
	rows := [][]string{{"Name", "Address", "Role", "State", "Version", "Slots", "Modules"}}
	for _, n := range doc.Value.Nodes {
		name := n.Name
		if n.Self {
			name += " *"
		}
		state := n.State
		if n.DiskFull {
			state += ", disk full"
		}
		rows = append(rows, []string{name, n.HTTP, n.Role, state, n.Version, slotsText(n), modulesText(n)})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	printModuleErrors(a.stdout, doc.Value.Nodes)
	if !doc.Value.Quorum {
		fmt.Fprintln(a.stderr, "no quorum: this node does not hear from a majority of the voters")
	}
	return nil
}

// printModuleErrors says which modules failed to load, where and why.
func printModuleErrors(w io.Writer, nodes []client.Node) {
	for _, n := range nodes {
		for _, m := range n.Modules {
			if m.Error == nil {
				continue
			}
			state := "not served"
			if m.Serving {
				state = "the last good code is served"
			}
			fmt.Fprintf(w, "\n%s: module %s failed to load (%s):\n  %s\n", printable(n.Name), printable(m.Name), state,
				strings.ReplaceAll(printable(strings.TrimSpace(*m.Error)), "\n", "\n  "))
		}
	}
}

func slotsText(n client.Node) string {
	if n.Slots == nil {
		return "-"
	}
	if n.Used == nil {
		return fmt.Sprintf("?/%d", *n.Slots)
	}
	return fmt.Sprintf("%d/%d", *n.Used, *n.Slots)
}

func modulesText(n client.Node) string {
	if len(n.Modules) == 0 {
		return "-"
	}
	names := make([]string, 0, len(n.Modules))
	for _, m := range n.Modules {
		name := m.Name
		if m.Error != nil {
			name += " (failed)"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
