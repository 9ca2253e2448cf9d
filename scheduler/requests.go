package scheduler

import (
	"fmt"
	"reflect"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/hashicorp/go-msgpack/v2/codec"
)

// Kind numbers a request between nodes of different versions. The numbers are for ever: appended, never reused.
type Kind uint8

// Request is something asked of the scheduler. Requests travel between nodes, so their fields are plain data.
type Request interface {
	// decide makes the decision; an error undoes all of it.
	decide(*decision) (Answer, error)
}

// kinds is the table of contents: all that can be asked of the scheduler.
var kinds = []struct {
	kind  Kind
	name  string
	empty func() Request
}{
	{1, "submit_run", func() Request { return &SubmitRun{} }},                  // runs.go
	{2, "submit_step", func() Request { return &SubmitStep{} }},                // steps.go
	{3, "report_result", func() Request { return &ReportResult{} }},            // results.go
	{4, "cancel", func() Request { return &Cancel{} }},                         // cancel.go
	{5, "cancel_handles", func() Request { return &CancelHandles{} }},          // cancel.go
	{6, "open_session", func() Request { return &OpenSession{} }},              // sessions.go
	{7, "update_session", func() Request { return &UpdateSession{} }},          // sessions.go
	{8, "lose_session", func() Request { return &LoseSession{} }},              // sessions.go
	{9, "create_workspace", func() Request { return &CreateWorkspace{} }},      // workspaces.go
	{10, "put_setting", func() Request { return &PutSetting{} }},               // settings.go
	{11, "register_group", func() Request { return &RegisterGroup{} }},         // steps.go
	{12, "add_dependency", func() Request { return &AddDependency{} }},         // steps.go
	{13, "see_member", func() Request { return &SeeMember{} }},                 // members.go
	{14, "rerun_step", func() Request { return &RerunStep{} }},                 // rerun.go
	{15, "remove_member", func() Request { return &RemoveMember{} }},           // members.go
	{16, "update_workspace", func() Request { return &UpdateWorkspace{} }},     // workspaces.go
	{17, "pause_workspace", func() Request { return &PauseWorkspace{} }},       // workspaces.go
	{18, "resume_workspace", func() Request { return &ResumeWorkspace{} }},     // workspaces.go
	{19, "archive_workspace", func() Request { return &ArchiveWorkspace{} }},   // workspaces.go
	{20, "register_manifests", func() Request { return &RegisterManifests{} }}, // manifests.go
	{21, "archive_module", func() Request { return &ArchiveModule{} }},         // manifests.go
	{22, "submit_input", func() Request { return &SubmitInput{} }},             // inputs.go
	{23, "respond_input", func() Request { return &RespondInput{} }},           // inputs.go
	{24, "dismiss_input", func() Request { return &DismissInput{} }},           // inputs.go
	{25, "suspend", func() Request { return &Suspend{} }},                      // suspend.go
	{26, "pack_runs", func() Request { return &PackRuns{} }},                   // packs.go
	{27, "unpack_runs", func() Request { return &UnpackRuns{} }},               // unpack.go
	{28, "erase_leftovers", func() Request { return &EraseLeftovers{} }},       // unpack.go
	{29, "forget_runs", func() Request { return &ForgetRuns{} }},               // packs.go
	{30, "merge_packs", func() Request { return &MergePacks{} }},               // packs.go
	{31, "persist_asset", func() Request { return &PersistAsset{} }},           // assets.go
	{32, "use_asset", func() Request { return &UseAsset{} }},                   // assets.go
	{33, "forget_assets", func() Request { return &ForgetAssets{} }},           // assets.go
}

// Name of a request, for logs.
func Name(r Request) string {
	for _, k := range kinds {
		if sameType(k.empty(), r) {
			return k.name
		}
	}
	return fmt.Sprintf("%T", r)
}

func sameType(a, b Request) bool { return reflect.TypeOf(a) == reflect.TypeOf(b) }

// Lazy tells whether a request can wait for the next entry instead of starting one.
func Lazy(r Request) bool {
	switch r.(type) {
	case *RegisterGroup, *AddDependency:
		return true
	}
	return false
}

// SessionOf is the session in whose name an agent makes a request; false when agents have no business with it.
func SessionOf(r Request) (session string, ok bool) {
	switch q := r.(type) {
	case *SubmitStep:
		return q.Session, true
	case *ReportResult:
		return q.Session, true
	case *CancelHandles:
		return q.Session, true
	case *UpdateSession:
		return q.Session, true
	case *LoseSession:
		return q.Session, true
	case *RegisterGroup:
		return q.Session, true
	case *AddDependency:
		return q.Session, true
	case *RegisterManifests:
		return q.Session, true
	case *SubmitInput:
		return q.Session, true
	case *Suspend:
		return q.Session, true
	case *PersistAsset:
		return q.Session, true
	case *UseAsset:
		return q.Session, true
	}
	return "", false
}

// Answer is what a request gave: the ids that the asker wants to know. Which are set depends on the request.
type Answer struct {
	RunID       string `codec:"r,omitempty"`
	StepID      string `codec:"s,omitempty"`
	ExecutionID string `codec:"e,omitempty"`
	Module      string `codec:"m,omitempty"`
	Target      string `codec:"t,omitempty"`
	WorkspaceID string `codec:"w,omitempty"`
	InputID     string `codec:"i,omitempty"`
	// Asset that was made or asked for.
	Asset *state.Reference `codec:"as,omitempty"`
}

// Reply answers one request, after its entry was committed.
type Reply struct {
	Answer Answer `codec:"a"`
	Err    *Error `codec:"e,omitempty"`
	// Index from which on the decision can be read.
	Index uint64 `codec:"i"`
}

// Error refuses a request. Code is stable, Message is a sentence.
type Error struct {
	Code    string            `codec:"c"`
	Message string            `codec:"m"`
	Hint    string            `codec:"h,omitempty"`
	Details map[string]string `codec:"d,omitempty"`
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// The codes of Error.
const (
	CodeNotFound     = "not_found"
	CodeBadRequest   = "bad_request"
	CodeExpired      = "expired"
	CodeNotSupported = "not_supported"
	CodeFenced       = "fenced"
	CodeCancelled    = "cancelled"
	CodeTooLarge     = "too_large"
	CodeInternal     = "internal"
	// CodeInputMismatch: the run asks something else under the same key.
	CodeInputMismatch = "input_mismatch"
	// CodeDiskFull: too few nodes have room on their disks; the leader refuses by itself, before anything is decided.
	CodeDiskFull = "disk_full"
	// CodeAlreadyResponded: the input has its response.
	CodeAlreadyResponded = "already_responded"
)

func refuse(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

type envelope struct {
	Kind Kind   `codec:"k"`
	Body []byte `codec:"b"`
}

// wire is the encoding of requests between nodes. Fields that are not known are dropped, as a request is decided by
// the version that leads.
var wire = func() *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{WriteExt: true}
	h.TimeNotBuiltin = true
	return h
}()

// EncodeRequest writes a request for another node.
func EncodeRequest(r Request) ([]byte, error) {
	for _, k := range kinds {
		if !sameType(k.empty(), r) {
			continue
		}
		e := envelope{Kind: k.kind}
		if err := codec.NewEncoderBytes(&e.Body, wire).Encode(r); err != nil {
			return nil, fmt.Errorf("encode request %s: %w", k.name, err)
		}
		var out []byte
		err := codec.NewEncoderBytes(&out, wire).Encode(e)
		return out, err
	}
	return nil, fmt.Errorf("encode request: %T is not in the table", r)
}

// DecodeRequest reads what EncodeRequest wrote.
func DecodeRequest(data []byte) (Request, error) {
	var e envelope
	if err := codec.NewDecoderBytes(data, wire).Decode(&e); err != nil {
		return nil, fmt.Errorf("decode request: %w", err)
	}
	for _, k := range kinds {
		if k.kind != e.Kind {
			continue
		}
		r := k.empty()
		if err := codec.NewDecoderBytes(e.Body, wire).Decode(r); err != nil {
			return nil, fmt.Errorf("decode request %s: %w", k.name, err)
		}
		return r, nil
	}
	return nil, fmt.Errorf("decode request: kind %d is not known to this version", e.Kind)
}

// targetTypes that requests may name.
func validType(t state.TargetType) bool { return t == state.TypeTask || t == state.TypeWorkflow }
