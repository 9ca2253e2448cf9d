package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/cmd/internal/localmesh"
	"github.com/coflux-mesh/coflux/node/api/client"
)

const devHelp = `
Starts real node processes on loopback, with their state in a temporary directory, and waits until they see
each other, have a leader and serve the module.

With --run the workflow TARGET of MODULE is started through a node that is not the leader, its steps and its
output are shown, and everything is stopped again; exit status 0 if the workflow returned, 1 if not.
Without it the mesh stays up until Ctrl-C.

  coflux dev --nodes 3 --path examples --run example1.repo my_workflow '"Joe"'
  coflux dev --nodes 3 --path examples --repo example1.repo --reload
`

const (
	readyTimeout = 60 * time.Second
	devDrain     = 10 * time.Second
)

// devOptions start a mesh on this machine.
type devOptions struct {
	nodes, concurrency, basePort int
	path, repos                  []string
	python, module               string
	keep, reload                 bool
}

func (o *devOptions) AddFlags(f *pflag.FlagSet) {
	f.IntVar(&o.nodes, "nodes", 1, "start `N` nodes")
	f.StringSliceVar(&o.repos, "repo", nil, "serve this `MODULE` (repeatable)")
	f.StringVar(&o.module, "run", "", "serve this `MODULE`, run its workflow TARGET ARGUMENTS., and stop")
	f.StringSliceVar(&o.path, "path", nil, "look for modules in this `DIRECTORY` (repeatable); the current directory if not given")
	f.StringVar(&o.python, "python", "", "run this `INTERPRETER`")
	f.IntVar(&o.concurrency, "concurrency", 0, "`N` slots per node, if not the default")
	f.IntVar(&o.basePort, "base-port", 0, "use the ports from `PORT` on, three per node, if not free ones")
	f.BoolVar(&o.reload, "reload", false, "watch the modules' files")
	f.BoolVar(&o.keep, "keep", false, "keep the temporary directory with state and logs")
}

func (o *devOptions) run(ctx context.Context, a *app, args []string) error {
	target, arguments, err := o.check(args)
	if err != nil {
		return err
	}
	talk := a.stdout
	if a.json() {
		talk = a.stderr
	}
	mesh, err := o.start(a, o.module == "")
	if err != nil {
		return err
	}
	err = o.up(ctx, a, talk, mesh, target, arguments)
	if o.keep {
		fmt.Fprintf(talk, "State and logs are kept in %s\n", mesh.Dir)
	}
	stopping, cancel := context.WithTimeout(context.Background(), devDrain+10*time.Second)
	defer cancel()
	stopErr := mesh.Stop(stopping, o.keep)
	if err == nil {
		return stopErr
	}
	if stopErr != nil {
		fmt.Fprintln(a.stderr, stopErr)
	}
	return err
}

// check splits the arguments behind --run MODULE, which may also be written MODULE/TARGET.
func (o *devOptions) check(args []string) (target string, arguments []string, err error) {
	if o.module == "" {
		if len(args) > 0 {
			return "", nil, fmt.Errorf("the argument %q is not expected: name what to run with --run MODULE TARGET ARGUMENTS", args[0])
		}
		if len(o.repos) == 0 {
			return "", nil, errors.New("nothing to serve: name a module with --repo MODULE, or run a workflow with --run MODULE TARGET ARGUMENTS")
		}
		return "", nil, nil
	}
	if module, t, ok := strings.Cut(o.module, "/"); ok {
		o.module, args = module, append([]string{t}, args...)
	}
	if len(args) == 0 {
		return "", nil, fmt.Errorf("the workflow is missing: --run %s TARGET ARGUMENTS", o.module)
	}
	if err := checkArguments(args[1:]); err != nil {
		return "", nil, fmt.Errorf("failed to submit workflow: %w", err)
	}
	return args[0], args[1:], nil
}

func (o *devOptions) start(a *app, usualPorts bool) (*localmesh.Mesh, error) {
	repos, required := o.repos, []string{}
	if o.module != "" {
		required = append(required, o.module)
	}
	if o.module != "" && !slices.Contains(repos, o.module) {
		repos = append(append([]string{}, repos...), o.module)
	}
	return localmesh.Start(localmesh.Config{
		Nodes: o.nodes, Repos: repos, Required: required, Path: o.path, Python: o.python, Concurrency: o.concurrency,
		Workspace: a.opts.workspace, Project: a.opts.project, Reload: o.reload, BasePort: o.basePort, UsualPorts: usualPorts,
		Drain: devDrain, Progress: func(s string) { fmt.Fprintln(a.stderr, s) },
	})
}

// up waits for the mesh, shows it, and runs the workflow or waits for Ctrl-C.
func (o *devOptions) up(ctx context.Context, a *app, talk io.Writer, mesh *localmesh.Mesh, target string, arguments []string) error {
	start := time.Now()
	fmt.Fprintf(talk, "Starting %s in %s\n", count(o.nodes, "node"), mesh.Dir)
	if err := mesh.Ready(ctx, readyTimeout); err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted while starting")
		}
		return err
	}
	if err := printMesh(ctx, a, talk, mesh); err != nil {
		return err
	}
	fmt.Fprintf(talk, "Ready after %s\n", shortDuration(time.Since(start)))
	if o.module != "" {
		return o.runOnce(ctx, a, talk, mesh, target, arguments)
	}
	o.stay(ctx, a, talk, mesh)
	return nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// printMesh prints a line per node.
func printMesh(ctx context.Context, a *app, talk io.Writer, mesh *localmesh.Mesh) error {
	doc, err := mesh.Nodes[0].Client.Nodes(ctx)
	if err != nil {
		return fmt.Errorf("failed to list nodes: %w", err)
	}
	rows := [][]string{}
	for _, n := range mesh.Nodes {
		for _, info := range doc.Value.Nodes {
			if info.Name == n.Name {
				rows = append(rows, []string{"  " + n.Name, "http://" + n.HTTP, info.Role, fmt.Sprintf("pid %d", n.PID()),
					"slots " + slotsText(info), "modules " + modulesText(info)})
			}
		}
	}
	b := *a
	b.stdout = talk
	if err := b.table(rows); err != nil {
		return err
	}
	printModuleErrors(talk, doc.Value.Nodes)
	return nil
}

// stay keeps the mesh up until Ctrl-C and tells when a node ends.
func (o *devOptions) stay(ctx context.Context, a *app, talk io.Writer, mesh *localmesh.Mesh) {
	fmt.Fprintf(talk, "\nTry:\n  %s%s runs list\n  %s%s manifests inspect\nLogs of the nodes: %s\nCtrl-C stops them.\n",
		program(), hostFlag(mesh.Nodes[0].HTTP), program(), hostFlag(mesh.Nodes[0].HTTP), filepath.Join(mesh.Dir, "*.log"))
	ended := make(chan *localmesh.Node)
	for _, n := range mesh.Nodes {
		go func() {
			select {
			case <-n.Done():
			case <-ctx.Done():
				return
			}
			select {
			case ended <- n:
			case <-ctx.Done():
			}
		}()
	}
	for left := len(mesh.Nodes); left > 0; {
		select {
		case <-ctx.Done():
			fmt.Fprintln(talk, "\nStopping")
			return
		case n := <-ended:
			left--
			how := "status 0"
			if n.Err() != nil {
				how = n.Err().Error()
			}
			fmt.Fprintf(talk, "Node %s (pid %d) ended: %s\n", n.Name, n.PID(), how)
		}
	}
}

// program is how this program was started: a file that the go command has built in passing has no name
// worth typing.
func program() string {
	if self, err := os.Executable(); err == nil && strings.Contains(self, "go-build") {
		return "go run ./cmd/coflux"
	}
	return "coflux"
}

func hostFlag(address string) string {
	if address == "127.0.0.1:7777" {
		return ""
	}
	return " --host " + address
}

// runOnce runs the workflow through a node that does not lead and shows what happens.
func (o *devOptions) runOnce(ctx context.Context, a *app, talk io.Writer, mesh *localmesh.Mesh, target string, arguments []string) error {
	leader, via, err := mesh.Leader(ctx)
	if err != nil {
		return err
	}
	workspace, err := mesh.WorkspaceID(ctx)
	if err != nil {
		return err
	}
	submit := &submitOptions{flags: newFlagSet("submit")}
	got, err := submit.submit(ctx, via.Client, workspace, o.module, target, arguments)
	if err != nil {
		return err
	}
	through := "through " + via.Name
	if via != leader {
		through += fmt.Sprintf(", the leader is %s", leader.Name)
	}
	fmt.Fprintf(talk, "\nRun %s of %s/%s, %s\n", got.RunID, o.module, target, through)
	return a.showRun(ctx, talk, via.Client, workspace, got.RunID)
}

// showRun shows a run while it happens, its output and its result.
func (a *app) showRun(ctx context.Context, talk io.Writer, c *client.Client, workspace, run string) error {
	logs := collectLogs(ctx, c, workspace, run)
	defer logs.stop()
	view := newDevView(a, talk, run, logs)
	doc, err := a.watch(ctx, c, workspace, run, view)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted: run %s was left unfinished", run)
	case err != nil:
		return fmt.Errorf("failed to watch run %s: %w", run, err)
	}
	if a.json() {
		full, err := c.Run(ctx, workspace, run)
		if err != nil {
			return fmt.Errorf("failed to get run: %w", err)
		}
		if err := a.printJSON(full.Raw); err != nil {
			return err
		}
	}
	result := rootResult(doc, run)
	if !result.OK() {
		printFailure(a.stderr, result)
		return errQuiet
	}
	text, err := a.resultText(ctx, c, result)
	if err != nil {
		return err
	}
	fmt.Fprintf(talk, "Result: %s\n", printable(text))
	return nil
}
