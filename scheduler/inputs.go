package scheduler

import (
	"slices"
	"strings"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// Bounds of a question.
const (
	maxInputText        = 128 << 10 // bytes of template, schema, initial answer, title, key and labels together
	maxPlaceholders     = 100
	maxPlaceholderBytes = 256 << 10 // as sizeOf counts them: the whole is written again with its response
)

// SubmitInput is a question to a person that a running execution asks. Schema and Initial were checked where it came in.
type SubmitInput struct {
	// Session is the fencing token of the agent that runs Execution.
	Session, Execution string
	// Number of the request among those of Execution, from 1: a repeat is recognised by it.
	Number int64
	// Key has an equal question of the run stand in for this one, "" = always a new input.
	Key          string
	Template     string
	Placeholders []state.Placeholder
	Schema       string
	Initial      []byte
	Title        string
	Actions      []string
	Requires     state.Tags
}

func (r *SubmitInput) decide(d *decision) (Answer, error) {
	if r.Number < 1 {
		return Answer{}, refuse(CodeBadRequest, "requests of an execution are numbered from 1, not %d", r.Number)
	}
	by, err := d.live(r.Session, r.Execution)
	if by == nil {
		return Answer{}, err
	}
	if in := d.InputByCause(by.ID(), r.Number); in != nil {
		return Answer{InputID: in.ID().String()}, nil // a repeat: fencing first, so that the dead learn nothing either
	}
	if h := d.Hit(by.ID(), r.Number); h != nil {
		return Answer{InputID: h.Input}, nil
	}
	if err != nil {
		return Answer{}, err
	}
	if err := r.check(); err != nil {
		return Answer{}, err
	}
	placeholders := slices.SortedFunc(slices.Values(r.Placeholders), func(a, b state.Placeholder) int { return strings.Compare(a.Name, b.Name) })
	for i := range placeholders {
		if placeholders[i].Value, err = d.resolve(by.Workspace, placeholders[i].Value); err != nil {
			return Answer{}, err
		}
	}
	if found := d.asked(by, r.Key); found != nil {
		if !r.asks(found, placeholders) {
			return Answer{}, refuse(CodeInputMismatch, "the run has another question under the key %q, input %s: template, placeholders, schema or requires differ",
				r.Key, found.ID())
		}
		d.Put(&state.Hit{Parent: by.ID().String(), Request: r.Number, Input: found.ID().String()})
		return Answer{InputID: found.ID().String()}, nil
	}
	run := *d.Run(by.Run)
	run.Inputs++
	in := &state.Input{Run: run.ID, Number: run.Inputs, Workspace: by.Workspace, Execution: by.ID().String(), Request: r.Number, Key: r.Key,
		Template: r.Template, Placeholders: placeholders, Schema: r.Schema, Initial: r.Initial, Title: r.Title, Actions: r.Actions,
		Requires: r.Requires, CreatedAt: d.now}
	d.Put(&run)
	d.Put(in)
	return Answer{InputID: in.ID().String()}, nil
}

func (r *SubmitInput) check() error {
	size := len(r.Template) + len(r.Schema) + len(r.Initial) + len(r.Title) + len(r.Key)
	for _, label := range r.Actions {
		size += len(label)
	}
	values := sizeOf(valuesOf(r.Placeholders))
	for _, p := range r.Placeholders {
		values += len(p.Name)
	}
	switch {
	case r.Template == "":
		return refuse(CodeBadRequest, "a prompt needs a template")
	case size > maxInputText:
		return refuse(CodeTooLarge, "the texts of a prompt have %d bytes together: at most %d", size, maxInputText)
	case len(r.Placeholders) > maxPlaceholders:
		return refuse(CodeTooLarge, "a prompt has at most %d placeholders, not %d", maxPlaceholders, len(r.Placeholders))
	case values > maxPlaceholderBytes:
		return refuse(CodeTooLarge, "the placeholders of a prompt have %d bytes together: at most %d", values, maxPlaceholderBytes)
	case strings.ContainsRune(r.Key, 0):
		return refuse(CodeBadRequest, "the key of a prompt may not contain NUL")
	case len(r.Actions) != 0 && len(r.Actions) != 2:
		return refuse(CodeBadRequest, "the actions of a prompt are two labels, to respond and to dismiss")
	}
	if err := CheckTags(r.Requires); err != nil {
		return refuse(CodeBadRequest, "requires: %s", err)
	}
	return nil
}

func valuesOf(placeholders []state.Placeholder) []state.Value {
	values := make([]state.Value, 0, len(placeholders))
	for _, p := range placeholders {
		values = append(values, p.Value)
	}
	return values
}

// asked finds the input of the run with the key in the workspace of the execution or the nearest that it inherits from.
func (d *decision) asked(by *state.Execution, key string) *state.Input {
	if key == "" {
		return nil
	}
	for w := range d.Lineage(by.Workspace) {
		if in := d.InputByKey(by.Run, w.ID, key); in != nil {
			return in
		}
	}
	return nil
}

// asks tells whether an input asks the same. Title, actions and the initial answer may differ: the first ones stay.
func (r *SubmitInput) asks(in *state.Input, placeholders []state.Placeholder) bool {
	return in.Template == r.Template && in.Schema == r.Schema && in.Requires.Text() == r.Requires.Text() &&
		placeholdersKey(in.Placeholders) == placeholdersKey(placeholders)
}

func placeholdersKey(placeholders []state.Placeholder) string {
	var names strings.Builder
	for _, p := range placeholders {
		writeText(&names, p.Name)
	}
	return argumentsKey(names.String(), "", Params{All: true}, valuesOf(placeholders))
}

// RespondInput answers an open input, asked from outside. The value was checked against the schema where it came in: that
// never changes.
type RespondInput struct {
	// RequestID is a ULID: a repeat with the same one is accepted again.
	RequestID string
	Input     string
	Value     state.Value
}

func (r *RespondInput) decide(d *decision) (Answer, error) {
	value := r.Value
	value.References = nil // plain JSON
	return d.respond(r.RequestID, r.Input, &state.Response{Type: state.ResponseValue, Value: &value})
}

// DismissInput ends an open input without an answer, asked from outside.
type DismissInput struct {
	RequestID, Input string // as in RespondInput
}

func (r *DismissInput) decide(d *decision) (Answer, error) {
	return d.respond(r.RequestID, r.Input, &state.Response{Type: state.ResponseDismissed})
}

// respond ends an input on a request from outside, which is remembered in the response itself (rules A14).
func (d *decision) respond(requestID, input string, response *state.Response) (Answer, error) {
	id, ok := state.ParseInputID(input)
	if p := d.Packed(id.Run); p != nil {
		if err := d.present(p.Workspace, id.Run); err != nil {
			return Answer{}, err
		}
	}
	in := d.Input(id)
	if !ok || in == nil {
		return Answer{}, refuse(CodeNotFound, "input %s does not exist", input)
	}
	if r := in.Response; r != nil && (requestID == "" || r.RequestID != requestID || r.Type != response.Type) {
		return Answer{}, alreadyResponded(in)
	}
	if in.Response == nil {
		if _, err := d.seen(requestID); err != nil {
			return Answer{}, err
		}
		response.RequestID = requestID
		d.endInput(in, response)
	}
	return Answer{InputID: input}, nil
}

func alreadyResponded(in *state.Input) *Error {
	how := map[state.ResponseType]string{state.ResponseValue: "was answered", state.ResponseDismissed: "was dismissed",
		state.ResponseCancelled: "was cancelled"}[in.Response.Type]
	return refuse(CodeAlreadyResponded, "input %s %s already", in.ID(), how)
}

// endInput records the one response of an input.
func (d *decision) endInput(in *state.Input, response *state.Response) {
	done := *in
	response.CreatedAt = d.now
	done.Response = response
	d.Put(&done)
	d.events = append(d.events, Event{Kind: EventResponded, Input: in.ID()})
	d.wakeInput(in.ID())
}

// cancelInput takes a question back; false when the handle is not the id of an input.
func (d *decision) cancelInput(by *state.Execution, handle string) bool {
	if _, ok := state.ParseInputID(handle); !ok {
		return false
	}
	if in := VisibleInput(&d.View, by.Workspace, handle); in != nil && in.Response == nil {
		d.endInput(in, &state.Response{Type: state.ResponseCancelled})
	}
	return true
}

// VisibleInput gives an input as seen from a workspace: nil for one that is unknown or belongs to another project.
func VisibleInput(v *state.View, workspace, input string) *state.Input {
	id, ok := state.ParseInputID(input)
	if !ok {
		return nil
	}
	in := v.Input(id)
	if in == nil || in.Workspace != workspace && v.Project(in.Workspace) != v.Project(workspace) {
		return nil
	}
	return in
}

// Awaited tells whether an execution that is not over, nor those that follow it, has asked for the input through select.
func Awaited(v *state.View, id state.InputID) bool {
	seen := map[state.ExecutionID]bool{} // attempts follow each other: each is passed once
	for d := range v.InputWaits(id) {
		by, _ := state.ParseExecutionID(d.Execution)
		for e := v.Execution(by); e != nil && !seen[e.ID()]; {
			if seen[e.ID()] = true; e.Result == nil {
				return true
			}
			if e.Result.Retry > e.Attempt {
				e = v.Execution(state.ExecutionID{Run: e.Run, Step: e.Step, Attempt: e.Result.Retry})
			}
		}
	}
	return false
}
