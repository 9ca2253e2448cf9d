// Command coflux talks to a mesh of nodes, and starts one on this machine.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/coflux-mesh/coflux/node/api/client"
	"github.com/coflux-mesh/coflux/pyexec"
)

func main() {
	if pyexec.GuardMain() {
		return
	}
	os.Exit(Main())
}

// Main runs the command line of this process and returns its exit status.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process the hard way.
	context.AfterFunc(ctx, stop)
	a := &app{
		stdout: os.Stdout, stderr: os.Stderr, env: os.LookupEnv, now: time.Now,
		stdoutTTY: term.IsTerminal(int(os.Stdout.Fd())), stderrTTY: term.IsTerminal(int(os.Stderr.Fd())),
		size: func() (int, int) {
			w, h, err := term.GetSize(int(os.Stdout.Fd()))
			if err != nil || w <= 0 || h <= 0 {
				return 80, 24
			}
			return w, h
		},
	}
	return a.main(ctx, os.Args[1:])
}

// errQuiet ends a command with status 1 after it has said everything itself.
var errQuiet = errors.New("failed")

// exitError ends the process with the status of a program that was run.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

// usageError is a mistake on the command line; the usage is printed before it.
type usageError struct {
	cmd *command
	msg string
}

func (e *usageError) Error() string { return e.msg }

// hintError carries what to do about an error.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

// main runs one command line.
func (a *app) main(ctx context.Context, args []string) int {
	err := a.dispatch(ctx, args)
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	case !errors.Is(err, errQuiet):
		printError(a.stderr, err)
	}
	return 1
}

func printError(w io.Writer, err error) {
	var usage *usageError
	if errors.As(err, &usage) && usage.cmd != nil {
		fmt.Fprintln(w, usageText(usage.cmd))
	}
	fmt.Fprintln(w, printable(err.Error()))
	if hint := hintFor(err); hint != "" {
		fmt.Fprintln(w, "hint: "+printable(hint))
	}
}

func hintFor(err error) string {
	var hint *hintError
	if errors.As(err, &hint) {
		return hint.hint
	}
	var refused *client.Error
	switch {
	case client.IsCode(err, client.CodeNoQuorum):
		return "a majority of the voting nodes must be up; 'coflux nodes' shows who is missing"
	case errors.As(err, &refused):
		return refused.Hint
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "is a node running there? 'coflux dev' starts one; --host or COFLUX_HOST names another"
	}
	if strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return "the node speaks plain HTTP: use --host http://HOST:PORT or COFLUX_SECURE=false"
	}
	return ""
}

// dispatch finds the command in args and runs it. Global flags may stand before, inside and behind
// the command's words.
func (a *app) dispatch(ctx context.Context, args []string) error {
	globals := a.opts.flags()
	words, rest, err := commandWords(globals, args)
	if err != nil {
		return err
	}
	if a.opts.version {
		return (&versionOptions{}).run(ctx, a, nil)
	}
	if len(words) == 0 {
		a.printHelp(nil)
		return nil
	}
	cmd := findCommand(words, &rest)
	if cmd == nil {
		return a.unknownCommand(words)
	}
	flags := newFlagSet(cmd.name)
	opts := cmd.make()
	opts.AddFlags(flags)
	flags.AddFlagSet(globals)
	if cmd.rawArgs {
		return opts.run(ctx, a, rest)
	}
	if err := flags.Parse(rest); err != nil {
		return &usageError{cmd, err.Error()}
	}
	if a.opts.help {
		a.printHelp(cmd)
		return nil
	}
	if err := cmd.checkArgs(flags.NArg()); err != nil {
		return err
	}
	if err := a.resolve(globals); err != nil {
		return err
	}
	return opts.run(ctx, a, flags.Args())
}

// commandWords takes up to two leading words out of args, with the global flags around them.
func commandWords(globals *pflag.FlagSet, args []string) (words, rest []string, err error) {
	globals.SetInterspersed(false)
	defer globals.SetInterspersed(true)
	rest = args
	for len(words) < 2 {
		if len(words) == 1 && !isGroup(words[0]) {
			break
		}
		if err := globals.Parse(rest); err != nil {
			return nil, nil, &usageError{nil, err.Error()}
		}
		rest = globals.Args()
		if len(rest) == 0 {
			break
		}
		words, rest = append(words, rest[0]), rest[1:]
	}
	return words, rest, nil
}

func newFlagSet(name string) *pflag.FlagSet {
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	f.SortFlags = false
	return f
}

func (a *app) unknownCommand(words []string) error {
	if len(words) == 1 && isGroup(words[0]) {
		a.printGroup(words[0])
		return nil
	}
	name := strings.Join(words, " ")
	return &hintError{fmt.Errorf("unknown command %q", name), "'coflux help' lists the commands"}
}
