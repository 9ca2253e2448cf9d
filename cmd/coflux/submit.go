package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/node/api/client"
)

const submitHelp = `
Each argument is a JSON text, so a string needs its own quotes: '"Joe"', 42, '{"a": 1}'.

On a terminal the steps are shown live: which node runs what, and for how long. Ctrl-C leaves the
workflow running. Elsewhere the run's id is printed and the outcome awaited in silence; with -o json the
run document is printed at the end. Exit status 0 if the workflow returned a value, 1 if not.
`

// submitPatience bounds how long a submission is repeated, with the same request id, while no leader
// answers.
const submitPatience = 30 * time.Second

// submitOptions start a workflow.
type submitOptions struct {
	apart          bool // module and target are two arguments
	noWait         bool
	idempotencyKey string
	delay          float64
	retries        int
	requires       []string
	noRequires     bool
	memo, noMemo   bool
	flags          *pflag.FlagSet
}

func (o *submitOptions) AddFlags(f *pflag.FlagSet) {
	o.flags = f
	f.BoolVar(&o.noWait, "no-wait", false, "return right after the submission")
	f.StringVar(&o.idempotencyKey, "idempotency-key", "", "use the run that was submitted with this `KEY` in the last 24 h, if there is one")
	f.Float64Var(&o.delay, "delay", 0, "start after so many `SECONDS`, whatever the workflow says")
	f.IntVar(&o.retries, "retries", 0, "try `N` times more, at once, when the workflow fails; 0 = not at all")
	f.StringSliceVar(&o.requires, "requires", nil, "run only where this tag, `NAME:VALUE`, is provided (NAME alone is NAME:true; repeatable), whatever the workflow says; values of one name are alternatives")
	f.BoolVar(&o.noRequires, "no-requires", false, "run anywhere, whatever the workflow says")
	f.BoolVar(&o.memo, "memo", false, "let equal calls within the run share one result, whatever the workflow says")
	f.BoolVar(&o.noMemo, "no-memo", false, "let only those calls share results that ask for it themselves")
}

func (o *submitOptions) run(ctx context.Context, a *app, args []string) error {
	module, target, args, err := o.target(args)
	if err != nil {
		return err
	}
	if o.flags.Changed("delay") && !(o.delay >= 0 && o.delay <= math.MaxInt32) {
		return fmt.Errorf("the delay %v is not a number of seconds from 0 on: check --delay", o.delay)
	}
	if o.retries < 0 || o.retries > 1_000_000_000 {
		return fmt.Errorf("%d is not a number of retries from 0 on: check --retries", o.retries)
	}
	if o.flags.Changed("requires") && o.noRequires {
		return errors.New("--requires and --no-requires exclude each other: give one of them")
	}
	if o.memo && o.noMemo {
		return errors.New("--memo and --no-memo exclude each other: give one of them")
	}
	if err := checkArguments(args); err != nil {
		return fmt.Errorf("failed to submit workflow: %w", err)
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	workspace, err := a.ensureWorkspace(ctx, c)
	if err != nil {
		return err
	}
	got, err := o.submit(ctx, c, workspace, module, target, args)
	if err != nil {
		return err
	}
	switch {
	case o.noWait && a.json():
		return a.printJSONValue(got)
	case o.noWait:
		fmt.Fprintf(a.stdout, "Workflow submitted (run: %s).\n", got.RunID)
		return nil
	case !a.json() && !a.stdoutTTY:
		fmt.Fprintln(a.stdout, got.RunID)
	}
	return a.waitRun(ctx, c, workspace, got.RunID)
}

func (o *submitOptions) target(args []string) (module, target string, rest []string, err error) {
	if o.apart {
		return args[0], args[1], args[2:], nil
	}
	i := strings.LastIndexByte(args[0], '/')
	if i <= 0 || i == len(args[0])-1 {
		return "", "", nil, fmt.Errorf("invalid target format: expected 'module/target', got '%s'", args[0])
	}
	return args[0][:i], args[0][i+1:], args[1:], nil
}

// checkArguments refuses what is not JSON as the node would.
func checkArguments(args []string) error {
	for i, arg := range args {
		if json.Valid([]byte(arg)) {
			continue
		}
		details, err := json.Marshal(map[string]string{fmt.Sprintf("arguments.%d", i): "not_json"})
		if err != nil {
			return err
		}
		return &client.Error{Status: 400, Code: client.CodeBadRequest,
			Message: fmt.Sprintf("argument %d is not JSON: %s", i+1, arg), Details: details,
			Hint: "a string needs its own quotes: " + quotedExample(arg)}
	}
	return nil
}

func quotedExample(arg string) string {
	b, err := json.Marshal(arg)
	if err != nil {
		return `'"Joe"'`
	}
	return "'" + strings.ReplaceAll(string(b), "'", `'\''`) + "'"
}

// ensureWorkspace looks the workspace up and creates it if it is missing.
func (a *app) ensureWorkspace(ctx context.Context, c *client.Client) (string, error) {
	id, err := a.workspaceID(ctx, c)
	if err != nil || id != "" {
		return id, err
	}
	patient, cancel := context.WithTimeout(ctx, submitPatience)
	defer cancel()
	id, err = c.CreateWorkspace(patient, a.opts.workspace, "")
	var refused *client.Error
	if errors.As(err, &refused) && strings.Contains(string(refused.Details), `"exists"`) {
		// Another client was faster.
		if id, err = a.workspaceID(ctx, c); err == nil && id == "" {
			err = fmt.Errorf("workspace not found: %s", a.opts.workspace)
		}
		return id, err
	}
	if err != nil {
		return "", fmt.Errorf("failed to create workspace %s: %w", a.opts.workspace, err)
	}
	return id, nil
}

// submit reads the workflow's definition and starts it with the options that stand there.
func (o *submitOptions) submit(ctx context.Context, c *client.Client, workspace, module, target string, args []string) (client.Submitted, error) {
	def, err := c.Workflow(ctx, workspace, module, target)
	if err == nil && def.Value.Configuration == nil { // it has run before
		err = &client.Error{Status: 404, Code: client.CodeNotFound, Message: fmt.Sprintf("workflow %s/%s is not registered any more", module, target)}
	}
	if err != nil {
		err = fmt.Errorf("failed to get workflow: %w", err)
		if client.IsCode(err, client.CodeNotFound) && hintFor(err) == "" {
			err = &hintError{err, "'coflux manifests inspect' lists the workflows, 'coflux nodes' says which modules failed to load"}
		}
		return client.Submitted{}, err
	}
	options := map[string]json.RawMessage{}
	for _, name := range []string{"waitFor", "cache", "defer", "delay", "retries", "recurrent", "requires", "memo", "timeout", "durable"} {
		if v, ok := def.Value.Configuration[name]; ok && string(v) != "null" {
			options[name] = v
		}
	}
	if o.flags.Changed("delay") {
		options["delay"] = json.RawMessage(fmt.Sprintf("%.0f", o.delay*1000))
	}
	if o.flags.Changed("retries") {
		options["retries"] = json.RawMessage(fmt.Sprintf(`{"limit":%d}`, o.retries))
	}
	if o.memo || o.noMemo {
		options["memo"] = json.RawMessage(fmt.Sprint(o.memo))
	}
	if o.noRequires || o.flags.Changed("requires") {
		tags, err := json.Marshal(tagsOf(o.requires))
		if err != nil {
			return client.Submitted{}, err
		}
		options["requires"] = tags
	}
	ctx, cancel := context.WithTimeout(ctx, submitPatience)
	defer cancel()
	got, err := c.Submit(ctx, client.SubmitRequest{WorkspaceID: workspace, Module: module, Target: target,
		Arguments: args, Options: options, IdempotencyKey: o.idempotencyKey})
	if err != nil {
		return got, fmt.Errorf("failed to submit workflow: %w", err)
	}
	c.Stale = false // there is a leader again, if there was none before
	return got, nil
}
