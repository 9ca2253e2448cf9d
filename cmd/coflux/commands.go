package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// options are the flags of one command and what it does.
type options interface {
	AddFlags(*pflag.FlagSet)
	run(ctx context.Context, a *app, args []string) error
}

// command is one row of the table.
type command struct {
	name     string // its words
	args     string // its arguments, as the usage shows them
	short    string // one line
	long     string // more, or empty
	min, max int    // number of arguments; max < 0 = any
	hidden   bool
	rawArgs  bool // parses everything behind its name itself
	make     func() options
}

// commands is the table of contents of the command line.
func commands() []command {
	return []command{
		{name: "submit", args: "MODULE/TARGET [ARGUMENT...]", short: "Start a workflow and wait for it",
			long: submitHelp, min: 1, max: -1, make: func() options { return &submitOptions{} }},
		{name: "workflow.run", args: "MODULE TARGET [ARGUMENT...]", short: "The same as submit, with module and target apart",
			long: submitHelp, min: 2, max: -1, make: func() options { return &submitOptions{apart: true} }},

		{name: "runs list", short: "List runs, newest first", make: func() options { return &runsListOptions{} }},
		{name: "runs inspect", args: "RUN", short: "Show a run: its steps and where they ran", min: 1, max: 1,
			long: inspectHelp, make: func() options { return &runsInspectOptions{} }},
		{name: "runs result", args: "RUN[:STEP[:ATTEMPT]]", short: "Show the result of a run, a step or an attempt", min: 1, max: 1,
			make: func() options { return &runsResultOptions{} }},
		{name: "runs cancel", args: "RUN|EXECUTION", short: "Cancel a run, or one execution and what it started", min: 1, max: 1,
			make: func() options { return &runsCancelOptions{} }},

		{name: "runs rerun", args: "RUN:STEP", short: "Run a step once more, in its workspace or one based on it", min: 1, max: 1,
			make: func() options { return &runsRerunOptions{} }},
		{name: "worker", args: "MODULE...", short: "Run tasks and workflows, attached to a node", max: -1, long: workerHelp,
			make: func() options { return &workerOptions{} }},
		{name: "agent.run", args: "MODULE...", short: "The same as worker --register; --reload is its --watch", max: -1, long: workerHelp,
			make: func() options { return &workerOptions{user: true} }},

		{name: "logs", args: "RUN [RUN:STEP:ATTEMPT]", short: "Show what a run logged and printed", min: 1, max: 2,
			make: func() options { return &logsOptions{} }},
		{name: "inputs list", short: "List the questions that runs ask people and wait for", make: func() options { return &inputsListOptions{} }},
		{name: "inputs inspect", args: "INPUT", short: "Show a question, and its answer", min: 1, max: 1,
			make: func() options { return &inputsInspectOptions{} }},
		{name: "inputs respond", args: "INPUT JSON", short: "Answer a question", min: 2, max: 2, long: respondHelp,
			make: func() options { return &inputsRespondOptions{} }},
		{name: "inputs dismiss", args: "INPUT", short: "Decline to answer a question", min: 1, max: 1,
			make: func() options { return &inputsDismissOptions{} }},
		{name: "manifests inspect", short: "List the registered workflows", make: func() options { return &manifestsInspectOptions{} }},
		{name: "manifests discover", args: "[MODULE...]", short: "List the workflows of modules, imported here; asks no node", max: -1,
			make: func() options { return &manifestsDiscoverOptions{} }},
		{name: "manifests register", args: "[MODULE...]", short: "Register the workflows of modules, so that they can be submitted", max: -1,
			make: func() options { return &manifestsRegisterOptions{} }},
		{name: "manifests archive", args: "MODULE", short: "Forget the workflows of a module", min: 1, max: 1,
			make: func() options { return &manifestsArchiveOptions{} }},
		{name: "assets inspect", args: "ASSET", short: "List the files of an asset", min: 1, max: 1, make: func() options { return &assetsInspectOptions{} }},
		{name: "assets download", args: "ASSET", short: "Write the files of an asset into a directory", min: 1, max: 1,
			make: func() options { return &assetsDownloadOptions{} }},
		{name: "blobs get", args: "KEY", short: "Read a blob, to stdout or a file", min: 1, max: 1, make: func() options { return &blobsGetOptions{} }},
		{name: "blobs put", args: "FILE", short: "Store a file as a blob and print its key; it stays for an hour unless a run refers to it",
			min: 1, max: 1, make: func() options { return &blobsPutOptions{} }},
		{name: "backup save", args: "FILE", short: "Save the whole mesh while it runs, to a file or (-) stdout", long: backupSaveHelp, min: 1, max: 1,
			make: func() options { return &backupSaveOptions{} }},
		{name: "backup inspect", args: "FILE", short: "Check a backup, and show what is in it; asks no node", min: 1, max: 1,
			make: func() options { return &backupInspectOptions{} }},
		{name: "backup restore", args: "FILE [BASE...]", short: "Make the data directory of a new mesh's first node of a backup", long: backupRestoreHelp, min: 1, max: -1,
			make: func() options { return &backupRestoreOptions{} }},
		{name: "history", short: "Show what is packed of finished runs, and how long it is kept", make: func() options { return &historyOptions{} }},
		{name: "history set", short: "Change how long finished runs stay in memory, and what is kept of them",
			make: func() options { return &historySetOptions{} }},
		{name: "nodes", short: "List the nodes of the mesh", make: func() options { return &nodesOptions{} }},
		{name: "queue", short: "Show what is queued and running", make: func() options { return &queueOptions{} }},
		{name: "sessions list", short: "List the agents that serve the workspace", make: func() options { return &sessionsListOptions{} }},
		{name: "workspaces list", short: "List the workspaces", make: func() options { return &workspacesListOptions{} }},
		{name: "workspaces create", args: "NAME", short: "Create a workspace", min: 1, max: 1,
			make: func() options { return &workspacesCreateOptions{} }},
		{name: "workspaces update", short: "Rename the workspace, or change what it is based on",
			make: func() options { return &workspacesUpdateOptions{} }},
		{name: "workspaces pause", short: "Start nothing new in the workspace; what runs goes on",
			make: func() options { return changeWorkspace("Paused", (*client.Client).PauseWorkspace) }},
		{name: "workspaces resume", short: "End a pause", make: func() options { return changeWorkspace("Resumed", (*client.Client).ResumeWorkspace) }},
		{name: "workspaces archive", short: "End the workspace for ever: what runs is abandoned, what waits cancelled",
			make: func() options { return changeWorkspace("Archived", (*client.Client).ArchiveWorkspace) }},

		{name: "dev", args: "[--run MODULE TARGET [ARGUMENT...]]", short: "Start a mesh on this machine, for a try or for one run", max: -1,
			long: devHelp, make: func() options { return &devOptions{} }},
		{name: "bench", short: "Measure a mesh with fixed workloads", long: benchHelp, make: func() options { return &benchOptions{} }},
		{name: "node", args: "[FLAGS OF COFLUX-NODE]", short: "Run a node, as coflux-node does", hidden: true, rawArgs: true,
			make: func() options { return &nodeOptions{} }},

		{name: "help", args: "[COMMAND]", short: "Explain a command", max: 2, make: func() options { return &helpOptions{} }},
		{name: "version", short: "Print the version", make: func() options { return &versionOptions{} }},
	}
}

// findCommand returns the command that words name. A second word that is not part of the name goes
// back in front of rest.
func findCommand(words []string, rest *[]string) *command {
	table := commands()
	full := strings.Join(words, " ")
	for i := range table {
		if table[i].name == full {
			return &table[i]
		}
	}
	if len(words) < 2 {
		return nil
	}
	for i := range table {
		if table[i].name == words[0] {
			*rest = append([]string{words[1]}, *rest...)
			return &table[i]
		}
	}
	return nil
}

// isGroup reports whether commands begin with this word and have another one.
func isGroup(word string) bool {
	for _, c := range commands() {
		if strings.HasPrefix(c.name, word+" ") {
			return true
		}
	}
	return false
}

func (c *command) checkArgs(n int) error {
	switch {
	case c.max == c.min && n != c.min && c.min > 0:
		return &usageError{c, fmt.Sprintf("accepts %d arg(s), received %d", c.min, n)}
	case n < c.min:
		return &usageError{c, fmt.Sprintf("requires at least %d arg(s), only received %d", c.min, n)}
	case c.max == 0 && n > 0:
		return &usageError{c, fmt.Sprintf("accepts no args, received %d", n)}
	case c.max > 0 && n > c.max:
		return &usageError{c, fmt.Sprintf("accepts at most %d arg(s), received %d", c.max, n)}
	}
	return nil
}
