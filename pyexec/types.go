package pyexec

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
)

// ErrFenced is what Run answers after KillAll, after the guard has killed everything, and until Revive.
var ErrFenced = errors.New("the pool is fenced: every process was killed; call Revive before new work")

// ErrStopped is what Run answers before Start and after Stop.
var ErrStopped = errors.New("the pool is not running")

// Config says what to run and where.
type Config struct {
	Adapter []string // argv prefix of a third-party adapter; empty = found Python with the SDK
	Python  string   // interpreter; empty = look for one, see findPython
	// Environments are the interpreters, or the directories of virtual environments, of single Modules; the others use Python.
	Environments map[string]string

	Path    []string     // module search path; empty = the current directory
	Modules []string     // modules (or packages) to serve
	Warm    int          // idle processes kept ready for a module, normally min(slots, 4); 0 = none ahead
	Scratch string       // directory for working directories, value files, the SDK and code snapshots; must exist
	Boot    string       // COFLUX_BOOT of every child, this pool's alone: what Sweep and the guard recognise leftovers by
	Logger  hclog.Logger // required

	// Executor is how executors come to be: fork (from a template that has imported the module or, while there is none, the
	// SDK), spawn (each from its program file); "" = fork with our SDK, spawn with any other adapter.
	Executor string

	// Limits bound every execution and discovery; a target's own can only be tighter.
	Limits Limits

	// KillGrace is how long a body that is cancelled or out of time has between SIGTERM and SIGKILL; 0 = SIGKILL at once. The
	// fence (KillAll, AliveUntil, the end of the node) never waits for it.
	KillGrace time.Duration

	// DiscoverTimeout limits the import of one module; 0 = 60 s.
	DiscoverTimeout time.Duration

	// Trace is told when an execution reaches a stage: run, written (the process has it), final (it
	// has answered), result (passed on), exited. It must not block. Nil = nobody asks.
	Trace func(executionID, stage string)
}

// Job is one execution: what to call with what.
type Job struct {
	ExecutionID string
	Module      string
	Target      string
	Arguments   []Value
	Timeout     time.Duration // wall clock from the moment the process got the job; 0 = none
}

// Value is the wire shape of adapter-protocol 3.1. Value holds the JSON text untouched, so numbers keep theirs.
//
// From a body: a Path is readable until the Host method returns, or where there is a reply function until that is
// called, or for Result until its Release is. The files of fragments are like a Path. To a body: the file must stay until Terminated and is never changed.
type Value struct {
	Type       string            `json:"type"`             // inline | file; anything else from a foreign adapter means null
	Format     string            `json:"format,omitempty"` // json
	Value      json.RawMessage   `json:"value,omitempty"`  // inline
	Path       string            `json:"path,omitempty"`   // file: absolute path of a file with the JSON text
	References []json.RawMessage `json:"references,omitempty"`
	Metadata   json.RawMessage   `json:"metadata,omitempty"`
}

// Inline makes the Value of a JSON text.
func Inline(text json.RawMessage) Value {
	return Value{Type: "inline", Format: "json", Value: text}
}

// Host is how a body reaches the engine; one per execution.
//
// Calls arrive one at a time, in the order of the body's lines. No method may block, except Log, which may as
// back-pressure (then the body's output and its next lines wait, and so does the end of a killed execution, so Log must
// return in the end). Hosts are called by goroutines of the pool, never from within a method of Pool. Reply functions may be called from any goroutine,
// at once or much later, once; after the end of the execution they do nothing. Errors given to them should be
// *RequestError; another error is sent under the method's own code.
//
// The order at the end: Result (at most once), perhaps further Log calls (output of exit handlers), then exactly one
// of Terminated and Lost, and nothing after it.
type Host interface {
	Submit(req SubmitRequest, reply func(SubmitReply, error))
	Select(req SelectRequest, reply func(*Outcome, error)) // a nil Outcome = the wait ended without a winner
	Cancel(req CancelRequest, reply func(error))
	Input(req InputRequest, reply func(InputReply, error))
	Suspend(req SuspendRequest, reply func(error)) // after an answer without error the Host kills the body
	PersistAsset(req AssetRequest, reply func(AssetReply, error))
	GetAsset(id string, reply func(AssetEntries, error))
	UploadBlob(path string, reply func(key string, err error))
	DownloadBlob(key, path string, reply func(error)) // the file is whole when it is there
	Group(id int, name string)                        // name "" = none
	Log(level int, template *string, values map[string]Value)
	DefineMetric(key string, definition MetricDefinition) // before the first point
	Metric(key string, value float64, at *float64)        // at nil = now, in seconds since the start
	Result(Result)                                        // exactly once unless killed
	Terminated()                                          // the process group is gone and reaped
	Lost()                                                // killed by the guard or the fence before a result
}

// SubmitRequest is adapter-protocol 4.1; Number is the request's number within the execution, unique and stable.
type SubmitRequest struct {
	Number    int64               `json:"-"`
	Module    string              `json:"module"`
	Target    string              `json:"target"`
	Type      string              `json:"type"` // task | workflow
	Arguments []Value             `json:"arguments"`
	WaitFor   []int               `json:"wait_for,omitempty"`
	GroupID   *int                `json:"group_id,omitempty"`
	Cache     *Cache              `json:"cache,omitempty"`
	Defer     *Defer              `json:"defer,omitempty"`
	Retries   *Retries            `json:"retries,omitempty"`
	Memo      json.RawMessage     `json:"memo,omitempty"` // absent | true | false | [indexes]
	Delay     Millis              `json:"delay,omitempty"`
	Recurrent bool                `json:"recurrent,omitempty"`
	Requires  map[string][]string `json:"requires,omitempty"`
	Timeout   Millis              `json:"timeout,omitempty"`
	Durable   bool                `json:"durable,omitempty"` // ours: not in adapter-protocol
}

// SubmitReply names the execution that was created or found.
type SubmitReply struct {
	ExecutionID string `json:"execution_id"`
	Module      string `json:"module"`
	Target      string `json:"target"`
}

// SelectRequest is adapter-protocol 4.2. Timeout nil = wait for ever.
type SelectRequest struct {
	Number          int64    `json:"-"`
	Handles         []Handle `json:"handles"`
	Timeout         *Millis  `json:"timeout_ms"`
	Suspend         bool     `json:"suspend"`
	CancelRemaining bool     `json:"cancel_remaining"`
}

// CancelRequest is adapter-protocol 4.4.
type CancelRequest struct {
	Number  int64    `json:"-"`
	Handles []Handle `json:"handles"`
}

// InputRequest is adapter-protocol 4.5: a question to a person. Initial is null or absent when there is none.
type InputRequest struct {
	Number       int64               `json:"-"`
	Template     string              `json:"template"`
	Placeholders map[string]Value    `json:"placeholders"`
	Schema       string              `json:"schema"` // JSON Schema, as JSON text; "" = any answer
	Key          string              `json:"key"`    // "" = always a new input
	Title        string              `json:"title"`
	Actions      []string            `json:"actions"` // labels: respond, dismiss
	Initial      json.RawMessage     `json:"initial"`
	Requires     map[string][]string `json:"requires"`
}

// InputReply names the input that was made or found.
type InputReply struct {
	InputID string `json:"input_id"`
}

// SuspendRequest is adapter-protocol 4.3: the body ends without a result, and is called again. Delay is an addition of
// ours: how long it is to be, where the caller named no moment.
type SuspendRequest struct {
	ExecuteAfter Millis `json:"execute_after"` // epoch; 0 = at once
	Delay        Millis `json:"delay"`         // goes before ExecuteAfter
}

// Handle names something to wait for or to cancel.
type Handle struct {
	Type string `json:"type"` // execution | input
	ID   string `json:"id"`
}

// Status words of an Outcome.
const (
	StatusOK        = "ok"
	StatusError     = "error"
	StatusCancelled = "cancelled"
	StatusDismissed = "dismissed"
	StatusTimeout   = "timeout"
	StatusAbandoned = "abandoned"
)

// Outcome is how a select was decided.
type Outcome struct {
	Winner int    // index into the handles
	Status string // one of the Status words
	Value  *Value // for ok; nil = null
	Error  *Error // for error
}

// Result is how a body ended: a value (nil = null), an error, or the timeout of its Job.
type Result struct {
	Value   *Value
	Error   *Error
	Timeout bool
	// Release says that the files of Value, and those of its fragments, were read. Until it is called they stay, even when
	// the process is gone. Nil when there is nothing to release.
	Release func()
}

// Error is a body's failure. Retryable nil = no retry filter was configured.
type Error struct {
	Type      string  `json:"type"`
	Message   string  `json:"message"`
	Frames    []Frame `json:"frames"`
	Retryable *bool   `json:"retryable,omitempty"`
	Vanished  bool    `json:"-"` // the process ended without a word of the target's own
}

// TypeInternal is the type of failures that are not the user code's own words.
const TypeInternal = "internal"

// Frame is one level of a traceback, outermost first.
type Frame struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Name string `json:"name"`
	Code string `json:"code,omitempty"`
}

// RequestError is how a Host refuses a request; Python raises it as "code: message".
type RequestError struct {
	Code    string
	Message string
}

func (e *RequestError) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Message) }

// Millis is a duration in whole milliseconds on the wire; a float is truncated.
type Millis int64

// UnmarshalJSON takes integers and floats.
func (m *Millis) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("a duration in milliseconds must be a number, not %s", b)
	}
	*m = Millis(f)
	return nil
}

// Duration is m as Go counts.
func (m Millis) Duration() time.Duration { return time.Duration(m) * time.Millisecond }

// Statement is one peer that the guard may tell, after the node's death, that nothing of it is alive: it dials, writes
// Data, and is done when a reply line begins with Want (empty = any line). pyexec does not know what the bytes mean.
type Statement struct {
	Network string `json:"network"` // tcp | unix
	Address string `json:"address"`
	Data    []byte `json:"data"`
	Want    string `json:"want,omitempty"`
}

// Discovery is what the modules offer. A module with an Error serves its Targets of the last good code, if any.
type Discovery struct {
	Generation int // counts the code states that were put into service
	Modules    []Module
}

// Module is one name of Config.Modules.
type Module struct {
	Name      string   `json:"name"`
	Targets   []Target `json:"targets"`
	Error     string   `json:"error,omitempty"`     // why it cannot be imported, one sentence
	Traceback string   `json:"traceback,omitempty"` // Python's text
}

// Target is adapter-protocol 1.1.
type Target struct {
	Module      string              `json:"module"`
	Name        string              `json:"name"`
	Type        string              `json:"type"` // task | workflow
	Parameters  []Parameter         `json:"parameters"`
	WaitFor     []int               `json:"wait_for,omitempty"`
	Cache       *Cache              `json:"cache,omitempty"`
	Retries     *Retries            `json:"retries,omitempty"`
	Defer       *Defer              `json:"defer,omitempty"`
	Delay       Millis              `json:"delay,omitempty"`
	Memo        json.RawMessage     `json:"memo,omitempty"`
	Requires    map[string][]string `json:"requires,omitempty"`
	Limits      *Limits             `json:"limits,omitempty"` // nil = none of its own
	Recurrent   bool                `json:"recurrent,omitempty"`
	Timeout     Millis              `json:"timeout,omitempty"`
	Durable     bool                `json:"durable,omitempty"` // ours: not in adapter-protocol
	IsStub      bool                `json:"is_stub,omitempty"`
	Instruction string              `json:"instruction,omitempty"`
}

// Parameter describes one parameter; Default is a string holding JSON.
type Parameter struct {
	Name       string  `json:"name"`
	Annotation *string `json:"annotation"`
	Default    *string `json:"default"`
}

// Cache is the wire form of caching options; Params is true or a list of indexes.
type Cache struct {
	Params    json.RawMessage `json:"params"`
	MaxAgeMS  *Millis         `json:"max_age_ms,omitempty"`
	Namespace string          `json:"namespace,omitempty"`
	Version   string          `json:"version,omitempty"`
}

// Defer is the wire form of debouncing; Params is true or a list of indexes.
type Defer struct {
	Params json.RawMessage `json:"params"`
}

// Retries is the wire form of retry options; Limit nil = unlimited.
type Retries struct {
	Limit        *int   `json:"limit,omitempty"`
	BackoffMinMS Millis `json:"backoff_min_ms,omitempty"`
	BackoffMaxMS Millis `json:"backoff_max_ms,omitempty"`
}
