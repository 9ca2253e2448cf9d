package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/cmd/internal/daemon"
)

const helpHead = `coflux - start workflows on a mesh of nodes and see what became of them

Usage:
  coflux COMMAND [flags]
`

const helpTail = `
Flags may stand anywhere; "--" ends them, so that an argument may begin with "-".
Every global flag can also be set by COFLUX_<NAME> or in the file named by --config.

Exit status: 0 success, 1 any failure (a failed run that was waited for, too).

One minute to a result:
  coflux dev --path examples --run example1.repo my_workflow '"Joe"'
`

// printHelp explains one command, or all.
func (a *app) printHelp(cmd *command) {
	var b strings.Builder
	if cmd != nil {
		b.WriteString(cmd.short + "\n\n" + usageText(cmd))
		if cmd.long != "" {
			b.WriteString("\n" + strings.TrimSpace(cmd.long) + "\n")
		}
		if !cmd.rawArgs {
			b.WriteString("\nGlobal flags:\n" + daemon.FlagHelp(daemon.FlagsOf((&globalOptions{}).flags())...))
		}
		fmt.Fprint(a.stdout, b.String())
		return
	}
	b.WriteString(helpHead + "\nCommands:\n")
	b.WriteString(commandList(""))
	b.WriteString("\nGlobal flags:\n" + daemon.FlagHelp(daemon.FlagsOf((&globalOptions{}).flags())...))
	b.WriteString(helpTail)
	fmt.Fprint(a.stdout, b.String())
}

func (a *app) printGroup(word string) {
	fmt.Fprintf(a.stdout, "Usage:\n  coflux %s COMMAND [flags]\n\nCommands:\n%s", word, commandList(word+" "))
}

func commandList(prefix string) string {
	var b strings.Builder
	for _, c := range commands() {
		if !c.hidden && strings.HasPrefix(c.name, prefix) {
			fmt.Fprintf(&b, "  %-19s %s\n", c.name, c.short)
		}
	}
	return b.String()
}

// usageText is the usage line and the command's own flags.
func usageText(cmd *command) string {
	var b strings.Builder
	b.WriteString("Usage:\n  coflux " + cmd.name)
	if cmd.args != "" {
		b.WriteString(" " + cmd.args)
	}
	b.WriteString(" [flags]\n")
	own := newFlagSet(cmd.name)
	cmd.make().AddFlags(own)
	if own.HasAvailableFlags() {
		b.WriteString("\nFlags:\n" + daemon.FlagHelp(daemon.FlagsOf(own)...))
	}
	return b.String()
}

type helpOptions struct{}

func (o *helpOptions) AddFlags(*pflag.FlagSet) {}

func (o *helpOptions) run(_ context.Context, a *app, args []string) error {
	if len(args) == 0 {
		a.printHelp(nil)
		return nil
	}
	var rest []string
	cmd := findCommand(args, &rest)
	if cmd == nil || len(rest) > 0 {
		return a.unknownCommand(args)
	}
	if cmd.rawArgs {
		return cmd.make().run(context.Background(), a, []string{"--help"})
	}
	a.printHelp(cmd)
	return nil
}
