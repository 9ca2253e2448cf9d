package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/node/journal"
	"github.com/coflux-mesh/coflux/scheduler"
)

// Error refuses a request. Code is stable, Message is one sentence, Hint says what to do.
type Error struct {
	Code    string `json:"error"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Details any    `json:"details,omitempty"`
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// The codes that are not the scheduler's own.
const (
	CodeMethod          = "method_not_allowed"
	CodeVersionMismatch = "version_mismatch"
	CodeNoQuorum        = "no_quorum"
	CodeOverloaded      = "overloaded"
	CodeUnavailable     = "unavailable"
	CodeMisdirected     = "misdirected"
	CodeForbiddenOrigin = "forbidden_origin"
	CodeProjectMismatch = "project_mismatch"
	CodeRunRequired     = "run_required"
	CodeRunOrExecution  = "run_or_execution_required"
	CodeHashMismatch    = "hash_mismatch"
	CodeInvalidKey      = "invalid_key"
	// CodeValidationFailed: an answer does not fit the schema of its input; the details say where, as a text.
	CodeValidationFailed = "validation_failed"
)

// statuses of the codes; another one is 500.
var statuses = map[string]int{
	scheduler.CodeNotFound:     http.StatusNotFound,
	scheduler.CodeBadRequest:   http.StatusBadRequest,
	scheduler.CodeExpired:      http.StatusConflict,
	scheduler.CodeNotSupported: http.StatusBadRequest,
	scheduler.CodeFenced:       http.StatusConflict,
	scheduler.CodeCancelled:    http.StatusConflict,
	scheduler.CodeTooLarge:     http.StatusRequestEntityTooLarge,
	scheduler.CodeInternal:     http.StatusInternalServerError,
	CodeMethod:                 http.StatusMethodNotAllowed,
	CodeVersionMismatch:        http.StatusConflict,
	CodeNoQuorum:               http.StatusServiceUnavailable,
	CodeOverloaded:             http.StatusServiceUnavailable,
	CodeUnavailable:            http.StatusServiceUnavailable,
	CodeMisdirected:            http.StatusMisdirectedRequest,
	CodeForbiddenOrigin:        http.StatusForbidden,
	CodeForbidden:              http.StatusForbidden,
	CodeProjectMismatch:        http.StatusForbidden,
	CodeRunRequired:            http.StatusBadRequest,
	CodeRunOrExecution:         http.StatusBadRequest,
	CodeHashMismatch:           http.StatusBadRequest,
	CodeInvalidKey:             http.StatusBadRequest,
	CodeValidationFailed:       http.StatusUnprocessableEntity,

	scheduler.CodeInputMismatch:    http.StatusConflict,
	scheduler.CodeAlreadyResponded: http.StatusConflict,
	scheduler.CodeDiskFull:         http.StatusInsufficientStorage,
}

// NoQuorum answers what needs a majority of the voters while none can be reached.
func NoQuorum() *Error {
	return &Error{Code: CodeNoQuorum, Message: "no majority of the voting nodes can be reached from this node",
		Hint: "reads can be answered from this node's own copy with ?consistency=stale"}
}

// Overloaded answers when too much waits to be decided already.
func Overloaded() *Error {
	return &Error{Code: CodeOverloaded, Message: "too many requests wait to be decided", Hint: "try again in a second"}
}

func notFound(what, id string) *Error {
	return &Error{Code: scheduler.CodeNotFound, Message: what + " " + quoted(id) + " does not exist"}
}

// invalid refuses a field of a request.
func invalid(field, reason, message string) *Error {
	return &Error{Code: scheduler.CodeBadRequest, Message: message, Details: map[string]string{field: reason}}
}

// asError makes the refusal that the client sees of any error. It is internal if it is nothing that a client could know.
func asError(err error) *Error {
	var e *Error
	var refused *scheduler.Error
	var large *http.MaxBytesError
	var pattern *journal.BadPatternError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &refused):
		out := &Error{Code: refused.Code, Message: refused.Message, Hint: refused.Hint}
		if len(refused.Details) > 0 {
			out.Details = refused.Details
		}
		return out
	case errors.As(err, &large):
		return &Error{Code: scheduler.CodeTooLarge, Message: "the body is too large", Hint: "store large values as blobs",
			Details: map[string]int64{"limit": large.Limit}}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return NoQuorum()
	case errors.Is(err, blob.ErrFull):
		return &Error{Code: scheduler.CodeDiskFull, Message: err.Error(), Hint: "free some space there, or ask another node"}
	case errors.Is(err, blob.ErrNotFound):
		return &Error{Code: scheduler.CodeNotFound, Message: err.Error()}
	case errors.Is(err, blob.ErrBadKey):
		return &Error{Code: CodeInvalidKey, Message: err.Error()}
	case errors.Is(err, blob.ErrHashMismatch):
		return &Error{Code: CodeHashMismatch, Message: err.Error()}
	case errors.Is(err, blob.ErrUnavailable), errors.Is(err, blob.ErrShort):
		return &Error{Code: CodeUnavailable, Message: err.Error(), Hint: "try again when more nodes can be reached"}
	case errors.Is(err, journal.ErrBadCursor):
		return invalid("after", "invalid", err.Error())
	case errors.As(err, &pattern):
		return invalid("grep", "invalid", err.Error())
	}
	return &Error{Code: scheduler.CodeInternal, Message: "the node failed at this, its log says why"}
}
