package daemon

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

const helpWidth = 100

// FlagHelp is one line per flag: its names, what it takes, what it means, its default. Long texts go on
// below themselves.
func FlagHelp(flags ...*pflag.Flag) string {
	heads := make([]string, len(flags))
	widest := 0
	for i, f := range flags {
		heads[i] = flagHead(f)
		widest = max(widest, utf8.RuneCountInString(heads[i]))
	}
	var b strings.Builder
	for i, f := range flags {
		_, usage := pflag.UnquoteUsage(f)
		switch {
		case f.DefValue == "" || f.DefValue == "false" || f.DefValue == "0" || f.DefValue == "[]":
		case f.Value.Type() == "string":
			usage += fmt.Sprintf(" (default %q)", f.DefValue)
		default:
			usage += fmt.Sprintf(" (default %s)", f.DefValue)
		}
		indent := 2 + widest + 3
		fmt.Fprintf(&b, "  %s%s%s\n", heads[i], strings.Repeat(" ", indent-2-utf8.RuneCountInString(heads[i])),
			wrap(usage, helpWidth-indent, strings.Repeat(" ", indent)))
	}
	return b.String()
}

// FlagsOf lists the flags of a set that are shown.
func FlagsOf(set *pflag.FlagSet) []*pflag.Flag {
	var flags []*pflag.Flag
	set.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			flags = append(flags, f)
		}
	})
	return flags
}

func flagHead(f *pflag.Flag) string {
	head := "    --" + f.Name
	if f.Shorthand != "" {
		head = "-" + f.Shorthand + ", --" + f.Name
	}
	if f.Value.Type() != "bool" {
		name, _ := pflag.UnquoteUsage(f)
		head += " " + name
	}
	return head
}

// wrap breaks text at spaces; lines after the first begin with indent.
func wrap(text string, width int, indent string) string {
	var b strings.Builder
	n := 0
	for i, word := range strings.Fields(text) {
		w := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case n+1+w > width:
			b.WriteString("\n" + indent)
			n = 0
		default:
			b.WriteByte(' ')
			n++
		}
		b.WriteString(word)
		n += w
	}
	return b.String()
}
