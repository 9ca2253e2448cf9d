package state

// Value is an argument, a result or another value of user code: JSON text kept exactly as it was written, or the
// key of a blob that holds it, with the things it refers to.
type Value struct {
	// Data is the JSON text. Empty when the value is in a blob; an absent value is the text null.
	Data []byte `codec:"d,omitempty"`
	// BlobKey is the lower-case hex SHA-256 of the JSON text, when it is held as a blob.
	BlobKey string `codec:"k,omitempty"`
	// Size is the length in bytes of the blob.
	Size int64 `codec:"s,omitempty"`
	// References are what `{"type":"ref","index":i}` inside the data points at.
	References []Reference `codec:"r,omitempty"`
}

// The kinds of references that stand for something else than bytes. The first two can be waited for.
const (
	KindExecution = "execution"
	KindInput     = "input"
	KindAsset     = "asset"
)

// Reference is one entry of Value.References, or, with Kind and ID alone, something that an execution waits for.
type Reference struct {
	// Kind is "execution", "input", "asset" or "fragment".
	Kind string `codec:"k"`

	// ID of an execution, input or asset; the next two of an execution.
	ID     string `codec:"i"`
	Module string `codec:"m,omitempty"`
	Target string `codec:"t,omitempty"`

	// Of a fragment: bytes beside the JSON, in a blob.
	Format   string `codec:"f,omitempty"`
	BlobKey  string `codec:"b,omitempty"`
	Size     int64  `codec:"s,omitempty"`
	Metadata []byte `codec:"x,omitempty"` // a JSON object, kept as it was written

	// Of an asset, beside Size (of its files) and BlobKey (of their list): filled in by the scheduler.
	Name  string `codec:"n,omitempty"`
	Count int    `codec:"c,omitempty"`
}

// ResultType says how an execution ended. The numbers are for ever: appended, never reused.
type ResultType uint8

const (
	// ResultNone is the zero value: no result.
	ResultNone ResultType = iota
	// ResultValue: the target returned.
	ResultValue
	// ResultError: the target raised, or the node could not run it (type "internal").
	ResultError
	// ResultTimeout: the execution's own timeout passed.
	ResultTimeout
	// ResultAbandoned: its session was lost.
	ResultAbandoned
	// ResultCancelled: cancelled itself or through an ancestor.
	ResultCancelled
	// ResultRecurred: a recurrent step gave nothing, another attempt follows.
	ResultRecurred
	// ResultDeferred: another call with the same key came to stand in its place before it was given away.
	ResultDeferred
	// ResultCached: an earlier call with the same cache key has its outcome, or will have it.
	ResultCached
	// ResultSpawned: a call of a workflow, which became a run of its own.
	ResultSpawned
	// ResultSuspended: it gave its process up, another attempt follows.
	ResultSuspended
)

// String is the name that clients see.
func (t ResultType) String() string {
	switch t {
	case ResultValue:
		return "value"
	case ResultError:
		return "error"
	case ResultTimeout:
		return "timeout"
	case ResultAbandoned:
		return "abandoned"
	case ResultCancelled:
		return "cancelled"
	case ResultRecurred:
		return "recurred"
	case ResultDeferred:
		return "deferred"
	case ResultCached:
		return "cached"
	case ResultSpawned:
		return "spawned"
	case ResultSuspended:
		return "suspended"
	default:
		return "none"
	}
}

// Result is the one result of an execution; the first that is recorded wins.
type Result struct {
	Type  ResultType `codec:"t"`
	Value *Value     `codec:"v,omitempty"`
	Error *Error     `codec:"e,omitempty"`
	// Reason says in a sentence why an execution was abandoned or cancelled; may be empty.
	Reason string `codec:"w,omitempty"`
	// Retry is the number of the attempt that follows this failure, recurrence or suspension; 0 = none.
	Retry int `codec:"n,omitempty"`
	// Link is the execution whose outcome this one has (deferred, cached, spawned), "" for none.
	Link string `codec:"x,omitempty"`
}

// Failed tells whether the type is one that a retry may follow.
func (t ResultType) Failed() bool {
	return t == ResultError || t == ResultTimeout || t == ResultAbandoned
}

// Error is what a target raised.
type Error struct {
	// Type is the fully qualified name of the exception, kept verbatim.
	Type    string  `codec:"t"`
	Message string  `codec:"m"`
	Frames  []Frame `codec:"f,omitempty"`
	// Retryable is nil where no retry filter was configured.
	Retryable *bool `codec:"r,omitempty"`
	// Vanished: the process ended without a word of the target's own.
	Vanished bool `codec:"va,omitempty"`
}

// Frame is one line of a traceback, outermost first.
type Frame struct {
	File string `codec:"f"`
	Line int    `codec:"l"`
	Name string `codec:"n"`
	Code string `codec:"c,omitempty"`
}
