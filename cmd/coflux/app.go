package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// app is what a command runs with: its streams, its surroundings and the resolved global settings.
type app struct {
	stdout, stderr       io.Writer
	stdoutTTY, stderrTTY bool
	size                 func() (width, height int)
	env                  func(string) (string, bool)
	now                  func() time.Time
	opts                 globalOptions
	file                 fileSettings
}

func (a *app) json() bool { return a.opts.output == "json" }

// client returns the client of the node that the settings name.
func (a *app) client() (*client.Client, error) {
	base, err := baseURL(a.opts.host, a.opts.secure)
	if err != nil {
		return nil, err
	}
	return a.clientOf(base), nil
}

func (a *app) clientOf(base string) *client.Client {
	c := &client.Client{
		Base: base, Project: a.opts.project, Token: a.opts.token,
		HTTPClient: &http.Client{Transport: client.Transport()}, DialPatience: time.Second,
	}
	c.OnStale = func(age time.Duration) {
		c.Stale = true
		fmt.Fprintf(a.stderr, "no quorum: showing this node's own copy, last in touch with a leader %s ago\n", shortDuration(age))
	}
	var told sync.Once
	c.OnRetry = func(err error) {
		told.Do(func() {
			fmt.Fprintln(a.stderr, printable(fmt.Sprintf("not accepted yet, trying again for up to %s: %v", submitPatience, err)))
		})
	}
	return c
}

// workspace returns a client and the id of the workspace that the settings name.
func (a *app) workspace(ctx context.Context) (*client.Client, string, error) {
	c, err := a.client()
	if err != nil {
		return nil, "", err
	}
	id, err := a.workspaceID(ctx, c)
	if err == nil && id == "" {
		err = &hintError{fmt.Errorf("workspace not found: %s", a.opts.workspace), "'coflux workspaces list' shows those that exist; submitting to one creates it"}
	}
	return c, id, err
}

// workspaceID returns "" if there is no such workspace.
func (a *app) workspaceID(ctx context.Context, c *client.Client) (string, error) {
	if a.opts.workspace == "" {
		return "", errors.New("the workspace's name is empty: set --workspace, COFLUX_WORKSPACE or workspace in the configuration file")
	}
	return findWorkspace(ctx, c, a.opts.workspace)
}

// findWorkspace returns the id of the workspace that has the name, "" if there is none.
func findWorkspace(ctx context.Context, c *client.Client, name string) (string, error) {
	doc, err := c.Workspaces(ctx)
	if err != nil {
		return "", fmt.Errorf("failed to get workspaces: %w", err)
	}
	for id, w := range doc.Value {
		if w.Name == name && w.State != "archived" {
			return id, nil
		}
	}
	return "", nil
}

// printJSON prints a JSON text with sorted keys and two spaces of indentation; numbers keep their text.
func (a *app) printJSON(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return fmt.Errorf("decode the document: %w", err)
	}
	return a.printJSONValue(v)
}

// printJSONValue prints v; the keys of structs keep their order.
func (a *app) printJSONValue(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", b)
	return err
}

// table prints rows in columns; the first row is the head.
func (a *app) table(rows [][]string) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, printable(cell))
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}
