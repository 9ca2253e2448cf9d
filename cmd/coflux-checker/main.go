// Command coflux-checker decides from recorded histories whether the mesh kept its promises.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/coflux-mesh/coflux/cmd/internal/checker"
	"github.com/spf13/pflag"
)

const usage = `Usage: coflux-checker DIR|FILE...

Reads histories (JSON lines; all *.jsonl files below a directory) and prints for each promise whether it was kept.
Everything given is one history. The format is in the comment of package cmd/internal/checker.

Exit status: 0 all that could be checked was kept, 1 something was violated, 2 wrong use or no readable history.

`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := pflag.NewFlagSet("coflux-checker", pflag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	err := flags.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "coflux-checker: %v\n", err)
		return 2
	case flags.NArg() == 0:
		flags.Usage()
		return 2
	}
	history, err := checker.Load(flags.Args()...)
	if err != nil {
		fmt.Fprintf(stderr, "coflux-checker: %v\n", err)
		return 2
	}
	return print(stdout, checker.Check(history))
}

// print writes the table and gives the exit status.
func print(w io.Writer, verdicts []checker.Verdict) int {
	status := 0
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, v := range verdicts {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d facts\n", v.Invariant, v.Promise, v.Status, v.Looked)
	}
	table.Flush()
	for _, v := range verdicts {
		for _, p := range v.Problems {
			fmt.Fprintf(w, "\n%s: %s", v.Invariant, p)
		}
		if more := v.Found - len(v.Problems); more > 0 {
			fmt.Fprintf(w, "\n%s: and %d more", v.Invariant, more)
		}
		if v.Status == checker.Violated {
			fmt.Fprintln(w)
			status = 1
		}
	}
	return status
}
