package client

import "encoding/json"

// Value is a recorded value: raw data, or the key of a blob that holds its JSON text.
type Value struct {
	Type       string          `json:"type"` // raw | blob
	Data       json.RawMessage `json:"data,omitempty"`
	Key        string          `json:"key,omitempty"`
	Size       int64           `json:"size,omitempty"`
	References []Reference     `json:"references"`
}

// Reference is what {"type":"ref","index":n} inside the data of a Value points to. Assets in log
// entries carry their name and totals directly, elsewhere in Asset.
type Reference struct {
	Type        string          `json:"type"` // execution | asset | input | fragment
	ExecutionID string          `json:"executionId,omitempty"`
	Module      string          `json:"module,omitempty"`
	Target      string          `json:"target,omitempty"`
	AssetID     string          `json:"assetId,omitempty"`
	Asset       *AssetSummary   `json:"asset,omitempty"`
	Name        *string         `json:"name,omitempty"`
	TotalCount  int             `json:"totalCount,omitempty"`
	TotalSize   float64         `json:"totalSize,omitempty"`
	InputID     string          `json:"inputId,omitempty"`
	Format      string          `json:"format,omitempty"`
	BlobKey     string          `json:"blobKey,omitempty"`
	Size        int64           `json:"size,omitempty"`
	Metadata    json.RawMessage `json:"metadata,omitempty"`
}

// AssetSummary describes an asset; totalSize may come as a float.
type AssetSummary struct {
	Name       *string `json:"name"`
	TotalCount int     `json:"totalCount"`
	TotalSize  float64 `json:"totalSize"`
}

// ExecRef names an execution and what it runs.
type ExecRef struct {
	ExecutionID string `json:"executionId"`
	Module      string `json:"module"`
	Target      string `json:"target"`
}

// Failure is the error of a target.
type Failure struct {
	Type    string  `json:"type"`
	Message string  `json:"message"`
	Frames  []Frame `json:"frames"`
}

// Frame is one line of a traceback, outermost first.
type Frame struct {
	File string  `json:"file"`
	Line int     `json:"line"`
	Name *string `json:"name"`
	Code *string `json:"code"`
}

// Result types.
const (
	ResultValue     = "value"
	ResultError     = "error"
	ResultTimeout   = "timeout"
	ResultAbandoned = "abandoned"
	ResultCancelled = "cancelled"
	ResultSuspended = "suspended"
	ResultRecurred  = "recurred"
	ResultCached    = "cached"
	ResultDeferred  = "deferred"
	ResultSpawned   = "spawned"
)

// Result is the outcome of an execution; which fields are set depends on Type.
type Result struct {
	Type      string          `json:"type"`
	Value     *Value          `json:"value"`
	Error     *Failure        `json:"error"`
	Retry     *int            `json:"retry"`
	Successor *int            `json:"successor"`
	Execution *ExecRef        `json:"execution"`
	Result    *Result         `json:"result"` // of the linked execution, once known
	Raw       json.RawMessage `json:"-"`      // the text it came as
}

// UnmarshalJSON keeps the text beside the fields, so that it can be handed on unchanged.
func (r *Result) UnmarshalJSON(data []byte) error {
	type plain Result
	if err := json.Unmarshal(data, (*plain)(r)); err != nil {
		return err
	}
	r.Raw = append(json.RawMessage(nil), data...)
	return nil
}

// Open reports whether the result is a link to an execution that has none yet.
func (r *Result) Open() bool {
	switch r.Type {
	case ResultCached, ResultSpawned, ResultDeferred:
		return r.Result == nil || r.Result.Open()
	}
	return false
}

// OK reports whether the result counts as success: a value, or a link to one that did not fail.
func (r *Result) OK() bool {
	if r == nil {
		return false
	}
	switch r.Type {
	case ResultValue:
		return true
	case ResultCached, ResultSpawned, ResultDeferred:
		return r.Result == nil || r.Result.OK()
	}
	return false
}
