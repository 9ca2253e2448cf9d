package node

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/journal"
	"github.com/coflux-mesh/coflux/pyexec"
)

// inlineValue is the size in bytes up to which a value lives in the state unless the configuration says otherwise; a larger one becomes
// a blob. adapterInline is that of bodies of another adapter than ours, as in Coflux 0.11; maxInline what can be said.
const (
	inlineValue   = 4 << 10
	adapterInline = 100
	maxInline     = 32 << 10
)

// blobStore keeps values that are too large for the state; node/blob is one.
type blobStore interface {
	// Put stores on enough nodes before it returns.
	Put(ctx context.Context, r io.Reader) (key string, size int64, err error)
	// Path gives a local read-only file with the content, fetched if need be.
	Path(ctx context.Context, key string) (string, error)
	// Hold keeps blobs from being collected for a while, as Put does; blob.ErrNotFound for one that is nowhere.
	Hold(ctx context.Context, keys []string) error
}

// values turns values from the form that Python speaks into that of the state, and back.
type values struct {
	blobs  blobStore
	inline int // bytes; 0 = inlineValue
}

// limit is up to which size in bytes a value is not a blob.
func (v values) limit() int { return cmp.Or(v.inline, inlineValue) }

// text stores a JSON text.
func (v values) text(ctx context.Context, data []byte) (state.Value, error) {
	if len(data) <= v.limit() {
		return state.Value{Data: data}, nil
	}
	key, size, err := v.blobs.Put(ctx, bytes.NewReader(data))
	if err != nil {
		return state.Value{}, fmt.Errorf("store a value of %d bytes: %w", len(data), err)
	}
	return state.Value{BlobKey: key, Size: size}, nil
}

// toState stores a value.
func (v values) toState(ctx context.Context, in *pyexec.Value) (out state.Value, err error) {
	switch in.Type {
	case "inline":
		out, err = v.text(ctx, orNull(in.Value))
	case "file":
		out, err = v.file(ctx, in.Path)
	default:
		return state.Value{Data: []byte("null")}, nil // leniency of adapter-protocol 3.1
	}
	if err != nil {
		return state.Value{}, err
	}
	for i, raw := range in.References {
		ref, err := v.reference(ctx, raw)
		if err != nil {
			return state.Value{}, fmt.Errorf("reference %d: %w", i, err)
		}
		out.References = append(out.References, ref)
	}
	return out, nil
}

func (v values) file(ctx context.Context, path string) (state.Value, error) {
	f, err := os.Open(path)
	if err != nil {
		return state.Value{}, fmt.Errorf("open a value's file: %w", err)
	}
	defer f.Close()
	head := make([]byte, v.limit()+1)
	n, err := io.ReadFull(f, head)
	if err == io.ErrUnexpectedEOF || err == io.EOF {
		return state.Value{Data: orNull(head[:n])}, nil
	}
	if err != nil {
		return state.Value{}, fmt.Errorf("read a value's file: %w", err)
	}
	key, size, err := v.blobs.Put(ctx, io.MultiReader(bytes.NewReader(head[:n]), f))
	if err != nil {
		return state.Value{}, fmt.Errorf("store a value: %w", err)
	}
	return state.Value{BlobKey: key, Size: size}, nil
}

func orNull(data []byte) []byte {
	if len(bytes.TrimSpace(data)) == 0 {
		return []byte("null")
	}
	return data
}

// maxMetadata bounds what a fragment says about itself, in bytes.
const maxMetadata = 4 << 10

// fragment stores the bytes of a fragment as a blob.
func (v values) fragment(ctx context.Context, in pyexec.Fragment) (state.Reference, error) {
	if len(in.Metadata) > maxMetadata || len(in.Format) > maxMetadata {
		return state.Reference{}, fmt.Errorf("the description of a fragment is longer than %d bytes", maxMetadata)
	}
	if string(in.Metadata) == "null" {
		in.Metadata = nil
	}
	f, err := os.Open(in.Path)
	if err != nil {
		return state.Reference{}, fmt.Errorf("open a fragment's file: %w", err)
	}
	defer f.Close()
	key, size, err := v.blobs.Put(ctx, f)
	if err != nil {
		return state.Reference{}, fmt.Errorf("store a fragment: %w", err)
	}
	return state.Reference{Kind: "fragment", Format: in.Format, BlobKey: key, Size: size, Metadata: in.Metadata}, nil
}

// reference reads one entry of adapter-protocol 3.2.
func (v values) reference(ctx context.Context, raw json.RawMessage) (state.Reference, error) {
	if f, ok := pyexec.ParseFragment(raw); ok {
		return v.fragment(ctx, f)
	}
	var parts []json.RawMessage
	var kind, id string
	if json.Unmarshal(raw, &parts) != nil || len(parts) < 2 || json.Unmarshal(parts[0], &kind) != nil {
		return state.Reference{}, fmt.Errorf("%s is not a reference", raw)
	}
	if kind == "fragment" {
		return state.Reference{}, fmt.Errorf("%s is not a fragment: format, path, size and metadata are expected", raw)
	}
	if kind != state.KindExecution && kind != state.KindInput && kind != state.KindAsset {
		return state.Reference{}, fmt.Errorf("references of kind %q are not known", kind)
	}
	if json.Unmarshal(parts[1], &id) != nil || id == "" {
		return state.Reference{}, fmt.Errorf("%s has no %s id", raw, kind)
	}
	ref := state.Reference{Kind: kind, ID: id}
	switch {
	case kind == state.KindExecution && len(parts) >= 4:
		_ = json.Unmarshal(parts[2], &ref.Module) // only the id matters
		_ = json.Unmarshal(parts[3], &ref.Target)
	case kind == state.KindAsset && len(parts) >= 5: // the scheduler says what is true; a log line keeps what is said
		_ = json.Unmarshal(parts[2], &ref.Name)
		_ = json.Unmarshal(parts[3], &ref.Count)
		_ = json.Unmarshal(parts[4], &ref.Size)
	}
	return ref, nil
}

func (v values) toPython(ctx context.Context, in *state.Value) (pyexec.Value, error) {
	out := pyexec.Inline(in.Data)
	if in.BlobKey != "" {
		path, err := v.blobs.Path(ctx, in.BlobKey)
		if err != nil {
			return pyexec.Value{}, fmt.Errorf("failed to download blob: %w", err)
		}
		out = pyexec.Value{Type: "file", Format: "json", Path: path}
	}
	for _, r := range in.References {
		raw, err := v.referenceToPython(ctx, r)
		if err != nil {
			return pyexec.Value{}, err
		}
		out.References = append(out.References, raw)
	}
	return out, nil
}

func (v values) referenceToPython(ctx context.Context, r state.Reference) (json.RawMessage, error) {
	if r.Kind != "fragment" {
		return named(r)
	}
	path, err := v.blobs.Path(ctx, r.BlobKey)
	if err != nil {
		return nil, fmt.Errorf("failed to download blob: %w", err)
	}
	return pyexec.Fragment{Format: r.Format, Path: path, Size: r.Size, Metadata: r.Metadata}.Reference()
}

// named is a reference to an execution, input or asset as adapter-protocol 3.2 writes it.
func named(r state.Reference) (json.RawMessage, error) {
	switch r.Kind {
	case state.KindInput:
		return json.Marshal([]string{r.Kind, r.ID})
	case state.KindAsset:
		var name *string
		if r.Name != "" {
			name = &r.Name
		}
		return json.Marshal([]any{r.Kind, r.ID, name, r.Count, r.Size})
	}
	return json.Marshal([]string{r.Kind, r.ID, r.Module, r.Target})
}

// toJournal keeps a value of a log line. References stay arrays, a fragment's with the key of its blob in place of its file.
func (v values) toJournal(ctx context.Context, in *pyexec.Value) (journal.Value, error) {
	kept, err := v.toState(ctx, in)
	if err != nil {
		return journal.Value{}, err
	}
	out := journal.Value{Type: "raw", Data: kept.Data}
	if kept.BlobKey != "" {
		out = journal.Value{Type: "blob", Key: kept.BlobKey, Size: kept.Size}
	}
	var references []json.RawMessage
	for _, r := range kept.References {
		raw, err := named(r)
		if r.Kind == "fragment" {
			raw, err = pyexec.Fragment{Format: r.Format, Path: r.BlobKey, Size: r.Size, Metadata: r.Metadata}.Reference()
		}
		if err != nil {
			return journal.Value{}, err
		}
		references = append(references, raw)
	}
	if len(references) > 0 {
		out.References, err = json.Marshal(references)
	}
	return out, err
}

func (v values) resultToState(ctx context.Context, r pyexec.Result) (state.Result, error) {
	switch {
	case r.Timeout:
		return state.Result{Type: state.ResultTimeout}, nil
	case r.Error != nil:
		out := &state.Error{Type: r.Error.Type, Message: r.Error.Message, Retryable: r.Error.Retryable, Vanished: r.Error.Vanished}
		for _, f := range r.Error.Frames {
			out.Frames = append(out.Frames, state.Frame(f))
		}
		return state.Result{Type: state.ResultError, Error: trim(out)}, nil
	case r.Value == nil:
		return state.Result{Type: state.ResultValue, Value: &state.Value{Data: []byte("null")}}, nil
	}
	value, err := v.toState(ctx, r.Value)
	return state.Result{Type: state.ResultValue, Value: &value}, err
}

// Bounds of what an error may take in the state.
const (
	maxErrorText   = 16 << 10
	maxErrorFrames = 60
)

// trim shortens an error that is too large for the state: both ends of the text and of the traceback are kept.
func trim(e *state.Error) *state.Error {
	e.Type, e.Message = cut(e.Type, 1<<10), cut(e.Message, maxErrorText)
	if n := len(e.Frames); n > maxErrorFrames {
		half := maxErrorFrames / 2
		gap := state.Frame{Name: fmt.Sprintf("... %d frames left out ...", n-maxErrorFrames)}
		e.Frames = append(append(append([]state.Frame{}, e.Frames[:half]...), gap), e.Frames[n-half:]...)
	}
	for i := range e.Frames {
		f := &e.Frames[i]
		f.File, f.Name, f.Code = cut(f.File, 1<<10), cut(f.Name, 1<<10), cut(f.Code, 1<<10)
	}
	return e
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return fmt.Sprintf("%s ... (%d bytes left out) ... %s", s[:n/2], len(s)-n, s[len(s)-n/2:])
}

// outcomeToPython is a result as a waiting body sees it.
func (v values) outcomeToPython(ctx context.Context, winner int, r *state.Result) (*pyexec.Outcome, error) {
	out := &pyexec.Outcome{Winner: winner}
	switch r.Type {
	case state.ResultValue:
		value, err := v.toPython(ctx, r.Value)
		if err != nil {
			return nil, err
		}
		out.Status, out.Value = pyexec.StatusOK, &value
	case state.ResultError:
		out.Status = pyexec.StatusError
		out.Error = &pyexec.Error{Type: r.Error.Type, Message: r.Error.Message, Retryable: r.Error.Retryable}
		for _, f := range r.Error.Frames {
			out.Error.Frames = append(out.Error.Frames, pyexec.Frame(f))
		}
	case state.ResultTimeout:
		out.Status = pyexec.StatusTimeout
	case state.ResultAbandoned:
		out.Status = pyexec.StatusAbandoned
	case state.ResultCancelled:
		out.Status = pyexec.StatusCancelled
	default:
		return nil, fmt.Errorf("the outcome of type %d is not known to this version", r.Type)
	}
	return out, nil
}
