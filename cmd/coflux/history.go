package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// historyOptions show what is packed.
type historyOptions struct{}

func (o *historyOptions) AddFlags(*pflag.FlagSet) {}

func (o *historyOptions) run(ctx context.Context, a *app, _ []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	doc, err := c.History(ctx)
	if err != nil {
		return fmt.Errorf("failed to get history: %w", err)
	}
	if a.json() {
		return a.printJSON(doc.Raw)
	}
	rows := [][]string{{"Workspace", "Packed runs", "Packs", "Size", "Oldest", "Removed", "Kept for", "At most"}}
	records := slices.SortedFunc(maps.Values(doc.Value.Workspaces), func(x, y client.WorkspaceRecord) int { return strings.Compare(x.Name, y.Name) })
	for _, w := range records {
		oldest := "-"
		if w.Oldest != nil {
			oldest = timeText(*w.Oldest)
		}
		rows = append(rows, []string{w.Name, strconv.Itoa(w.Runs), strconv.Itoa(w.Packs), sizeText(float64(w.Bytes)), oldest, strconv.Itoa(w.Removed),
			spanText(w.KeepMs), fmt.Sprintf("%d runs, %s", w.KeepRuns, sizeText(float64(w.KeepBytes)))})
		for _, name := range slices.Sorted(maps.Keys(w.Workflows)) {
			age, most := "", ""
			if k := w.Workflows[name].KeepMs; k != nil {
				age = spanText(*k)
			}
			if k := w.Workflows[name].KeepRuns; k != nil {
				most = fmt.Sprintf("%d runs", *k)
			}
			rows = append(rows, []string{"  " + name, "", "", "", "", "", age, most})
		}
	}
	if err := a.table(rows); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "Finished runs leave memory after %s.\n", spanText(doc.Value.PackAfterMs))
	return err
}

// historySetOptions change what is kept.
type historySetOptions struct {
	packAfter, keep, keepBytes string
	keepRuns                   int64
	mesh                       bool
	workflow                   string
	flags                      *pflag.FlagSet
}

func (o *historySetOptions) AddFlags(f *pflag.FlagSet) {
	o.flags = f
	f.StringVar(&o.packAfter, "pack-after", "", "finished runs leave memory after `TIME` (30s, 5m, 1h); always of the whole mesh")
	f.StringVar(&o.keep, "keep", "", "remove runs `TIME` after their end (36h, 90d); a day at least")
	f.Int64Var(&o.keepRuns, "keep-runs", 0, "keep the newest `N` runs")
	f.StringVar(&o.keepBytes, "keep-bytes", "", "keep the newest runs whose packs have `SIZE` (500M, 20G) together")
	f.BoolVar(&o.mesh, "mesh", false, "of all workspaces that have no setting of their own, instead of the workspace")
	f.StringVar(&o.workflow, "workflow", "", "of the workspace's workflow `MODULE/TARGET` alone: --keep and --keep-runs")
}

func (o *historySetOptions) run(ctx context.Context, a *app, _ []string) error {
	change, err := o.change()
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	if !o.mesh && (change.KeepMs != nil || change.KeepRuns != nil || change.KeepBytes != nil) {
		if c, change.Workspace, err = a.workspace(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, submitPatience)
	defer cancel()
	if err := c.SetHistory(ctx, change); err != nil {
		return err
	}
	if a.json() {
		return a.printJSONValue(map[string]bool{"changed": true})
	}
	_, err = fmt.Fprintln(a.stdout, "History settings changed.")
	return err
}

// change reads the flags.
func (o *historySetOptions) change() (h client.HistoryChange, err error) {
	if o.mesh && o.workflow != "" {
		return h, errors.New("--mesh and --workflow exclude each other: give one of them")
	}
	h.Workflow = o.workflow
	for name, to := range map[string]**int64{"pack-after": &h.PackAfterMs, "keep": &h.KeepMs} {
		if o.flags.Changed(name) {
			ms, err := timeOf(o.flags.Lookup(name).Value.String())
			if err != nil {
				return h, fmt.Errorf("--%s: %w", name, err)
			}
			*to = &ms
		}
	}
	if o.flags.Changed("keep-runs") {
		h.KeepRuns = &o.keepRuns
	}
	if o.flags.Changed("keep-bytes") {
		bytes, err := sizeOf(o.keepBytes)
		if err != nil {
			return h, fmt.Errorf("--keep-bytes: %w", err)
		}
		h.KeepBytes = &bytes
	}
	if h.PackAfterMs == nil && h.KeepMs == nil && h.KeepRuns == nil && h.KeepBytes == nil {
		return h, errors.New("nothing to change: give --pack-after, --keep, --keep-runs or --keep-bytes")
	}
	return h, nil
}

// timeOf reads a time as Go writes durations, or as days: milliseconds.
func timeOf(text string) (ms int64, err error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 && n < 1e6 {
			return int64(n * 24 * 60 * 60 * 1000), nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no time: write it like 90d, 36h, 5m or 30s", text)
	}
	return d.Milliseconds(), nil
}

// spanText is a number of milliseconds for people.
func spanText(ms int64) string {
	const day = 24 * 60 * 60 * 1000
	if ms >= 2*day {
		return strconv.FormatInt(ms/day, 10) + " days"
	}
	text := (time.Duration(ms) * time.Millisecond).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = strings.TrimSuffix(text, zero[1:])
		}
	}
	return text
}

// sizeOf reads a number of bytes with a unit of 1024, K to T, or none.
func sizeOf(text string) (int64, error) {
	digits := strings.TrimRight(strings.ToUpper(text), "IB")
	unit := int64(1)
	for i, letter := range "KMGT" {
		if rest, ok := strings.CutSuffix(digits, string(letter)); ok {
			digits, unit = rest, int64(1)<<(10*(i+1))
		}
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || n < 0 || n*float64(unit) > 1<<60 {
		return 0, fmt.Errorf("%q is no size: write it like 500M or 20G", text)
	}
	return int64(n * float64(unit)), nil
}
