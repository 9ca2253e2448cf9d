package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// inputsListOptions list the questions that wait for people.
type inputsListOptions struct {
	only  string // of this run
	watch bool
}

func (o *inputsListOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.only, "run", "", "only those of the run `ID`")
	f.BoolVar(&o.watch, "watch", false, "on a terminal, show them live until Ctrl-C")
}

func (o *inputsListOptions) run(ctx context.Context, a *app, _ []string) error {
	c, workspace, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	return a.showTable(ctx, o.watch, "No pending inputs.", func() ([][]string, []byte, error) {
		doc, err := c.Inputs(ctx, workspace)
		if err != nil {
			return nil, nil, fmt.Errorf("failed to get inputs: %w", err)
		}
		if o.only == "" {
			return inputRows(doc.Value), doc.Raw, nil
		}
		var raw map[string]json.RawMessage
		if err := json.Unmarshal(doc.Raw, &raw); err != nil {
			return nil, nil, fmt.Errorf("decode the inputs: %w", err)
		}
		for id, in := range doc.Value {
			if in.RunID != o.only {
				delete(doc.Value, id)
				delete(raw, id)
			}
		}
		text, err := json.Marshal(raw)
		return inputRows(doc.Value), text, err
	})
}

func inputRows(inputs map[string]client.InputSummary) [][]string {
	ids := slices.Collect(maps.Keys(inputs))
	slices.SortFunc(ids, func(x, y string) int {
		if d := inputs[x].CreatedAt - inputs[y].CreatedAt; d != 0 {
			return int(min(max(d, -1), 1))
		}
		return strings.Compare(x, y)
	})
	rows := [][]string{{"ID", "Run", "Execution", "Key", "Requires", "Created"}}
	for _, id := range ids {
		in := inputs[id]
		rows = append(rows, []string{id, in.RunID, "-", "-", tagsText(in.Requires), timeText(in.CreatedAt)})
	}
	return rows
}

// inputsInspectOptions show a question.
type inputsInspectOptions struct{}

func (o *inputsInspectOptions) AddFlags(*pflag.FlagSet) {}

func (o *inputsInspectOptions) run(ctx context.Context, a *app, args []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	doc, err := c.Input(ctx, args[0])
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(doc.Raw)
	}
	prompt, err := promptText(ctx, c, &doc.Value)
	if err != nil {
		return err
	}
	return printInput(a.stdout, args[0], prompt, &doc.Value)
}

func printInput(out io.Writer, id, prompt string, in *client.Input) error {
	var b strings.Builder
	field := func(name, value string) {
		if strings.Contains(value, "\n") {
			value = "\n  " + strings.ReplaceAll(value, "\n", "\n  ")
		} else {
			value = " " + value
		}
		fmt.Fprintf(&b, "%s:%s\n", name, printable(value))
	}
	key, schema, status := "-", "-", "pending"
	if in.Key != nil {
		key = *in.Key
	}
	if in.Schema != nil {
		schema = indented(json.RawMessage(*in.Schema))
	}
	if in.Response != nil {
		status = in.Response.Type
	}
	field("Input", id)
	if in.Title != nil {
		field("Title", *in.Title)
	}
	field("Key", key)
	field("Created", timeText(in.CreatedAt))
	field("Requires", tagsText(in.Requires))
	field("Prompt", prompt)
	field("Schema", schema)
	field("Status", status)
	if r := in.Response; r != nil {
		field("Responded", timeText(r.CreatedAt))
		if r.Type == "value" {
			value := r.Value
			if value == nil {
				value = json.RawMessage("null")
			}
			field("Value", indented(value))
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// indented is a JSON text for people; numbers keep their text.
func indented(text json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, text, "", "  ") != nil {
		return string(text)
	}
	return b.String()
}

// promptText is the template with its placeholders filled in.
func promptText(ctx context.Context, c *client.Client, in *client.Input) (string, error) {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(in.Placeholders)) {
		text, err := valueText(ctx, c, in.Placeholders[name])
		if err != nil {
			return "", err
		}
		if unquoted, ok := strings.CutPrefix(text, `"`); ok { // a text is read as it is
			text = strings.TrimSuffix(unquoted, `"`)
		}
		pairs = append(pairs, "{{{"+name+"}}}", text, "{{"+name+"}}", text, "{"+name+"}", text)
	}
	return strings.NewReplacer(pairs...).Replace(in.Template), nil
}

const respondHelp = `
JSON is the answer, as one argument: true, 7, '"a text"', '{"a": 1}'. It has to fit the schema that
'coflux inputs inspect INPUT' shows. The first response wins, through whichever node it is given.
What begins with "-" stands behind "--".
`

// inputsRespondOptions answer a question.
type inputsRespondOptions struct{}

func (o *inputsRespondOptions) AddFlags(*pflag.FlagSet) {}

func (o *inputsRespondOptions) run(ctx context.Context, a *app, args []string) error {
	var value json.RawMessage
	if err := json.Unmarshal([]byte(args[1]), &value); err != nil {
		return &hintError{fmt.Errorf("invalid JSON value: %w", err), `texts need quotes of their own: '"yes"'`}
	}
	return a.endInput(ctx, args[0], "responded", func(ctx context.Context, c *client.Client) error {
		return c.RespondInput(ctx, args[0], value)
	})
}

// inputsDismissOptions end a question without an answer.
type inputsDismissOptions struct{}

func (o *inputsDismissOptions) AddFlags(*pflag.FlagSet) {}

func (o *inputsDismissOptions) run(ctx context.Context, a *app, args []string) error {
	return a.endInput(ctx, args[0], "dismissed", func(ctx context.Context, c *client.Client) error {
		return c.DismissInput(ctx, args[0])
	})
}

func (a *app) endInput(ctx context.Context, id, did string, end func(context.Context, *client.Client) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	patient, cancel := context.WithTimeout(ctx, submitPatience)
	defer cancel()
	if err := end(patient, c); err != nil {
		return err
	}
	if a.json() {
		return a.printJSONValue(map[string]bool{did: true})
	}
	_, err = fmt.Fprintf(a.stdout, "Input '%s' %s.\n", printable(id), did)
	return err
}
