package state

import (
	"iter"
	"strconv"
	"strings"
)

// InputID names an input: run id and number, written `R/i3`.
type InputID struct {
	Run    string
	Number int
}

func (id InputID) String() string { return id.Run + "/i" + strconv.Itoa(id.Number) }

// ParseInputID reads `R/i3`. ok is false for anything else.
func ParseInputID(s string) (id InputID, ok bool) {
	run, rest, found := strings.Cut(s, "/i")
	n, good := positive(rest)
	if !found || run == "" || !good {
		return InputID{}, false
	}
	return InputID{Run: run, Number: n}, true
}

// Input is a question to a person. But for its response it never changes.
type Input struct {
	rowCommon
	Run    string `codec:"r"`
	Number int    `codec:"n"`
	// Workspace is that of the execution that asked.
	Workspace string `codec:"w"`
	// Execution asked, with its request of that number; together they are the cause, by which a repeat is recognised.
	Execution string `codec:"e"`
	Request   int64  `codec:"q"`
	// Key finds it for later questions within the run, "" for none.
	Key string `codec:"k,omitempty"`
	// Template is Markdown with placeholders, whose values are sorted by name.
	Template     string        `codec:"t"`
	Placeholders []Placeholder `codec:"p,omitempty"`
	// Schema is the text of the JSON Schema that an answer has to fit, "" = any answer does.
	Schema string `codec:"s,omitempty"`
	// Initial is JSON to start the answer from, empty for none.
	Initial []byte `codec:"i,omitempty"`
	Title   string `codec:"h,omitempty"`
	// Actions are the labels of the two buttons, to respond and to dismiss; empty = the viewer's own.
	Actions []string `codec:"a,omitempty"`
	// Requires say who may answer. It is for viewers: nothing here enforces it.
	Requires Tags `codec:"rq,omitempty"`
	// CreatedAt is log time, milliseconds.
	CreatedAt int64 `codec:"c"`
	// Response ends it; nil while it is open.
	Response *Response `codec:"z,omitempty"`
}

// Placeholder of a template.
type Placeholder struct {
	Name  string `codec:"n"`
	Value Value  `codec:"v"`
}

// ResponseType says how an input ended. The numbers are for ever: appended, never reused.
type ResponseType uint8

const (
	// ResponseNone is the zero value: it is open.
	ResponseNone ResponseType = iota
	// ResponseValue: somebody answered.
	ResponseValue
	// ResponseDismissed: somebody declined to answer.
	ResponseDismissed
	// ResponseCancelled: an execution takes the question back.
	ResponseCancelled
)

// String is the name that clients see.
func (t ResponseType) String() string {
	switch t {
	case ResponseValue:
		return "value"
	case ResponseDismissed:
		return "dismissed"
	case ResponseCancelled:
		return "cancelled"
	default:
		return "none"
	}
}

// Response is how an input ended; the first that is recorded wins.
type Response struct {
	Type ResponseType `codec:"t"`
	// Value is the answer, plain JSON as it was given.
	Value *Value `codec:"v,omitempty"`
	// CreatedAt is log time, milliseconds.
	CreatedAt int64 `codec:"c"`
	// RequestID is the ULID of the request that gave it, "" for a cancellation: a repeat is recognised by it.
	RequestID string `codec:"q,omitempty"`
}

func (*Input) table() Table  { return TableInputs }
func (i *Input) key() string { return i.Run + "\x00" + be4(i.Number) }

// ID names the input.
func (i *Input) ID() InputID { return InputID{Run: i.Run, Number: i.Number} }

// Input reads an input, nil when there is none.
func (v *View) Input(id InputID) *Input {
	return one[*Input](v, TableInputs, "id", id.Run+"\x00"+be4(id.Number))
}

// InputByCause finds the input that an execution's request number made, nil when it made none.
func (v *View) InputByCause(execution ExecutionID, request int64) *Input {
	return one[*Input](v, TableInputs, "cause", join(execution.String())+be8(request))
}

// InputByKey finds the input of a run that was asked for with the key in a workspace, nil when there is none.
func (v *View) InputByKey(run, workspace, key string) *Input {
	return first[*Input](v, TableInputs, "key", join(run, workspace, key))
}

// RunInputs walks the inputs of a run, in the order of their numbers.
func (v *View) RunInputs(run string) iter.Seq[*Input] {
	return walk[*Input](v, TableInputs, "id", run+"\x00", "")
}

// InputsOf walks the inputs that an execution made, in the order of its requests.
func (v *View) InputsOf(execution ExecutionID) iter.Seq[*Input] {
	return walk[*Input](v, TableInputs, "cause", join(execution.String()), "")
}

// OpenInputs walks the inputs of a workspace without response, oldest first.
func (v *View) OpenInputs(workspace string) iter.Seq[*Input] {
	return walk[*Input](v, TableInputs, "open", join(workspace), "")
}

// InputWaits walks the dependencies on an input: who asked for it.
func (v *View) InputWaits(id InputID) iter.Seq[*Dependency] {
	return walk[*Dependency](v, TableDependencies, "input", join(id.String()), "")
}
