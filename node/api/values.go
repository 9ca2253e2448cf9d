package api

import (
	"encoding/json"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// actor is who did something; there are no users yet, so it is always null.
type actor struct {
	Type       string `json:"type"`
	ExternalID string `json:"externalId"`
}

// execRef names an execution.
type execRef struct {
	ExecutionID string `json:"executionId"`
	Module      string `json:"module"`
	Target      string `json:"target"`
}

// valueDoc is a value: raw with Data, or blob with Key and Size.
type valueDoc struct {
	Type       string          `json:"type"`
	Data       json.RawMessage `json:"data,omitempty"`
	Key        string          `json:"key,omitempty"`
	Size       int64           `json:"size,omitempty"`
	References []any           `json:"references"`
}

type executionReference struct {
	Type string `json:"type"`
	execRef
}

// fragmentReference is bytes beside the JSON of a value, in a blob.
type fragmentReference struct {
	Type     string          `json:"type"`
	Format   string          `json:"format"`
	BlobKey  string          `json:"blobKey"`
	Size     int64           `json:"size"`
	Metadata json.RawMessage `json:"metadata"`
}

// inputReference names an input.
type inputReference struct {
	Type    string `json:"type"`
	InputID string `json:"inputId"`
}

func newReference(v *state.View, ref state.Reference) any {
	if ref.Kind == "input" {
		return inputReference{ref.Kind, ref.ID}
	}
	if ref.Kind == "fragment" {
		metadata := json.RawMessage("{}")
		if len(ref.Metadata) > 0 {
			metadata = rawJSON(ref.Metadata)
		}
		return fragmentReference{ref.Kind, ref.Format, ref.BlobKey, ref.Size, metadata}
	}
	if ref.Kind == state.KindAsset {
		return newAssetReference(v, ref)
	}
	return executionReference{ref.Kind, newExecRef(v, ref.ID, ref.Module, ref.Target)}
}

// errorDoc is what a target raised.
type errorDoc struct {
	Type    string     `json:"type"`
	Message string     `json:"message"`
	Frames  []frameDoc `json:"frames"`
}

type frameDoc struct {
	File string  `json:"file"`
	Line int     `json:"line"`
	Name *string `json:"name"`
	Code *string `json:"code"`
}

// The forms of a result; which one depends on its type.
type (
	valueResult struct {
		Type      string    `json:"type"`
		CreatedBy *actor    `json:"createdBy"`
		Value     *valueDoc `json:"value"`
	}
	errorResult struct {
		Type      string   `json:"type"`
		CreatedBy *actor   `json:"createdBy"`
		Error     errorDoc `json:"error"`
		Retry     *int     `json:"retry"`
		Retryable *bool    `json:"retryable"`
	}
	// lostResult is a timeout or an abandonment.
	lostResult struct {
		Type      string `json:"type"`
		CreatedBy *actor `json:"createdBy"`
		Retry     *int   `json:"retry"`
		Reason    string `json:"reason,omitempty"`
	}
	// followedResult, a recurrence or suspension, is followed by another attempt.
	followedResult struct {
		Type      string `json:"type"`
		CreatedBy *actor `json:"createdBy"`
		Successor int    `json:"successor"`
	}
	// linkedResult has the outcome of another execution: Result, once there is one.
	linkedResult struct {
		Type      string  `json:"type"`
		CreatedBy *actor  `json:"createdBy"`
		Execution execRef `json:"execution"`
		Result    any     `json:"result"`
	}
	cancelledResult struct {
		Type      string `json:"type"`
		CreatedBy *actor `json:"createdBy"`
		Reason    string `json:"reason,omitempty"`
	}
)

func newValueDoc(v *state.View, in *state.Value) *valueDoc {
	out := &valueDoc{Type: "raw", Data: rawJSON(in.Data), References: []any{}}
	if in.BlobKey != "" {
		out = &valueDoc{Type: "blob", Key: in.BlobKey, Size: in.Size, References: []any{}}
	}
	for _, ref := range in.References {
		out.References = append(out.References, newReference(v, ref))
	}
	return out
}

// newExecRef names an execution; module and target are those of the execution where it is known.
func newExecRef(v *state.View, id, module, target string) execRef {
	ref := execRef{id, module, target}
	if parsed, ok := state.ParseExecutionID(id); ok {
		if e := v.Execution(parsed); e != nil {
			ref.Module, ref.Target = e.Module, e.Target
		}
	}
	return ref
}

// rawJSON keeps a text that is no JSON from spoiling the document that it stands in.
func rawJSON(data []byte) json.RawMessage {
	if !json.Valid(data) {
		return json.RawMessage("null")
	}
	return data
}

// newResultDoc gives nil for no result.
func newResultDoc(v *state.View, r *state.Result) any {
	if r == nil {
		return nil
	}
	name := r.Type.String()
	switch r.Type {
	case state.ResultValue:
		value := r.Value
		if value == nil {
			value = &state.Value{Data: []byte("null")}
		}
		return valueResult{Type: name, Value: newValueDoc(v, value)}
	case state.ResultError:
		out := errorResult{Type: name, Retry: attemptOrNil(r.Retry)}
		if r.Error != nil {
			out.Error, out.Retryable = newErrorDoc(r.Error), r.Error.Retryable
		}
		return out
	case state.ResultRecurred, state.ResultSuspended:
		return followedResult{Type: name, Successor: r.Retry}
	case state.ResultDeferred, state.ResultCached, state.ResultSpawned:
		out := linkedResult{Type: name, Execution: newExecRef(v, r.Link, "", "")}
		if id, ok := state.ParseExecutionID(r.Link); ok {
			out.Result = newResultDoc(v, scheduler.Outcome(v, id))
		}
		return out
	case state.ResultCancelled:
		return cancelledResult{Type: name, Reason: r.Reason}
	default:
		return lostResult{Type: name, Retry: attemptOrNil(r.Retry), Reason: r.Reason}
	}
}

func attemptOrNil(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

func newErrorDoc(e *state.Error) errorDoc {
	out := errorDoc{Type: e.Type, Message: e.Message, Frames: []frameDoc{}}
	for _, f := range e.Frames {
		out.Frames = append(out.Frames, frameDoc{f.File, f.Line, textOrNil(f.Name), textOrNil(f.Code)})
	}
	return out
}
